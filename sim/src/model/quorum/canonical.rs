//! One state, one form: what only tells how a state was come to is taken out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_core::ids::{Incarnation, NodeId};
use broker_core::peer::QuorumMsg;
use broker_core::quorum::Quorum;

use super::{State, Way};

/// The numbers that fetches have, and those that they get.
type Numbers = BTreeMap<(NodeId, u64), u64>;

/// Numbers what is under way anew: fetches from 0 for each process, operations from 0 for each
/// device.
pub(super) fn number(state: &mut State) {
    let said = state.messages.iter().flat_map(|(way, all)| all.iter().map(|msg| (*way, msg)));
    let mut known: BTreeSet<(NodeId, u64)> =
        said.filter_map(|(way, msg)| fetch(way, msg)).collect();
    known.extend(state.voters.iter().flat_map(|voter| voter.quorum.fetches()));
    let numbers = numbers(&known);
    let renumbered = numbers.iter().any(|((_, old), new)| old != new);
    if renumbered {
        for (way, messages) in &mut state.messages {
            messages.iter_mut().for_each(|msg| renumber(*way, msg, &numbers));
        }
    }
    for (id, voter) in state.ids.iter().zip(&mut state.voters) {
        let of_process = |(node, number): &&(NodeId, u64)| {
            node == id && Quorum::fetched_by(*number) == voter.incarnation
        };
        let sent = known.iter().filter(of_process).count() as u64;
        let fetches = |node, old| numbers[&(node, old)];
        if let Some(voter) = Arc::get_mut(voter) {
            // It was changed by this step.
            voter.quorum.renumber_fetches(fetches, sent);
            voter.quorum.renumber_operations(&voter.device.renumber());
            voter.quorum.forget_tries();
        } else if renumbered || voter.quorum.fetches_sent() != sent {
            Arc::make_mut(voter).quorum.renumber_fetches(fetches, sent);
        }
    }
}

/// In the order that they had: a later one of a process has a greater number.
fn numbers(known: &BTreeSet<(NodeId, u64)>) -> Numbers {
    let mut next: BTreeMap<(NodeId, Incarnation), u64> = BTreeMap::new();
    let mut number = |(node, old): &(NodeId, u64)| {
        let incarnation = Quorum::fetched_by(*old);
        let nth = next.entry((*node, incarnation)).or_default();
        *nth += 1;
        ((*node, *old), Quorum::fetch_number(incarnation, *nth - 1))
    };
    known.iter().map(&mut number).collect()
}

/// The fetch that a message is about: who sent it, and its number.
fn fetch(way: Way, msg: &QuorumMsg) -> Option<(NodeId, u64)> {
    match msg {
        QuorumMsg::Fetch { id, .. } => Some((way.from, *id)),
        QuorumMsg::FetchReply { id, .. } => Some((way.to, *id)),
        QuorumMsg::Vote { .. }
        | QuorumMsg::VoteReply { .. }
        | QuorumMsg::BeginEpoch { .. }
        | QuorumMsg::BeginEpochReply { .. }
        | QuorumMsg::EndEpoch { .. } => None,
    }
}

fn renumber(way: Way, msg: &mut QuorumMsg, numbers: &Numbers) {
    let new = fetch(way, msg).map(|known| numbers[&known]);
    if let (Some(new), QuorumMsg::Fetch { id, .. } | QuorumMsg::FetchReply { id, .. }) = (new, msg)
    {
        *id = new;
    }
}
