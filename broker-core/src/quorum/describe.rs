//! What a leader can tell of its quorum: who follows it, how far, and when it last did (KIP-836).
//!
//! The times are told to who asks, and decide nothing else. They are forgotten with the office.
//! Source: `LeaderState` (`updateFollowerState`, `clearInactiveObservers`), `RaftUtil`.

use super::Quorum;
use super::state::{Leader, RoleState};
use crate::ids::{MetaOffset, NodeId};
use crate::protocol::{QuorumDescription, ReplicaDescription};
use crate::step::Cx;
use crate::time::{Dur, Wall};

/// An observer that fetched nothing for so long is not told of (`OBSERVER_SESSION_TIMEOUT_MS`).
pub const OBSERVER_SESSION: Dur = Dur::secs(300);

/// What a leader remembers of the fetches of a voter or an observer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Fetches {
    /// Where the last one began.
    end: Option<MetaOffset>,
    at: Option<Wall>,
    /// Where the leader's log ended then.
    leader_end: Option<MetaOffset>,
    caught_up: Option<Wall>,
}

impl Fetches {
    /// One more, which fits the leader's log. Who has now what the leader had at the fetch before
    /// this one had caught up at that time: else nobody would ever, while entries keep coming.
    pub(super) fn note(&mut self, now: Wall, end: MetaOffset, leader_end: MetaOffset) {
        if end >= leader_end {
            self.caught_up = self.caught_up.max(Some(now));
        } else if self.leader_end.is_some_and(|before| end >= before) {
            self.caught_up = self.caught_up.max(self.at);
        }
        self.leader_end = Some(leader_end);
        // Wall clocks go back.
        self.at = self.at.max(Some(now));
        self.end = Some(end);
    }

    fn describe(self, node: NodeId) -> ReplicaDescription {
        let Self { end, at: last_fetch, caught_up: last_caught_up, .. } = self;
        ReplicaDescription { node, end, last_fetch, last_caught_up }
    }

    fn is_recent(&self, now: Wall) -> bool {
        self.at.is_some_and(|at| now.0.saturating_sub(at.0) < OBSERVER_SESSION.0.cast_signed())
    }
}

impl Quorum {
    /// The quorum as this node sees it, if it is in office as leader. Nobody is asked whether it
    /// still leads: who was deposed and does not know tells what it last saw, as in Kafka.
    #[must_use]
    pub fn describe(&self, cx: &Cx) -> Option<QuorumDescription> {
        let RoleState::Leader(Leader { epoch_start: Some(start), fetches, .. }) = &self.role else {
            return None;
        };
        let voter = |&node: &NodeId| {
            let now = Some(cx.wall);
            let end = Some(self.log.end());
            let own = ReplicaDescription { node, end, last_fetch: now, last_caught_up: now };
            let noted = || fetches.get(&node).copied().unwrap_or_default().describe(node);
            if node == self.node { own } else { noted() }
        };
        let observers = fetches
            .iter()
            .filter(|(node, fetches)| !self.voters.contains(node) && fetches.is_recent(cx.wall));
        Some(QuorumDescription {
            leader: self.node,
            leader_epoch: self.election.epoch,
            high_watermark: (self.high_watermark > *start).then_some(self.high_watermark),
            voters: self.voters.iter().map(voter).collect(),
            observers: observers.map(|(node, fetches)| fetches.describe(*node)).collect(),
        })
    }
}
