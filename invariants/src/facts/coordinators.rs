//! What transaction coordinators wrote into their logs, as far as it can be in them still.
//!
//! A record that got its place under an old leader is gone when a newer one writes at that offset.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use broker_core::protocol::TxnState;

/// The logs.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Coordinators(BTreeMap<TopicPartition, Log>);

#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Log {
    /// Of the newest leader.
    epoch: LeaderEpoch,
    /// By offset: the transactional id and how it stands; none: it is forgotten.
    records: BTreeMap<Offset, (Arc<str>, Option<Standing>)>,
}

/// The producer of a transactional id, its epoch, and the state of its transaction.
pub(crate) type Standing = (ProducerId, ProducerEpoch, TxnState);

impl Coordinators {
    /// A leader has read the log to its end. Whether it had to read anything, and whether a
    /// decision was left to carry out.
    pub(crate) fn loaded(
        &mut self,
        log: TopicPartition,
        epoch: LeaderEpoch,
        end: Offset,
    ) -> (bool, bool) {
        let log = self.0.entry(log).or_default();
        if epoch > log.epoch {
            log.epoch = epoch;
            log.records.split_off(&end);
        }
        (!log.records.is_empty(), log.decided().next().is_some())
    }

    /// A record got its place. Returns the state of its id before, unless its writer was replaced.
    pub(crate) fn recorded(
        &mut self,
        (log, epoch): (TopicPartition, LeaderEpoch),
        id: &Arc<str>,
        at: Offset,
        now: Option<Standing>,
    ) -> Option<Option<Standing>> {
        let log = self.0.entry(log).or_default();
        if epoch < log.epoch {
            return None;
        }
        log.epoch = epoch;
        log.records.split_off(&at);
        let before = log.records.values().rev().find(|(of, _)| of == id);
        let before = before.and_then(|(_, standing)| *standing);
        log.records.insert(at, (id.clone(), now));
        Some(before)
    }

    /// Whether this partition is a coordinator's log.
    pub(crate) fn is_log(&self, partition: TopicPartition) -> bool {
        self.0.contains_key(&partition)
    }

    /// Transactional ids whose transaction is decided and not complete.
    pub(crate) fn decided(&self) -> Vec<String> {
        let decided = self.0.values().flat_map(Log::decided);
        decided.map(|id| String::from(&**id)).collect()
    }

    /// Whether anything was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(|log| log.records.is_empty())
    }
}

impl Log {
    fn decided(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut newest = BTreeMap::new();
        for (id, standing) in self.records.values() {
            newest.insert(id, standing.map(|(.., state)| state));
        }
        let is_decided =
            |state| matches!(state, Some(TxnState::PrepareCommit | TxnState::PrepareAbort));
        newest.into_iter().filter(move |(_, state)| is_decided(*state)).map(|(id, _)| id)
    }
}
