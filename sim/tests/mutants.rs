//! Holds together what is said of planted bugs in three places: the registry of bugs, the table of
//! properties, and the page that tells which bug falls to which property.

use std::collections::{BTreeMap, BTreeSet};

use broker_core::mutants::REGISTRY;
use invariants::PROPERTIES;
use sim::registry::query_properties;
use workloads::spark::mutants::REGISTRY as QUERY;

/// What Spark itself breaks when a topic is created again (`S9`, held by `handoff.rs`), and what no
/// planted bug was seen to break yet.
const WITHOUT: [&str; 3] = ["S2", "S4", "S9"];

/// What the page says of one bug.
struct Row {
    seen: String,
    promised: Vec<String>,
    first: String,
}

/// The rows of the page's table, by bug. Of `R1 (9)` the seed is left out: it changes with every
/// draw.
fn page() -> BTreeMap<String, Row> {
    let text = include_str!("../../docs/mutants.md");
    let code = |cell: &str| cell.split(' ').next().expect("split gives one part").to_owned();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, seen, promised, first] = cells[..] else { panic!("four cells in: {line}") };
        let promised = promised.split(", ").map(code).collect();
        let row = Row { seen: seen.to_owned(), promised, first: code(first) };
        assert!(rows.insert(id.to_owned(), row).is_none(), "{id} has two rows");
    }
    rows
}

#[test]
fn mutants_promise_only_properties_that_name_them_and_the_other_way_round() {
    let of_core = REGISTRY.iter().map(|row| (row.id, row.properties));
    let of_query = QUERY.iter().map(|row| (row.id, query_properties(row)));
    let of_registry: BTreeSet<(&str, &str)> = of_core
        .chain(of_query)
        .flat_map(|(id, codes)| codes.iter().map(move |code| (*code, id)))
        .collect();
    let of_table: BTreeSet<(&str, &str)> =
        PROPERTIES.iter().flat_map(|row| row.mutants.iter().map(|id| (row.code, *id))).collect();
    let differ: Vec<_> = of_registry.symmetric_difference(&of_table).collect();
    assert!(differ.is_empty(), "in one place only: {differ:?}");
}

#[test]
fn mutants_exist_for_every_property() {
    let of_core = REGISTRY.iter().flat_map(|row| row.properties);
    let of_query = QUERY.iter().flat_map(|row| query_properties(row));
    let promised: BTreeSet<&str> = of_core.chain(of_query).copied().collect();
    let known: BTreeSet<&str> = PROPERTIES.iter().map(|row| row.code).collect();
    assert!(promised.is_subset(&known), "a bug promises what is no property");
    let without: Vec<&str> = known.difference(&promised).copied().collect();
    assert_eq!(without, WITHOUT, "each other property has a bug that it notices");
}

#[test]
fn mutants_page_says_what_the_registry_says() {
    let mut page = page();
    for bug in REGISTRY {
        let row = page.remove(bug.id).unwrap_or_else(|| panic!("no row for {}", bug.id));
        assert_eq!(row.seen, bug.provenance, "{}", bug.id);
        assert_eq!(row.promised, bug.properties, "{}", bug.id);
        assert!(row.promised.contains(&row.first), "{} dies by {} first", bug.id, row.first);
    }
    assert!(page.is_empty(), "rows of no bug: {:?}", page.keys());
}
