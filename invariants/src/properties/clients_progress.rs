//! LV5 ClientsProgress: no client tries an operation in vain for a minute of the healthy core. A
//! produce, query or admin call that is refused or unanswered again and again is otherwise just an
//! operation whose client gave up, and nothing would be owed any more. Operations on what does not
//! exist end early by themselves; clients that may be cut off are left out until they get an
//! answer. Source: Kafka's `delivery.timeout.ms`; Jepsen on Bufstream 0.1.0 (stuck producers).

use alloc::string::String;
use alloc::vec::Vec;

use super::readers_progress::is_connected;
use crate::facts::Facts;
use crate::view::View;

/// So long in the healthy core must have been in vain: many times a session's time-out, an election
/// and some time-outs of the store in a row, and half of the time for which clients try.
const IN_VAIN_US_MIN: u64 = 60_000_000;

/// What is owed.
pub(crate) fn owed(facts: &Facts, view: &dyn View) -> Vec<String> {
    let Some(healed) = facts.healed else { return Vec::new() };
    let given_up = facts.clients.given_up.iter();
    let owed = given_up.filter_map(|&(client, op, at)| {
        let for_us = at.0.saturating_sub(healed.0);
        (for_us >= IN_VAIN_US_MIN && is_connected(client, facts, view)).then(|| {
            alloc::format!(
                "LV5: client {client} gave operation {op} up {} s after the healing",
                for_us / 1_000_000
            )
        })
    });
    owed.collect()
}

#[cfg(test)]
mod tests {
    use broker_core::protocol::ErrorCode;

    use crate::testing::{B, Case};

    #[test]
    fn operation_given_up_after_a_minute_in_vain_breaks() {
        let mut case = Case::cluster("LV5");
        case.heal().wait_ms(60_000).gives_up(2);
        assert!(case.owes("LV5"));
        case.finish();
        assert!(case.breaks("LV5"));
    }

    #[test]
    fn operation_given_up_soon_after_the_healing_holds() {
        let mut case = Case::cluster("LV5");
        case.heal().wait_ms(59_999).gives_up(2).finish();
        assert!(case.holds());
    }

    #[test]
    fn operation_of_a_client_that_may_be_cut_off_holds_until_it_hears_something() {
        let mut case = Case::cluster("LV5");
        case.fake.outside.insert(B);
        case.heal().wait_ms(60_000).gives_up(1);
        assert!(!case.owes("LV5"));
        let refused = case.produce(100, 1);
        case.fail(refused, ErrorCode::NotLeaderOrFollower);
        assert!(case.owes("LV5"));
    }
}
