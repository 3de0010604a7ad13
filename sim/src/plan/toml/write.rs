//! Writes plans: keys in the order of [`super::schema`], one line each, durations with units.

use std::fmt::Write as _;

use serde::Serialize;
use toml::{Table, Value};

use super::super::schema::{self, Key, Kind, Type};
use super::super::stored::StoredSeed;
use super::super::{Fault, OpAt, Plan, When, micros, then};
use super::format_seed;

/// The plan as TOML; [`super::read`] gives it back unchanged.
#[must_use]
pub fn write(plan: &Plan) -> String {
    let mut out = String::new();
    let text = |text: &str| Value::String(text.to_owned());
    line(&mut out, "version", &Value::Integer(plan.version.into()));
    line(&mut out, "background", &Value::String(format_seed(plan.background)));
    line(&mut out, "profile", &text(&plan.profile));
    line(&mut out, "workload", &text(&plan.workload));
    if !plan.mutants.is_empty() {
        let ids = plan.mutants.iter().map(|id| text(id)).collect();
        line(&mut out, "mutants", &Value::Array(ids));
    }
    line(&mut out, "safety", &Value::String(micros::format(plan.safety_us)));
    out.push_str("\n[topology]\n");
    section(&mut out, &table_of(&plan.topology), schema::TOPOLOGY);
    out.push_str("\n[limits]\n");
    section(&mut out, &table_of(&plan.limits), schema::LIMITS);
    if let Some(query) = &plan.query {
        out.push_str("\n[query]\n");
        section(&mut out, &table_of(query), schema::QUERY);
    }
    for fault in &plan.faults {
        write_fault(&mut out, fault);
    }
    for op in &plan.ops {
        write_op(&mut out, op);
    }
    if let Some(then::Then { from, steps }) = &plan.then {
        out.push_str("\n[then]\n");
        line(&mut out, "from", &text(from));
        out.push_str("steps = [\n");
        for step in steps {
            let _ = writeln!(out, "    {},", text(step));
        }
        out.push_str("]\n");
    }
    out
}

/// A stored seed as TOML.
#[must_use]
pub fn write_stored(stored: &StoredSeed) -> String {
    let mut found = String::from("\n[found]\n");
    let mut table = table_of(&stored.found);
    if let Some(seed) = stored.found.seed {
        table.insert("seed".to_owned(), Value::String(format_seed(seed)));
    }
    section(&mut found, &table, schema::FOUND);
    // Before the other tables, so that the story comes first.
    let plan = write(&stored.plan);
    let (head, rest) = plan.split_once("\n[topology]\n").expect("every plan has a topology");
    format!("{head}{found}\n[topology]\n{rest}")
}

fn write_fault(out: &mut String, fault: &Fault) {
    let table = table_of(&fault.what);
    let row = kind_of(&table, "fault", schema::FAULTS);
    let _ = writeln!(out, "\n[[fault]]\nfault = \"{}\"", row.name);
    section(out, &table, row.keys);
    match &fault.when {
        When::At { at_us } => line(out, "at", &Value::String(micros::format(*at_us))),
        When::On { on } => {
            let on = Value::Table(table_of(on));
            let _ = writeln!(out, "on = {}", inline(&on, Type::Table(schema::ANCHOR)));
        }
    }
    if fault.lasting_us > 0 {
        line(out, "lasting", &Value::String(micros::format(fault.lasting_us)));
    }
}

fn write_op(out: &mut String, op: &OpAt) {
    let table = table_of(&op.op);
    let row = kind_of(&table, "op", schema::OPS);
    let _ = writeln!(out, "\n[[op]]");
    line(out, "at", &Value::String(micros::format(op.at_us)));
    line(out, "client", &Value::Integer(op.client.into()));
    let _ = writeln!(out, "op = \"{}\"", row.name);
    section(out, &table, row.keys);
}

/// A fault on one line, for people.
#[must_use]
pub fn describe_fault(fault: &Fault) -> String {
    let when = match &fault.when {
        When::At { at_us } => format!("at {}", micros::format(*at_us)),
        When::On { on } => {
            let node = on.node.as_ref().map_or_else(String::new, |node| format!(" on {node}"));
            let after = match on.after_us {
                0 => String::new(),
                us => format!(" + {}", micros::format(us)),
            };
            format!("at {} number {}{node}{after}", on.probe, on.nth)
        }
    };
    let lasting = match fault.lasting_us {
        0 => String::new(),
        us => format!(" for {}", micros::format(us)),
    };
    let what = describe(&table_of(&fault.what), "fault", schema::FAULTS);
    format!("{when}: {what}{lasting}")
}

/// An operation on one line, for people.
#[must_use]
pub fn describe_op(op: &OpAt) -> String {
    let what = describe(&table_of(&op.op), "op", schema::OPS);
    format!("at {}: client-{} {what}", micros::format(op.at_us), op.client)
}

fn describe(table: &Table, tag: &str, kinds: &'static [Kind]) -> String {
    let row = kind_of(table, tag, kinds);
    let mut out = row.name.to_owned();
    for key in row.keys {
        if let Some(value) = table.get(key.name) {
            let value = value.as_str().map_or_else(|| inline(value, key.of), str::to_owned);
            let _ = write!(out, " {}={value}", key.name);
        }
    }
    out
}

fn table_of<T: Serialize>(value: &T) -> Table {
    Table::try_from(value).expect("plans hold nothing that TOML can not")
}

fn kind_of(table: &Table, tag: &str, kinds: &'static [Kind]) -> &'static Kind {
    let name = table[tag].as_str().expect("serde's tag is a text");
    kinds.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("`{name}` has no schema"))
}

fn section(out: &mut String, table: &Table, keys: &[Key]) {
    for key in keys {
        if let Some(value) = table.get(key.name) {
            let _ = writeln!(out, "{} = {}", key.name, inline(value, key.of));
        }
    }
}

fn line(out: &mut String, key: &str, value: &Value) {
    let _ = writeln!(out, "{key} = {value}");
}

fn inline(value: &Value, of: Type) -> String {
    let (Value::Table(table), Type::Table(keys) | Type::Variant(_, keys)) = (value, of) else {
        return value.to_string();
    };
    let present = keys.iter().filter_map(|key| Some((key, table.get(key.name)?)));
    let parts: Vec<_> =
        present.map(|(key, value)| format!("{} = {}", key.name, inline(value, key.of))).collect();
    format!("{{ {} }}", parts.join(", "))
}
