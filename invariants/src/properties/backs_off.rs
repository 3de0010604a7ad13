//! LV10 BacksOff: a node whose put of an object was throttled does not hammer the store: it sends
//! only a few puts of it within any second until one is done. (That the system recovers from
//! throttling is LV7 and LV8.) Source: S3's advice on SlowDown.

use alloc::collections::{BTreeMap, VecDeque};

use broker_core::ids::NodeId;
use broker_core::step::Key;

use crate::history::SimTime;
use crate::{Check, require};

/// A first attempt, a hedge, and retries with a pause that doubles from 10 ms on; without pauses a
/// store that answers within 20 ms sees fifty.
const PUTS_PER_SECOND_MAX: usize = 8;

const SECOND_US: u64 = 1_000_000;

/// Objects watched; beyond that the first names are dropped (a bound, not a rule).
const WATCHED_MAX: usize = 4_096;

/// Objects whose puts were throttled and are not yet done, and when those of the last second were.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BacksOff(BTreeMap<(NodeId, Key), VecDeque<SimTime>>);

impl BacksOff {
    /// Whether any object is watched: if not, a put that is done says nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    /// A put reached the store.
    pub(crate) fn put(&mut self, at: SimTime, node: NodeId, key: &Key, throttled: bool) -> Check {
        let name = (node, key.clone());
        if !throttled {
            self.0.remove(&name);
            return Ok(());
        }
        if self.0.len() >= WATCHED_MAX {
            self.0.pop_first();
        }
        let puts = self.0.entry(name).or_default();
        while puts.front().is_some_and(|first| at.0.saturating_sub(first.0) >= SECOND_US) {
            puts.pop_front();
        }
        puts.push_back(at);
        require!(
            puts.len() <= PUTS_PER_SECOND_MAX,
            LV10,
            "store",
            "node {node} sent {} throttled puts of {key} within a second",
            puts.len()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use broker_core::step::{Cond, Flow, Key, ObjOp, ObjResult};
    use bytes::Bytes;

    use crate::testing::{A, Case, tok};

    fn throttled(case: &mut Case, times: u32, pause_ms: u64) {
        for _ in 0..times {
            let (key, body, cond) = (Key("obj/1".into()), Bytes::new(), Cond::IfAbsent);
            let put = ObjOp::Put { key, body, cond };
            case.store(A, tok(Flow::Upload, 1), &put, &ObjResult::SlowDown);
            case.at_us += pause_ms * 1_000;
        }
    }

    #[test]
    fn puts_retried_at_once_break() {
        let mut case = Case::new("LV10");
        throttled(&mut case, 9, 20);
        assert!(case.breaks("LV10"));
    }

    #[test]
    fn puts_retried_with_pauses_hold() {
        let mut case = Case::new("LV10");
        throttled(&mut case, 100, 200);
        assert!(case.holds());
    }
}
