//! Bounded models: that a search is exhaustive, the same for any number of threads, and ends at its
//! cap; that it finds planted bugs; and the trap for which bounds are never a depth.

use std::sync::Arc;

use broker_core::mutants::{self, Mutants};
use invariants::Violation;
use sim::model::Watch;
use sim::model::configurations::{KILLS, Kill, Variant, by_name, ledger};
use sim::model::quorum::{Action, Bounds, QuorumModel};
use sim::model::search::{Found, HOLDS, Judged, Order, search};
use sim::plan::Protocol;
use stateright::{Checker, Model, Property};

fn small(memory: u64, order: Order, threads: usize) -> (Found<Action>, bool) {
    let bounds = Bounds { suspicions: 1, retries: 0, crashes: 0, proposals: 1, disorders: 0 };
    let watch = Arc::new(Watch::new(memory));
    let (mutants, voters) = (Mutants::NONE, 3);
    let model = QuorumModel { voters, bounds, mutants, watch: watch.clone() };
    (search(model, order, threads), watch.is_over())
}

#[test]
fn model_has_as_many_states_in_any_order_and_with_any_number_of_threads() {
    let counts = [
        (Order::BreadthFirst, 1),
        (Order::BreadthFirst, 2),
        (Order::DepthFirst, 1),
        (Order::DepthFirst, 2),
    ]
    .map(|(order, threads)| {
        let (found, over) = small(u64::MAX, order, threads);
        assert!(found.broken.is_none() && !over);
        (found.unique, found.generated)
    });
    assert!(counts[0].0 > 10_000, "{counts:?}");
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn model_that_takes_too_much_memory_ends_and_says_so() {
    let (found, over) = small(1, Order::DepthFirst, 2);
    assert!(over && found.unique < 100, "{found:?}");
}

/// All of the quorum's, and of the others those that take a second; `check --calibrate` asks for
/// all.
#[test]
fn model_finds_planted_bugs_by_their_shortest_way() {
    let quick = [
        "controller-epoch-kept",
        "wal-ack-before-verify",
        "wal-unknown-is-failure",
        "txn-epoch-unchecked",
        "txn-marker-unconfirmed-counts",
    ];
    let asked =
        |kill: &&Kill| kill.configuration.starts_with("quorum-") || quick.contains(&kill.mutant);
    let kills: Vec<_> = KILLS.iter().filter(asked).collect();
    assert!(kills.len() > quick.len() + 5, "{kills:?}");
    for kill in kills {
        let mutant = mutants::by_id(kill.mutant).expect("a mutant").mutant;
        let one = by_name(kill.configuration).expect("a configuration");
        let watch = Arc::new(Watch::new(4 << 30));
        let found = one.search(
            Variant::planted(Mutants::NONE.with(mutant)),
            &watch,
            (Order::BreadthFirst, 1),
        );
        let broken = found.expect("nothing breaks on the way").broken;
        let (steps, violation) = broken.unwrap_or_else(|| panic!("{kill:?} is not found"));
        let told = (steps.len(), violation.property);
        assert_eq!(told, (kill.steps, kill.property), "{}: {violation}", kill.mutant);
    }
}

/// A late end ends the next transaction (KAFKA-17754). That the second protocol closes this hole is
/// what `check txn-late-end` searches for.
#[test]
fn model_of_the_first_protocol_of_transactions_has_its_hole() {
    let one = by_name("txn-late-end").expect("a configuration");
    let watch = Arc::new(Watch::new(4 << 30));
    let first = Variant { protocol: Protocol::Tv1, ..Variant::RIGHT };
    let found = one.search(first, &watch, (Order::DepthFirst, 2)).expect("nothing on the way");
    let (_, violation) = found.broken.expect("the hole");
    assert_eq!(violation.property, "T5", "{violation}");
}

/// Delays are a bound like any other: a state is the same whoever comes to it, and in what order.
#[test]
fn model_of_a_world_with_delays_has_as_many_states_with_any_number_of_threads() {
    let one = by_name("wal-failover").expect("a configuration");
    let counts = [(Order::BreadthFirst, 1), (Order::DepthFirst, 2)].map(|how| {
        let watch = Arc::new(Watch::new(4 << 30));
        let found = one.search(Variant::RIGHT, &watch, how).expect("nothing breaks on the way");
        assert!(found.broken.is_none(), "{:?}", found.broken);
        (found.unique, found.generated)
    });
    assert!(counts[0].0 > 10_000 && counts[0] == counts[1], "{counts:?}");
}

#[test]
fn model_page_has_the_ledger_and_the_planted_bugs() {
    let page = include_str!("../../docs/model-checking.md");
    for row in ledger() {
        let figures = format!("| {} | {} |", grouped(row.unique), grouped(row.generated));
        let is_told = |line: &str| {
            line.starts_with(&format!("| `{}` |", row.name)) && line.ends_with(&figures)
        };
        assert!(page.lines().any(is_told), "{row:?} is not in the page's tables");
    }
    for kill in KILLS {
        let Kill { mutant, configuration, steps, property } = kill;
        let row = format!("| `{mutant}` | `{configuration}` | {steps} | {property} |");
        let promised = mutants::by_id(mutant).expect("a mutant").properties;
        let specified = promised.iter().filter(|code| code.starts_with("RF"));
        let last = format!("| {} |", specified.copied().collect::<Vec<_>>().join(", "));
        let is_told = |line: &str| line.starts_with(&row) && line.ends_with(&last);
        assert!(page.lines().any(is_told), "the page lacks {row} … {last}");
    }
}

fn grouped(number: usize) -> String {
    sim::report::grouped(number as u64)
}

/// From 0 a long way leads over 1, 2, 3, 4 to 5, and a short one over 10. Behind 5 is 6: broken.
struct Ladder;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Rung(u8, Option<Violation>);

impl Judged for Rung {
    fn broken(&self) -> Option<&Violation> {
        self.1.as_ref()
    }
}

impl Model for Ladder {
    type State = Rung;
    type Action = u8;

    fn init_states(&self) -> Vec<Rung> {
        vec![Rung(0, None)]
    }

    fn actions(&self, state: &Rung, to: &mut Vec<u8>) {
        // The last one is taken first.
        match state.0 {
            0 => to.extend([10, 1]),
            10 => to.push(5),
            6 => {}
            rung => to.push(rung + 1),
        }
    }

    fn next_state(&self, _: &Rung, to: u8) -> Option<Rung> {
        let message = String::new();
        let broken = Violation { property: "top", place: String::new(), message, at: None };
        Some(Rung(to, (to == 6).then_some(broken)))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(HOLDS, |_, state: &Rung| state.1.is_none())]
    }
}

/// Stateright 0.31: a depth-first search marks what it comes to at its greatest depth as seen, and
/// never goes on from there when it finds a shorter way. If this fails the trap is gone.
#[test]
fn model_bounded_by_a_depth_misses_states_depth_first() {
    let depth = 6;
    let breadth = Ladder.checker().target_max_depth(depth).spawn_bfs().join();
    assert!(breadth.discovery(HOLDS).is_some(), "three steps lead there");
    let deep = Ladder.checker().target_max_depth(depth).spawn_dfs().join();
    assert!(deep.discovery(HOLDS).is_none(), "and it is not found");
}

#[test]
fn model_search_comes_to_every_state_depth_first() {
    for order in [Order::BreadthFirst, Order::DepthFirst] {
        assert!(search(Ladder, order, 1).broken.is_some(), "{order:?}");
    }
}
