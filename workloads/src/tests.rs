//! What every workload's plan must keep to, over many shapes and draws.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use broker_core::time::Dur;
use proptest::prelude::*;

use crate::schedule::OPS_MAX;
use crate::{ALL, Draw, Op, PlannedOp, Shape, by_name};

/// SplitMix64.
struct Dice(u64);

impl Draw for Dice {
    fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing to draw from");
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1u16..=64, 1u8..=3, 1u16..=9, prop_oneof![1u64..=20, 20u64..=600]).prop_map(
        |(clients, zones, brokers, seconds)| Shape {
            clients,
            zones,
            brokers,
            length: Dur::secs(seconds),
        },
    )
}

fn produces(plan: &[PlannedOp]) -> impl Iterator<Item = (&PlannedOp, u32)> {
    plan.iter().filter_map(|planned| match planned.op {
        Op::Produce { partition, .. } => Some((planned, partition)),
        _ => None,
    })
}

/// Fewest operations of any workload: a membership, or a query, is many requests.
const FEWEST: u64 = 60;

#[test]
fn workload_names_are_found_and_unique() {
    let names: BTreeSet<_> = ALL.iter().map(|workload| workload.name).collect();
    assert_eq!(names.len(), ALL.len());
    for workload in ALL {
        assert_eq!(by_name(workload.name).unwrap().what, workload.what);
    }
    assert!(by_name("no-such").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn workload_same_draws_give_the_same_plan(shape in shapes(), seed: u64) {
        for workload in ALL {
            let once = (workload.plan)(&shape, &mut Dice(seed));
            prop_assert_eq!(&once, &(workload.plan)(&shape, &mut Dice(seed)));
            prop_assert_ne!(&once, &(workload.plan)(&shape, &mut Dice(!seed)));
        }
    }

    #[test]
    fn workload_plans_are_sorted_and_bounded(shape in shapes(), seed: u64) {
        for workload in ALL {
            let plan = (workload.plan)(&shape, &mut Dice(seed));
            let count = plan.len() as u64;
            prop_assert!((FEWEST..=OPS_MAX).contains(&count), "{}: {count}", workload.name);
            prop_assert!(plan.is_sorted_by_key(|planned| planned.at));
            prop_assert!(plan.iter().all(|planned| planned.client < shape.clients));
            prop_assert!(plan.iter().all(|planned| planned.at < shape.length));
        }
    }

    #[test]
    fn workload_topics_are_created_before_all_else(shape in shapes(), seed: u64) {
        for workload in ALL {
            let plan = (workload.plan)(&shape, &mut Dice(seed));
            let mut created = BTreeSet::new();
            for planned in &plan {
                if matches!(planned.op, Op::CreateTopic { .. }) {
                    created.insert(planned.op.topic());
                }
                prop_assert!(created.contains(planned.op.topic()), "{planned:?}");
            }
        }
    }

    #[test]
    fn workload_load_covers_most_of_the_run(shape in shapes(), seed: u64) {
        for workload in ALL {
            let plan = (workload.plan)(&shape, &mut Dice(seed));
            // No fifth of the run between 10 % and 90 % goes without writes. (Bursts leave smaller
            // parts empty now and then.)
            let mut fifths = BTreeSet::new();
            let writes =
                |it: &&PlannedOp| matches!(it.op, Op::Produce { .. } | Op::Transaction { .. });
            for planned in plan.iter().filter(writes) {
                let per_mille = planned.at.0 * 1_000 / shape.length.0;
                fifths.insert(per_mille.saturating_sub(100) / 200);
            }
            prop_assert!((0..4).all(|fifth| fifths.contains(&fifth)), "{}", workload.name);
        }
    }

    #[test]
    fn append_read_asks_for_everything(shape in shapes(), seed: u64) {
        let plan = (by_name("append-read").unwrap().plan)(&shape, &mut Dice(seed));
        let mut acks_seen = BTreeSet::new();
        let (mut broken, mut tails, mut others) = (0, 0, BTreeSet::new());
        for planned in &plan {
            match &planned.op {
                Op::Produce { acks, damaged, .. } => {
                    acks_seen.insert(*acks);
                    broken += u32::from(*damaged);
                }
                Op::Tail { .. } => tails += 1,
                Op::CatchUp { .. } => { others.insert("catch-up"); }
                Op::ListOffsets { .. } => { others.insert("list"); }
                Op::EpochEnd { .. } => { others.insert("epoch-end"); }
                _ => {}
            }
        }
        prop_assert_eq!(acks_seen, BTreeSet::from([-1, 0, 1]));
        prop_assert!(broken > 0 && tails >= 3, "{broken} damaged, {tails} tails");
        prop_assert!(others.len() == 3, "{others:?}");
    }

    #[test]
    fn topic_churn_creates_the_same_name_again(shape in shapes(), seed: u64) {
        let plan = (by_name("topic-churn").unwrap().plan)(&shape, &mut Dice(seed));
        let mut deleted = BTreeSet::new();
        let mut reborn = 0;
        for planned in &plan {
            match &planned.op {
                Op::DeleteTopic { topic } => { deleted.insert(topic); }
                Op::CreateTopic { topic, .. } if deleted.contains(topic) => reborn += 1,
                _ => {}
            }
        }
        prop_assert!(reborn > 0);
    }

    #[test]
    fn zone_outage_every_zone_writes_everywhere_in_every_part(shape in shapes(), seed: u64) {
        let zones = u16::from(shape.zones);
        prop_assume!(shape.clients >= zones);
        let plan = (by_name("zone-outage").unwrap().plan)(&shape, &mut Dice(seed));
        let partitions: BTreeSet<u32> = produces(&plan).map(|(_, partition)| partition).collect();
        for (from, to) in [(100, 367), (367, 633), (633, 900)] {
            let pairs: BTreeSet<(u16, u32)> = produces(&plan)
                .filter(|(planned, _)| {
                    let at = planned.at.0 * 1_000 / shape.length.0;
                    (from..to).contains(&at)
                })
                .map(|(planned, partition)| (planned.client % zones, partition))
                .collect();
            let all: Vec<_> = (0..zones)
                .flat_map(|zone| partitions.iter().map(move |partition| (zone, *partition)))
                .collect();
            prop_assert!(all.iter().all(|pair| pairs.contains(pair)), "{pairs:?}");
        }
    }
}

proptest! {
    #[test]
    fn schedule_client_of_a_zone_stands_in_it(shape in shapes(), seed: u64, zone: u8) {
        let zone = zone % shape.zones;
        let mut dice = Dice(seed);
        let mut schedule = crate::schedule::Schedule::new(&shape, &mut dice);
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let client = schedule.client_of(zone);
            prop_assert!(client < shape.clients);
            if u16::from(zone) < shape.clients {
                prop_assert_eq!(client % u16::from(shape.zones), u16::from(zone));
            }
            seen.insert(client);
        }
        prop_assert!(seen.len() > 1 || shape.clients < 2 * u16::from(shape.zones), "{seen:?}");
    }
}
