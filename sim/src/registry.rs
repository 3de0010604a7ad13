//! Every list of names that a command or a plan may use, gathered from the crates that own them,
//! so that "unknown X" and `list X` can not disagree.

use std::fmt::Write as _;

use broker_core::probe::Probe;
use serde::Serialize;
use workloads::spark::driver::Sink;
use workloads::spark::handoff::{BATCH_ROWS, Doubled, Expected, Property, Row, SINKS, TABLE};
use workloads::spark::mutants::{SparkMutant, SparkMutantRow};

use crate::plan::schema;
use crate::profiles;
use crate::world::determinism;

/// A name with its explanation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Entry {
    /// Stable name.
    pub id: String,
    /// One line.
    pub what: String,
    /// Where it comes from, if it has a source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Sub-kind: `core`, `determinism`, `spark` or `shell` for mutants, else empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: &'static str,
    /// Properties of which one must fire (mutants).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<&'static str>,
}

impl Entry {
    fn new(id: &str, what: &str, source: &str) -> Self {
        let (id, what, source) = (id.to_owned(), what.trim().to_owned(), source.to_owned());
        Self { id, what, source, kind: "", properties: Vec::new() }
    }
}

/// What can be listed.
pub const KINDS: &[&str] =
    &["workloads", "profiles", "faults", "invariants", "mutants", "probes", "handoff"];

/// The entries of one of [`KINDS`].
///
/// # Errors
/// With a sentence when there is no such kind.
pub fn entries(kind: &str) -> Result<Vec<Entry>, String> {
    Ok(match kind {
        "workloads" => workloads(),
        "profiles" => profiles::ALL.iter().map(|row| Entry::new(row.name, row.what, "")).collect(),
        "faults" => schema::FAULTS.iter().map(|row| Entry::new(row.name, row.what, "")).collect(),
        "invariants" => properties(),
        "mutants" => mutants(),
        "probes" => probes(),
        "handoff" => handoff(),
        _ => return Err(unknown("kind of list", kind, KINDS.iter().copied())),
    })
}

/// "unknown `kind` `name`; allowed: …".
#[must_use]
pub fn unknown<'a>(kind: &str, name: &str, allowed: impl Iterator<Item = &'a str>) -> String {
    let mut text = format!("unknown {kind} `{name}`; allowed: ");
    for (at, word) in allowed.enumerate() {
        let _ = write!(text, "{}{word}", if at == 0 { "" } else { ", " });
    }
    text
}

/// Checks a name against a list.
///
/// # Errors
/// With a sentence that tells what is allowed.
pub fn known(kind: &str, name: &str, entries: &[Entry]) -> Result<(), String> {
    if entries.iter().any(|entry| entry.id == name) {
        return Ok(());
    }
    Err(unknown(kind, name, entries.iter().map(|entry| entry.id.as_str())))
}

/// The workloads.
#[must_use]
pub fn workloads() -> Vec<Entry> {
    workloads_of().iter().map(|row| Entry::new(row.name, row.what, "")).collect()
}

/// The rows of the workloads.
#[must_use]
pub fn workloads_of() -> &'static [workloads::Workload] {
    workloads::ALL
}

/// The properties, which `--only` takes.
#[must_use]
pub fn properties() -> Vec<Entry> {
    let rows = invariants::PROPERTIES.iter();
    rows.map(|row| Entry::new(row.code, &format!("{}: {}", row.name, row.what), row.source))
        .collect()
}

/// Begins the marks that tell that a property was judged with a true antecedent.
pub const EVALUATED: &str = "evaluated:";

/// Actions of specifications that runs take too seldom to be asked of a sweep. Those of RF1 are
/// asked of the models, those of RF3 of `sim/tests/protocols/seldom.toml`.
pub const SELDOM: &[&str] = &["RF1:RestartUncut", "RF3:InitAgain", "RF3:Forget", "RF3:Delete"];

/// The `sometimes` marks that runs should reach, one per property that it was judged at all, and
/// the actions of the specifications.
#[must_use]
pub fn sometimes() -> Vec<&'static str> {
    let marks = invariants::SOMETIMES.iter().map(|row| row.id);
    let actions = invariants::SPECIFIED.iter().flat_map(|actions| actions.iter().copied());
    let actions = actions.filter(|action| !SELDOM.contains(action));
    marks.chain(invariants::EVALUATED.iter().copied()).chain(actions).collect()
}

/// The property whose judging a mark counts, if it does.
#[must_use]
pub fn counts(mark: &str) -> Option<&str> {
    mark.strip_prefix(EVALUATED).or_else(|| mark.split_once(':').map(|(code, _)| code))
}

/// The property that a planted bug of a query breaks.
#[must_use]
pub const fn query_properties(row: &SparkMutantRow) -> &'static [&'static str] {
    match (row.property, row.mutant) {
        // A sink that promises each row once is judged by another property than one that does not.
        (Property::Doubled, SparkMutant::TransactionalIdPerRun) => &["S1"],
        (Property::Lost | Property::Doubled, _) => &["S8"],
        (Property::CommittedTwice, _) => &["S3"],
        (Property::RangeChanged, _) => &["S7"],
        (Property::Stuck, _) => &["S6"],
    }
}

/// Planted bugs: of the core, of determinism itself, of a query, and of the shell around the core.
#[must_use]
pub fn mutants() -> Vec<Entry> {
    let core = broker_core::mutants::REGISTRY.iter().map(|row| Entry {
        kind: "core",
        properties: row.properties.to_vec(),
        ..Entry::new(row.id, row.what, row.provenance)
    });
    let determinism = determinism::REGISTRY
        .iter()
        .map(|row| Entry { kind: "determinism", ..Entry::new(row.id, row.what, row.provenance) });
    let spark = workloads::spark::mutants::REGISTRY.iter().map(|row| Entry {
        kind: "spark",
        properties: query_properties(row).to_vec(),
        ..Entry::new(row.id, row.what, "")
    });
    let shell = broker::host::mutants::REGISTRY.iter().map(|row| {
        let breaks = format!("breaks {}", row.breaks.join(", "));
        Entry { kind: "shell", ..Entry::new(row.id, row.what, &breaks) }
    });
    core.chain(determinism).chain(spark).chain(shell).collect()
}

/// The crash points of a Spark query, and what each means for what it hands over, sink by sink:
/// whether records are lost, how much is doubled and how much may be (of the query that
/// `docs/spark-handoff.md` measures), and whether that keeps to the sink's promise. The tests of
/// `workloads` hold the table to what a query does, those of `sim` to what it does in a cluster.
#[must_use]
pub fn handoff() -> Vec<Entry> {
    let row = |row: &Row| {
        let sinks = SINKS.iter().map(|sink| {
            let seen = row.expected(*sink).map_or("none".to_owned(), |it| handed_over(&it));
            format!("{}: {seen}", sink_name(*sink))
        });
        let sinks: Vec<_> = sinks.collect();
        Entry::new(row.id, &format!("{}. {}", row.what, sinks.join("; ")), "")
    };
    TABLE.iter().map(row).collect()
}

const fn sink_name(sink: Sink) -> &'static str {
    match sink {
        Sink::AtLeastOnce => "at-least-once",
        Sink::Keyed => "keyed",
        Sink::MarkedTable => "marked-table",
        Sink::DriverTransaction => "driver-transaction",
    }
}

fn handed_over(seen: &Expected) -> String {
    let doubled = match seen.doubled {
        Doubled::Nothing => "doubled 0".to_owned(),
        Doubled::Part { bound } => {
            format!("doubled less than the batch of {BATCH_ROWS} rows, bound {bound}")
        }
        Doubled::Batch { bound } => {
            format!("doubled up to the batch of {BATCH_ROWS} rows, bound {bound}")
        }
        Doubled::Unbounded { bound } => {
            format!("doubled batch after batch of {BATCH_ROWS} rows, bound {bound}")
        }
    };
    let lost = if seen.lost { "lost some" } else { "lost 0" };
    let broken: Vec<_> = seen.broken.iter().map(|property| format!("{property:?}")).collect();
    let verdict = match broken.is_empty() {
        true => "holds".to_owned(),
        false => format!("BREAKS {}", broken.join(", ")),
    };
    format!("{lost}, {doubled}, {verdict}")
}

/// The probes, and a query's marks, which faults may wait for.
#[must_use]
pub fn probes() -> Vec<Entry> {
    let meanings = Probe::MEANINGS.iter().copied();
    let probes = Probe::NAMES.iter().copied().zip(meanings);
    let marks = crate::world::spark::MARKS.iter().map(|row| (row.0, row.2));
    probes.chain(marks).map(|(name, what)| Entry::new(name, what, "")).collect()
}
