//! Plans as TOML: written in a stable order for people to read and edit, read with every key
//! checked, so that a slip of the pen is an error with a line and never a fault that is not there.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};
use workloads::Op;

use super::check::{Place, check, check_mutant};
use super::schema::{self, Key, Kind, Type};
use super::stored::{Found, StoredSeed};
use super::{
    Anchor, Fault, Limits, OpAt, PLAN_VERSION, Plan, Protocol, Topology, What, When, micros,
};
use crate::registry;

mod write;

pub use write::{describe_fault, describe_op, write, write_stored};

/// A file that is no plan: one sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadFile {
    /// Its name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}: {}", self.file, self.line, self.message)
    }
}

/// What a file held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Document {
    /// A plan.
    Plan(Plan),
    /// A stored seed: a plan with `[found]`.
    Stored(StoredSeed),
}

/// Reads a plan or a stored seed; `file` is for messages.
///
/// # Errors
/// With the first thing that is wrong.
pub fn read(file: &str, text: &str) -> Result<Document, BadFile> {
    let source = Source { file, text };
    let root = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        source.bad(&span, format!("not TOML: {}", one_line(error.message())))
    })?;
    check_version(&source, root.get_ref())?;
    let top = read_top(&source, root.get_ref())?;
    let places = Places::find(&source, root.get_ref())?;
    let plan = read_plan(&source, top, &places)?;
    check(&plan).map_err(|problem| {
        let span = places.span(problem.place, problem.key);
        source.bad(&span, format!("`{}`: {}", problem.key, problem.message))
    })?;
    match &places.found {
        None => Ok(Document::Plan(plan)),
        Some((table, span)) => {
            let found: Found = fields(&source, (table, span), schema::FOUND, "[found]")?;
            if let Some(id) = found.mutant.as_deref() {
                check_mutant(id).map_err(|message| {
                    source.bad(&places.span(Place::Found, "mutant"), format!("`mutant`: {message}"))
                })?;
            }
            Ok(Document::Stored(StoredSeed { plan, found }))
        }
    }
}

/// The file, for messages.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn bad(&self, span: &Range<usize>, message: String) -> BadFile {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        BadFile { file: self.file.to_owned(), line, message }
    }
}

type De<'a> = DeTable<'a>;
type Located<'a, 'i> = (&'a De<'i>, &'a Range<usize>);

/// The tables of a document and where they stand.
struct Places<'a, 'i> {
    root: &'a De<'i>,
    topology: (&'a De<'i>, Range<usize>),
    limits: (&'a De<'i>, Range<usize>),
    faults: Vec<(&'a De<'i>, Range<usize>)>,
    ops: Vec<(&'a De<'i>, Range<usize>)>,
    query: Option<(&'a De<'i>, Range<usize>)>,
    then: Option<(&'a De<'i>, Range<usize>)>,
    found: Option<(&'a De<'i>, Range<usize>)>,
}

const TABLES: [&str; 7] = ["topology", "limits", "query", "fault", "op", "then", "found"];

impl<'a, 'i> Places<'a, 'i> {
    fn find(source: &Source<'_>, root: &'a De<'i>) -> Result<Self, BadFile> {
        let table = |name: &str| -> Result<Option<(&'a De<'i>, Range<usize>)>, BadFile> {
            let Some(value) = root.get(name) else { return Ok(None) };
            match value.get_ref() {
                DeValue::Table(table) => Ok(Some((table, value.span()))),
                _ => Err(source.bad(&value.span(), format!("`{name}` must be a table"))),
            }
        };
        let tables = |name: &str| -> Result<Vec<(&'a De<'i>, Range<usize>)>, BadFile> {
            let Some(value) = root.get(name) else { return Ok(Vec::new()) };
            let refused =
                || source.bad(&value.span(), format!("`{name}` must be [[{name}]] tables"));
            let DeValue::Array(rows) = value.get_ref() else { return Err(refused()) };
            rows.iter()
                .map(|row| match row.get_ref() {
                    DeValue::Table(table) => Ok((table, row.span())),
                    _ => Err(refused()),
                })
                .collect()
        };
        let missing = |name: &str| source.bad(&(0..0), format!("the plan lacks `[{name}]`"));
        Ok(Self {
            root,
            topology: table("topology")?.ok_or_else(|| missing("topology"))?,
            limits: table("limits")?.ok_or_else(|| missing("limits"))?,
            faults: tables("fault")?,
            ops: tables("op")?,
            query: table("query")?,
            then: table("then")?,
            found: table("found")?,
        })
    }

    /// Where a key stands, or its table if the key is not there.
    fn span(&self, place: Place, key: &str) -> Range<usize> {
        let (table, span) = match place {
            Place::Plan => (self.root, &(0..0)),
            Place::Topology => (self.topology.0, &self.topology.1),
            Place::Fault(at) => (self.faults[at].0, &self.faults[at].1),
            Place::Op(at) => (self.ops[at].0, &self.ops[at].1),
            Place::Query => {
                let (table, span) = self.query.as_ref().expect("only a query has problems");
                (*table, span)
            }
            Place::Then => {
                let (table, span) =
                    self.then.as_ref().expect("only a search's steps have problems");
                (*table, span)
            }
            Place::Found => {
                let (table, span) = self.found.as_ref().expect("only a stored seed has problems");
                (*table, span)
            }
        };
        table.get(key).map_or_else(|| span.clone(), Spanned::span)
    }
}

fn check_version(source: &Source<'_>, root: &De<'_>) -> Result<(), BadFile> {
    let Some(value) = root.get("version") else { return Ok(()) };
    let DeValue::Integer(number) = value.get_ref() else { return Ok(()) };
    match i128::from_str_radix(number.as_str(), number.radix()) {
        Ok(version) if version > i128::from(PLAN_VERSION) => {
            let message = format!(
                "`version`: the plan has format version {version}; \
                 this build reads versions up to {PLAN_VERSION}"
            );
            Err(source.bad(&value.span(), message))
        }
        _ => Ok(()),
    }
}

/// The plan's own keys; the names of its tables are looked at, too.
fn read_top(source: &Source<'_>, root: &De<'_>) -> Result<Table, BadFile> {
    convert(source, (root, &(0..0)), &[schema::PLAN], &TABLES, "the plan")
}

fn read_plan(source: &Source<'_>, mut top: Table, at: &Places<'_, '_>) -> Result<Plan, BadFile> {
    let (topology, span) = &at.topology;
    let topology: Topology = fields(source, (topology, span), schema::TOPOLOGY, "[topology]")?;
    let (limits, span) = &at.limits;
    let limits: Limits = fields(source, (limits, span), schema::LIMITS, "[limits]")?;
    let query = at.query.as_ref();
    let query = query.map(|(table, span)| fields(source, (table, span), schema::QUERY, "[query]"));
    let then = at.then.as_ref();
    let then = then.map(|(table, span)| fields(source, (table, span), schema::THEN, "[then]"));
    let protocol = top.remove("protocol").and_then(|name| Protocol::by_name(name.as_str()?));
    let mut text = |key: &str| match top.remove(key) {
        Some(Value::String(text)) => text,
        other => unreachable!("`{key}` was checked to be a text, and is {other:?}"),
    };
    Ok(Plan {
        version: PLAN_VERSION,
        background: parse_seed(&text("background")).expect("checked"),
        profile: text("profile"),
        workload: text("workload"),
        protocol: protocol.unwrap_or_default(),
        safety_us: micros::parse(&text("safety")).expect("checked"),
        mutants: top.remove("mutants").map_or_else(Vec::new, texts),
        topology,
        limits,
        query: query.transpose()?,
        faults: numbered(&at.faults, |at, table| read_fault(source, at, table))?,
        ops: numbered(&at.ops, |at, table| read_op(source, at, table))?,
        then: then.transpose()?,
    })
}

fn numbered<'a, 'i, T>(
    tables: &'a [(&'a De<'i>, Range<usize>)],
    read: impl Fn(usize, Located<'a, 'i>) -> Result<T, BadFile>,
) -> Result<Vec<T>, BadFile> {
    tables.iter().enumerate().map(|(at, (table, span))| read(at + 1, (table, span))).collect()
}

fn read_fault(source: &Source<'_>, nth: usize, table: Located<'_, '_>) -> Result<Fault, BadFile> {
    let (row, place) = kind_of(source, nth, table, "fault", schema::FAULTS)?;
    let mut all = convert(source, table, &[schema::FAULT, row.keys], &["fault"], &place)?;
    let when = match (all.remove("at"), all.remove("on")) {
        (Some(Value::String(at)), None) => When::At { at_us: micros::parse(&at).expect("checked") },
        (None, Some(on)) => When::On { on: deserialize::<Anchor>(source, table.1, on, &place)? },
        _ => {
            let message = format!("{place} must have one of `at` and `on`");
            return Err(source.bad(table.1, message));
        }
    };
    let lasting_us = match all.remove("lasting") {
        Some(Value::String(text)) => micros::parse(&text).expect("checked"),
        _ => 0,
    };
    all.insert("fault".to_owned(), Value::String(row.name.to_owned()));
    let what: What = deserialize(source, table.1, Value::Table(all), &place)?;
    Ok(Fault { when, lasting_us, what })
}

fn read_op(source: &Source<'_>, nth: usize, table: Located<'_, '_>) -> Result<OpAt, BadFile> {
    let (row, place) = kind_of(source, nth, table, "op", schema::OPS)?;
    let mut all = convert(source, table, &[schema::OP, row.keys], &["op"], &place)?;
    let at_us = match all.remove("at") {
        Some(Value::String(text)) => micros::parse(&text).expect("checked"),
        other => unreachable!("`at` was checked, and is {other:?}"),
    };
    let client = match all.remove("client") {
        Some(Value::Integer(client)) => u16::try_from(client).expect("checked"),
        other => unreachable!("`client` was checked, and is {other:?}"),
    };
    all.insert("op".to_owned(), Value::String(row.name.to_owned()));
    let op: Op = deserialize(source, table.1, Value::Table(all), &place)?;
    Ok(OpAt { at_us, client, op })
}

/// The kind of a `[[fault]]` or `[[op]]`, and how to call the table in messages.
fn kind_of(
    source: &Source<'_>,
    nth: usize,
    (table, span): Located<'_, '_>,
    tag: &str,
    kinds: &'static [Kind],
) -> Result<(&'static Kind, String), BadFile> {
    let names = || kinds.iter().map(|row| row.name);
    let Some(value) = table.get(tag) else {
        let allowed = names().collect::<Vec<_>>().join(", ");
        let message = format!("[[{tag}]] number {nth} lacks `{tag}`; allowed: {allowed}");
        return Err(source.bad(span, message));
    };
    let name = value.get_ref().as_str().unwrap_or("");
    let Some(row) = kinds.iter().find(|row| row.name == name) else {
        let message = registry::unknown(&format!("`{tag}`"), name, names());
        return Err(source.bad(&value.span(), message));
    };
    Ok((row, format!("[[{tag}]] number {nth} ({name})")))
}

fn fields<T: DeserializeOwned>(
    source: &Source<'_>,
    table: Located<'_, '_>,
    keys: &[Key],
    place: &str,
) -> Result<T, BadFile> {
    let all = convert(source, table, &[keys], &[], place)?;
    deserialize(source, table.1, Value::Table(all), place)
}

fn deserialize<T: DeserializeOwned>(
    source: &Source<'_>,
    span: &Range<usize>,
    value: Value,
    place: &str,
) -> Result<T, BadFile> {
    value
        .try_into()
        .map_err(|error| source.bad(span, format!("{place}: {}", one_line(&error.to_string()))))
}

/// Checks a table against its keys and makes it ready for serde; leaves the keys `also` out.
fn convert(
    source: &Source<'_>,
    (table, span): Located<'_, '_>,
    keys: &[&[Key]],
    also: &[&str],
    place: &str,
) -> Result<Table, BadFile> {
    let all = || keys.iter().copied().flatten();
    let mut out = Table::new();
    for (name, value) in table {
        if also.contains(&name.get_ref().as_ref()) {
            continue;
        }
        let Some(key) = all().find(|key| key.name == name.get_ref().as_ref()) else {
            let what = format!("key in {place}:");
            let allowed = all().map(|key| key.name).chain(also.iter().copied());
            let message = registry::unknown(&what, name.get_ref(), allowed);
            return Err(source.bad(&name.span(), message));
        };
        let value = convert_value(source, value, key.of, key.name, place)?;
        out.insert(key.name.to_owned(), value);
    }
    match all().find(|key| key.needed && !out.contains_key(key.name)) {
        None => Ok(out),
        Some(key) => Err(source.bad(span, format!("{place} lacks `{}`", key.name))),
    }
}

fn convert_value(
    source: &Source<'_>,
    value: &Spanned<DeValue<'_>>,
    of: Type,
    key: &str,
    place: &str,
) -> Result<Value, BadFile> {
    let refused =
        || source.bad(&value.span(), format!("`{key}` in {place} must be {}", allowed(of)));
    let text = value.get_ref().as_str();
    let converted = match of {
        Type::Int(min, max) => {
            whole(value.get_ref()).filter(|n| (min..=max).contains(n)).map(Value::Integer)
        }
        Type::Seed => match whole(value.get_ref()) {
            Some(n) => u64::try_from(n).ok(),
            None => text.and_then(parse_seed),
        }
        .map(|seed| Value::String(format_seed(seed))),
        Type::Micros(max) => text.and_then(micros::parse).filter(|us| *us <= max).and(keep(text)),
        Type::MicrosSigned(max) => {
            let us = text.and_then(micros::parse_signed).filter(|us| us.unsigned_abs() <= max);
            us.and(keep(text))
        }
        Type::Ints(min, max) => ints(value.get_ref(), min..=max),
        Type::Bool => value.get_ref().as_bool().map(Value::Boolean),
        Type::Text | Type::Name => keep(text),
        Type::Names | Type::Texts => list(value.get_ref()),
        Type::Word(words) => keep(text.filter(|word| words.contains(word))),
        Type::Variant(words, keys) => match value.get_ref() {
            DeValue::Table(table) if table.len() == 1 => {
                let name = table.iter().next().map(|(name, _)| name.get_ref().as_ref());
                let Some(row) = keys.iter().find(|row| Some(row.name) == name) else {
                    return Err(refused());
                };
                let table = (table, &value.span());
                return convert(source, table, &[std::slice::from_ref(row)], &[], key)
                    .map(Value::Table);
            }
            _ => keep(text.filter(|word| words.contains(word))),
        },
        Type::Table(keys) => match value.get_ref() {
            DeValue::Table(table) => {
                let inner = format!("`{key}` of {place}");
                return convert(source, (table, &value.span()), &[keys], &[], &inner)
                    .map(Value::Table);
            }
            _ => None,
        },
    };
    converted.ok_or_else(refused)
}

fn keep(text: Option<&str>) -> Option<Value> {
    text.map(|text| Value::String(text.to_owned()))
}

fn list(value: &DeValue<'_>) -> Option<Value> {
    let items = value.as_array()?.iter();
    items.map(|item| keep(item.get_ref().as_str())).collect::<Option<_>>().map(Value::Array)
}

fn ints(value: &DeValue<'_>, range: RangeInclusive<i64>) -> Option<Value> {
    let items = value.as_array().filter(|items| !items.is_empty())?.iter();
    let number = |item: &Spanned<DeValue<'_>>| whole(item.get_ref()).filter(|n| range.contains(n));
    items.map(|item| number(item).map(Value::Integer)).collect::<Option<_>>().map(Value::Array)
}

fn whole(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A seed as plans write it: hexadecimal, for TOML's numbers end at 2⁶³.
#[must_use]
pub fn format_seed(seed: u64) -> String {
    format!("{seed:#x}")
}

fn parse_seed(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn texts(value: Value) -> Vec<String> {
    let Value::Array(items) = value else { return Vec::new() };
    items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn allowed(of: Type) -> String {
    match of {
        Type::Int(min, max) => format!("a whole number from {min} to {max}"),
        Type::Seed => "a seed: \"0x…\" with up to 16 hex digits, or a whole number".to_owned(),
        Type::Micros(max) => format!("{}, at most {}", micros::ALLOWED, micros::format(max)),
        Type::MicrosSigned(max) => {
            format!("{}, with - for back, at most {}", micros::ALLOWED, micros::format(max))
        }
        Type::Ints(min, max) => format!("a list of whole numbers from {min} to {max}, not empty"),
        Type::Bool => "true or false".to_owned(),
        Type::Text => "a text".to_owned(),
        Type::Name => "a name, such as \"broker-0\"".to_owned(),
        Type::Names => "a list of names, such as [\"broker-0\", \"zone-1\"]".to_owned(),
        Type::Texts => "a list of texts".to_owned(),
        Type::Word(words) => format!("one of \"{}\"", words.join("\", \"")),
        Type::Variant(words, keys) => {
            let tables: Vec<_> = keys.iter().map(|key| format!("{{ {} = … }}", key.name)).collect();
            format!("one of \"{}\", {}", words.join("\", \""), tables.join(", "))
        }
        Type::Table(keys) => {
            let names: Vec<_> = keys.iter().map(|key| key.name).collect();
            format!("a table with {}", names.join(", "))
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
