//! One step simpler: for each fault and operation, the variants a reader would rather see. Each is
//! strictly smaller in some way, so that following them ends.

use workloads::Op;

use crate::plan::{Fate, Fault, Keep, OpAt, Plan, What, When};

/// Simpler variants of a fault, the boldest first.
pub(super) fn faults(fault: &Fault, plan: &Plan) -> Vec<Fault> {
    let mut out = Vec::new();
    let whats = whats(&fault.what, plan).into_iter();
    out.extend(whats.map(|what| Fault { what, ..fault.clone() }));
    if let Some(lasting_us) = shorter(fault.lasting_us, 100_000) {
        out.push(Fault { lasting_us, ..fault.clone() });
    }
    if let When::At { at_us } = fault.when {
        let rounder = rounder(at_us).map(|at_us| When::At { at_us });
        out.extend(rounder.map(|when| Fault { when, ..fault.clone() }));
    }
    if let When::On { on } = &fault.when {
        for nth in [1, on.nth / 2, on.nth - 1] {
            if nth >= 1 && nth < on.nth {
                let when = When::On { on: crate::plan::Anchor { nth, ..on.clone() } };
                out.push(Fault { when, ..fault.clone() });
            }
        }
        if on.after_us > 0 {
            let when = When::On { on: crate::plan::Anchor { after_us: 0, ..on.clone() } };
            out.push(Fault { when, ..fault.clone() });
        }
    }
    out
}

/// The fault at a time instead of an event; `self` becomes the node of the event.
pub(super) fn at_time(fault: &Fault, at_us: u64, node: &str) -> Fault {
    let mut what = fault.what.clone();
    let names: Vec<&mut String> = match &mut what {
        What::ZoneFail { zone } | What::ZoneCut { zone, .. } | What::ZoneStoreLost { zone } => {
            vec![zone]
        }
        What::Crash { node, .. }
        | What::Pause { node }
        | What::ClockStep { node, .. }
        | What::ClockDrift { node, .. }
        | What::DeviceSyncFail { node }
        | What::DeviceFull { node }
        | What::DeviceBitRot { node }
        | What::Drain { node } => vec![node],
        What::Cut { from, to } | What::SlowLink { from, to, .. } => {
            from.iter_mut().chain(to).collect()
        }
        What::StoreLoseAnswer { node, .. } | What::StoreDuplicate { node, .. } => {
            node.iter_mut().collect()
        }
        What::Query { .. }
        | What::Lossy { .. }
        | What::StoreSlowDown { .. }
        | What::StoreEmptyPage { .. }
        | What::StoreDamage { .. }
        | What::Stall { .. }
        | What::StoreBrownOut { .. } => Vec::new(),
    };
    for name in names {
        if name == "self" {
            node.clone_into(name);
        }
    }
    Fault { when: When::At { at_us }, what, ..fault.clone() }
}

/// The smallest operation of its kind.
pub(super) fn smallest(op: &mut OpAt) {
    if let Op::Produce { records, bytes, .. } | Op::Transaction { records, bytes, .. } = &mut op.op
    {
        (*records, *bytes) = (1, 8);
    }
}

/// Simpler variants of an operation.
pub(super) fn ops(op: &OpAt) -> Vec<OpAt> {
    let mut out: Vec<_> = rounder(op.at_us).map(|at_us| OpAt { at_us, ..op.clone() }).collect();
    let mut add = |op_: Op| out.push(OpAt { op: op_, ..op.clone() });
    if let Op::Transaction { partitions, .. } = &op.op
        && partitions.len() > 1
    {
        for without in 0..partitions.len() {
            let mut smaller = op.op.clone();
            if let Op::Transaction { partitions, .. } = &mut smaller {
                partitions.remove(without);
            }
            add(smaller);
        }
    }
    if let Op::Produce { records, bytes, .. } | Op::Transaction { records, bytes, .. } = &op.op {
        let with = |records: u32, bytes: u32| {
            let mut smaller = op.op.clone();
            if let Op::Produce { records: r, bytes: b, .. }
            | Op::Transaction { records: r, bytes: b, .. } = &mut smaller
            {
                (*r, *b) = (records, bytes);
            }
            smaller
        };
        if *records > 1 {
            add(with(1, *bytes));
            add(with(records / 2, *bytes));
        }
        if *bytes > 8 {
            add(with(*records, 8));
            add(with(*records, (bytes / 2).max(8)));
        }
    }
    memberships(&op.op).into_iter().for_each(&mut add);
    if let Op::CreateTopic { topic, partitions } = &op.op
        && *partitions > 1
    {
        add(Op::CreateTopic { topic: topic.clone(), partitions: 1 });
        add(Op::CreateTopic { topic: topic.clone(), partitions: partitions - 1 });
    }
    out
}

fn whats(what: &What, plan: &Plan) -> Vec<What> {
    match what {
        What::ZoneFail { zone } => members(zone, plan)
            .into_iter()
            .map(|node| What::Crash { node, keep: Keep::All })
            .collect(),
        What::Crash { node, keep } => {
            let mut out = Vec::new();
            if *keep != Keep::All {
                out.push(What::Crash { node: node.clone(), keep: Keep::All });
            }
            if !matches!(keep, Keep::All | Keep::None) {
                out.push(What::Crash { node: node.clone(), keep: Keep::None });
            }
            out
        }
        What::ZoneStoreLost { zone } => members(zone, plan)
            .into_iter()
            .map(|node| What::Cut { from: vec![node], to: vec!["store".to_owned()] })
            .collect(),
        What::Cut { from, to } => sides(from, to, |from, to| What::Cut { from, to }),
        What::SlowLink { from, to, by_us } => {
            let mut out = sides(from, to, |from, to| What::SlowLink { from, to, by_us: *by_us });
            if let Some(by_us) = shorter(*by_us, 10_000) {
                out.push(What::SlowLink { from: from.clone(), to: to.clone(), by_us });
            }
            out
        }
        What::Lossy { drop_pm, duplicate_pm, hold_pm, hold_us_max } => {
            let rates = [*drop_pm, *duplicate_pm, *hold_pm];
            let without = |at: usize| {
                let mut rates = rates;
                rates[at] = 0;
                let [drop_pm, duplicate_pm, hold_pm] = rates;
                What::Lossy { drop_pm, duplicate_pm, hold_pm, hold_us_max: *hold_us_max }
            };
            (0..3).filter(|at| rates[*at] > 0).map(without).collect()
        }
        What::StoreLoseAnswer { node, per_mille, fate, times } => {
            lose_answer(node.as_ref(), *per_mille, *fate, *times)
        }
        What::ClockStep { node, by_us } => {
            let halved = by_us / 2;
            let smaller =
                (halved != 0).then(|| What::ClockStep { node: node.clone(), by_us: halved });
            smaller.into_iter().collect()
        }
        What::ZoneCut { .. }
        | What::Pause { .. }
        | What::ClockDrift { .. }
        | What::StoreSlowDown { .. }
        | What::StoreEmptyPage { .. }
        | What::StoreDamage { .. }
        | What::Stall { .. }
        | What::StoreBrownOut { .. }
        | What::StoreDuplicate { .. }
        | What::DeviceSyncFail { .. }
        | What::DeviceFull { .. }
        | What::DeviceBitRot { .. }
        | What::Query { .. }
        | What::Drain { .. } => Vec::new(),
    }
}

fn lose_answer(node: Option<&String>, per_mille: u32, fate: Fate, times: u32) -> Vec<What> {
    let with = |fate, times| What::StoreLoseAnswer { node: node.cloned(), per_mille, fate, times };
    let mut out = Vec::new();
    if times != 1 {
        out.push(with(fate, 1));
    }
    if times > 2 {
        out.push(with(fate, times / 2));
    }
    if let Fate::Late { by_us_max } = fate {
        out.push(with(Fate::Dropped, times));
        out.push(with(Fate::Applied, times));
        if let Some(by_us_max) = shorter(by_us_max, 1_000_000) {
            out.push(with(Fate::Late { by_us_max }, times));
        }
    }
    out
}

/// Fewer names on either side.
fn sides(
    from: &[String],
    to: &[String],
    make: impl Fn(Vec<String>, Vec<String>) -> What,
) -> Vec<What> {
    let without = |names: &[String], at: usize| {
        let mut names = names.to_vec();
        names.remove(at);
        names
    };
    let mut out = Vec::new();
    if from.len() > 1 {
        out.extend((0..from.len()).map(|at| make(without(from, at), to.to_vec())));
    }
    if to.len() > 1 {
        out.extend((0..to.len()).map(|at| make(from.to_vec(), without(to, at))));
    }
    out
}

/// Earlier times that are easier to read, the roundest first.
fn rounder(at_us: u64) -> impl Iterator<Item = u64> {
    let rounded = [1_000_000, 100_000, 10_000].map(|step| at_us - at_us % step);
    rounded.into_iter().filter(move |rounded| *rounded < at_us)
}

/// Half of a length of time, in round steps.
fn shorter(us: u64, step: u64) -> Option<u64> {
    let half = (us / 2).next_multiple_of(step);
    (half < us).then_some(half)
}

/// The nodes of a zone.
fn members(zone: &str, plan: &Plan) -> Vec<String> {
    let Some(zone) = zone.strip_prefix("zone-").and_then(|n| n.parse::<u16>().ok()) else {
        return Vec::new();
    };
    let zones = u16::from(plan.topology.zones);
    let of = |role: &str, count: u16| {
        let mine = (0..count).filter(|at| at % zones == zone);
        mine.map(|at| format!("{role}-{at}")).collect::<Vec<_>>()
    };
    let mut all = of("broker", plan.topology.brokers);
    all.extend(of("controller", plan.topology.controllers));
    all
}

/// Simpler variants of a membership.
fn memberships(op: &Op) -> Vec<Op> {
    let mut out = Vec::new();
    let mut with = |change: &dyn Fn(&mut Op)| {
        let mut smaller = op.clone();
        change(&mut smaller);
        if smaller != *op {
            out.push(smaller);
        }
    };
    with(&|op| {
        if let Op::Consume { copies_to, .. } = op {
            *copies_to = None;
        }
    });
    with(&|op| {
        if let Op::Consume { instance, .. } = op {
            *instance = None;
        }
    });
    with(&|op| {
        if let Op::Consume { vanishes, .. } = op {
            *vanishes = false;
        }
    });
    out
}
