//! LV8 BacklogDrains: in the healthy core everything that a serving broker confirmed gets committed,
//! and back-pressure ends. Source: AutoMQ #1055, 0e459685e3.

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
        if !serves(*id, facts, view) {
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
        if facts.nodes.get(id.0).is_some_and(|node| node.back_pressure) {
            owed.push(alloc::format!("LV8: node {}: appends wait for room in the WAL", id.0));
        }
    }
    owed
}
