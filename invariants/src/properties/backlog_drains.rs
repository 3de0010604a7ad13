//! LV8 BacklogDrains: in the healthy core everything that a serving broker confirmed gets
//! committed, and back-pressure ends. Source: AutoMQ #1055, 0e459685e3.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::Lsn;

use super::failover_done::serves;
use crate::facts::Facts;
use crate::view::View;

/// What is owed.
pub(crate) fn owed(facts: &Facts, view: &dyn View) -> Vec<String> {
    let mut owed = Vec::new();
    for (id, wal) in &facts.wals.wals {
        if !view.in_core(id.0) || !serves(*id, facts, view) {
            continue;
        }
        let first_left = wal.records(wal.committed_below, Lsn(u64::MAX)).find(|(_, record)| {
            !facts.ledger.covers(record.stream, record.epoch, record.base, record.end)
        });
        if let Some((lsn, record)) = first_left {
            owed.push(alloc::format!(
                "LV8: node {}, WAL {}: record {lsn} ({record:?}) is not committed",
                id.0,
                id.1
            ));
        }
    }
    for node in view.brokers().iter().filter(|node| view.in_core(**node) && view.is_up(**node)) {
        if facts.nodes.get(*node).is_some_and(|known| known.back_pressure) {
            owed.push(alloc::format!("LV8: node {node}: appends wait for room in the WAL"));
        }
    }
    owed
}

#[cfg(test)]
mod tests {
    use broker_core::probe::Probe;

    use crate::testing::{A, A_EPOCH, Case};

    #[test]
    fn confirmed_record_never_committed_breaks() {
        let mut case = Case::cluster("LV8");
        case.wal_write(0, &[(0, 2, 100)]).heal();
        assert!(case.owes("LV8"));
        assert!(case.finish().breaks("LV8"));
    }

    #[test]
    fn confirmed_record_committed_holds() {
        let mut case = Case::cluster("LV8");
        case.wal_write(0, &[(0, 2, 100)]).heal();
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]).wait_ms(100);
        assert!(!case.owes("LV8"));
        assert!(case.finish().holds());
    }

    #[test]
    fn back_pressure_is_owed_until_it_ends() {
        let mut case = Case::cluster("LV8");
        case.heal().probe(A, &Probe::WalBackPressure { on: true });
        assert!(case.owes("LV8"));
        case.probe(A, &Probe::WalBackPressure { on: false });
        assert!(!case.owes("LV8"));
    }
}
