//! The numbers by which a voter knows again what it asked for. They only have to differ; a search
//! through the states of voters gives them anew, so that how often something was asked before does
//! not tell two states apart.

use super::device::Phase;
use super::state::{Pull, RoleState};
use super::{Quorum, fetch_id};
use crate::ids::{Incarnation, NodeId};

impl Quorum {
    /// The fetches that this voter remembers, with who sent them.
    pub fn fetches(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        let (own, parked) = match &self.role {
            RoleState::Follower(follower) => match follower.pull {
                Pull::Sent { id, .. } => (Some(id), None),
                Pull::Due | Pull::BackingOff => (None, None),
            },
            RoleState::Leader(leader) => (None, Some(&leader.parked)),
            RoleState::Unattached
            | RoleState::Prospective(_)
            | RoleState::Candidate(_)
            | RoleState::Resigned { .. } => (None, None),
        };
        let parked = parked.into_iter().flatten().map(|(node, asked)| (*node, asked.id));
        own.map(|id| (self.node, id)).into_iter().chain(parked)
    }

    /// The number that its next fetch gets, among those of its process.
    #[must_use]
    pub fn fetches_sent(&self) -> u64 {
        self.fetches_sent
    }

    /// Gives every fetch that it remembers another number, the same for the same; the next one of
    /// its own is its `sent`th.
    pub fn renumber_fetches(&mut self, number: impl Fn(NodeId, u64) -> u64, sent: u64) {
        self.fetches_sent = sent;
        match &mut self.role {
            RoleState::Follower(follower) => {
                if let Pull::Sent { id, .. } = &mut follower.pull {
                    *id = number(self.node, *id);
                }
            }
            RoleState::Leader(leader) => {
                for (node, asked) in &mut leader.parked {
                    asked.id = number(*node, asked.id);
                }
            }
            RoleState::Unattached
            | RoleState::Prospective(_)
            | RoleState::Candidate(_)
            | RoleState::Resigned { .. } => {}
        }
    }

    /// The number of a fetch of a process, its `nth`.
    #[must_use]
    pub fn fetch_number(incarnation: Incarnation, nth: u64) -> u64 {
        fetch_id(incarnation, nth)
    }

    /// The process that sent a fetch with this number.
    #[must_use]
    pub fn fetched_by(number: u64) -> Incarnation {
        Incarnation(u32::try_from(number >> 40).expect("made of an incarnation"))
    }

    /// Gives the operations that its device has not done, in order, the numbers 0, 1, ….
    pub fn renumber_operations(&mut self, undone: &[u64]) {
        let number = |seq: &mut u64| {
            let at = undone.iter().position(|known| known == seq);
            *seq = at.expect("what is waited for is not done") as u64;
        };
        if let Phase::Loading { seq } | Phase::Cleaning { seq, .. } = &mut self.phase {
            number(seq);
        }
        self.device.renumber(number, undone.len() as u64);
    }

    /// How often it tried to be elected decides how long it waits, and nothing else.
    pub fn forget_tries(&mut self) {
        self.elections_tried = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_a_fetch_names_its_process() {
        let ids = [0, 1, 2].map(|nth| Quorum::fetch_number(Incarnation(5), nth));
        assert!(ids.iter().all(|id| Quorum::fetched_by(*id) == Incarnation(5)));
        assert!(ids.is_sorted_by(|one, next| one < next));
    }
}
