use proptest::prelude::*;

use super::*;
use crate::plan::check::check;
use crate::plan::schema::{FAULTS as FAULT_KINDS, MICROS_MAX};
use crate::plan::toml::{Document, read, write};
use crate::plan::{Fault, What, When};

fn any_choice() -> impl Strategy<Value = Choice> {
    let profile = proptest::option::of(0..profiles::ALL.len());
    profile.prop_map(|at| Choice {
        profile: at.map(|at| profiles::ALL[at].name.to_owned()),
        ..Choice::default()
    })
}

/// From when to when a fault takes controllers down, and which.
fn controllers_down(plan: &Plan, fault: &Fault) -> Option<(u64, u64, Vec<u16>)> {
    let number = |name: &str| name.strip_prefix("controller-").map(|n| n.parse::<u16>().unwrap());
    let down = match &fault.what {
        What::ZoneFail { zone } => {
            let zone: u16 = zone["zone-".len()..].parse().unwrap();
            let mine = |at: &u16| at % u16::from(plan.topology.zones) == zone;
            (0..plan.topology.controllers).filter(mine).collect()
        }
        What::Crash { node, .. } if node == "self" => match &fault.when {
            When::On { on } if on.probe.starts_with("quorum.") => {
                vec![number(on.node.as_ref().expect("a chosen victim")).expect("a controller")]
            }
            _ => return None,
        },
        What::Crash { node, .. } | What::DeviceSyncFail { node } | What::DeviceFull { node } => {
            vec![number(node)?]
        }
        _ => return None,
    };
    let device = matches!(fault.what, What::DeviceSyncFail { .. } | What::DeviceFull { .. });
    Some(match fault.when {
        When::At { at_us } if device => (at_us, u64::MAX, down),
        When::At { at_us } => (at_us, at_us + fault.lasting_us, down),
        When::On { .. } => (0, u64::MAX, down),
    })
}

fn most_controllers_down_at_once(plan: &Plan) -> usize {
    let spans: Vec<_> =
        plan.faults.iter().filter_map(|fault| controllers_down(plan, fault)).collect();
    let down_at = |moment: u64| {
        let during = spans.iter().filter(|(from, to, _)| (*from..=*to).contains(&moment));
        let mut nodes: Vec<_> = during.flat_map(|(_, _, nodes)| nodes.clone()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len()
    };
    spans.iter().map(|(from, _, _)| down_at(*from)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn generate_same_seed_twice_gives_equal_plans(seed: u64, choice in any_choice()) {
        prop_assert_eq!(generate(seed, &choice), generate(seed, &choice));
    }

    #[test]
    fn generate_any_seed_stays_within_what_the_system_survives(seed: u64, choice in any_choice()) {
        let plan = generate(seed, &choice);
        prop_assert_eq!(check(&plan), Ok(()));
        prop_assert!((SAFETY_US.0..=SAFETY_US.1).contains(&plan.safety_us));
        // What happens to a query comes on top.
        let of_query = |fault: &&Fault| matches!(fault.what, What::Query { .. });
        let of_query = plan.faults.iter().filter(of_query).count();
        let others = plan.faults.len() - of_query;
        prop_assert!((FAULTS.0..=FAULTS.1).contains(&others) && of_query <= 5, "{}", others);
        prop_assert!(plan.ops.iter().all(|op| op.at_us < plan.safety_us));
        prop_assert!(plan.ops.is_sorted_by_key(|op| op.at_us));
        let minority = usize::from(plan.topology.controllers - 1) / 2;
        prop_assert!(most_controllers_down_at_once(&plan) <= minority);
        let for_good = |fault: &&Fault| {
            matches!(fault.what, What::Crash { .. }) && fault.lasting_us == MICROS_MAX
        };
        prop_assert!(plan.faults.iter().filter(for_good).count() <= 1);
        for fault in &plan.faults {
            if let When::At { at_us } = fault.when {
                prop_assert!(at_us < plan.safety_us, "{:?}", fault);
            }
        }
    }

    #[test]
    fn generate_any_plan_survives_toml_unchanged(seed: u64, choice in any_choice()) {
        let plan = generate(seed, &choice);
        let text = write(&plan);
        prop_assert_eq!(read("x.toml", &text), Ok(Document::Plan(plan)));
    }
}

/// Among so many are clusters with one controller, clocks that would drift by nothing, and faults
/// whose time is drawn at the very end.
#[test]
fn generate_thousands_of_plans_are_plans_that_can_be_run() {
    for workload in [None, Some("spark-handoff".to_owned())] {
        let choice = Choice { workload, ..Choice::default() };
        for seed in 0..3_000 {
            assert_eq!(check(&generate(seed, &choice)), Ok(()), "seed {seed}");
        }
    }
}

#[test]
fn generate_choice_of_a_profile_keeps_the_operations() {
    let all: Vec<_> = profiles::ALL
        .iter()
        .map(|row| {
            let profile = Some(row.name.to_owned());
            generate(7, &Choice { profile, ..Choice::default() })
        })
        .collect();
    assert!(all.iter().all(|plan| plan.ops == all[0].ops && plan.limits == all[0].limits));
    assert!(all.iter().any(|plan| plan.faults != all[0].faults));
}

#[test]
fn generate_many_seeds_reach_every_profile_workload_and_recipe() {
    let mut kinds = std::collections::BTreeSet::new();
    let mut names = std::collections::BTreeSet::new();
    for seed in 0..2_000 {
        let plan = generate(seed, &Choice::default());
        names.insert(plan.profile);
        names.insert(plan.workload);
        kinds.extend(plan.faults.iter().map(|fault| fault.what.name()));
    }
    // Faults of a query come with one, which is asked for by name.
    let workload = Some("spark-handoff".to_owned());
    let asked = generate(1, &Choice { workload, ..Choice::default() });
    kinds.extend(asked.faults.iter().map(|fault| fault.what.name()));
    for row in profiles::ALL {
        assert!(names.contains(row.name), "{}", row.name);
    }
    for row in registry::workloads_of() {
        assert!(names.contains(row.name), "{}", row.name);
    }
    for row in FAULT_KINDS {
        assert!(kinds.contains(row.name), "{} is never drawn", row.name);
    }
    for recipe in recipes::ALL {
        let weighed = profiles::ALL.iter().flat_map(|row| row.recipes);
        assert!(weighed.clone().any(|(_, one)| one.name == recipe.name), "{}", recipe.name);
    }
}

#[test]
fn generate_recipes_have_keys_of_their_own() {
    let mut keys: Vec<_> = recipes::ALL.iter().map(recipes::Recipe::key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), recipes::ALL.len());
}

#[test]
fn generate_zombies_and_late_puts_are_frequent() {
    let zombie = |plan: &Plan| {
        plan.faults.iter().any(|fault| match &fault.what {
            What::Pause { node } => !node.starts_with("controller") && fault.lasting_us > 9_000_000,
            What::Cut { from, to } => {
                fault.lasting_us > 9_000_000
                    && from.iter().chain(to).any(|name| name.starts_with("broker"))
                    && from.iter().chain(to).any(|name| name.starts_with("controller"))
            }
            What::StoreLoseAnswer { fate: crate::plan::Fate::Late { .. }, .. } => true,
            _ => false,
        })
    };
    let plans = (0..500).map(|seed| generate(seed, &Choice::default()));
    let share = plans.filter(zombie).count();
    assert!(share > 300, "only {share} of 500 plans hold a zombie or a late put");
}
