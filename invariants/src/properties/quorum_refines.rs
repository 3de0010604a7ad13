//! RF1 QuorumRefines: whatever a controller does, in its memory and on its device, is a few steps
//! of the specification of the quorum. Source: `specification/quorum.rs`.

use alloc::collections::BTreeMap;

use broker_core::ids::{MetaOffset, NodeId};
use broker_core::quorum::Quorum as Machine;
use bytes::Bytes;

use crate::bytes::{Ballot, ballot};
use crate::marks::Marks;
use crate::specification::Refused;
use crate::specification::quorum::{Action, Entry, Quorum, Voter};
use crate::view::View;
use crate::{Check, require};

/// The specification's state, and what it does not have.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct QuorumRefines {
    specified: Quorum,
    devices: BTreeMap<NodeId, Device>,
}

/// What a device held when it was last looked at.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Device {
    /// Bytes of the log.
    end: u64,
    state: Bytes,
    ballot: Ballot,
}

/// What is seen of a voter.
struct Seen<'a> {
    node: NodeId,
    /// Its machine, if it has read its device.
    machine: Option<&'a Machine>,
    ballot: Ballot,
    device_end: u64,
}

impl Seen<'_> {
    fn leads(&self) -> bool {
        self.machine.is_some_and(Machine::is_active)
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let (machine, offset) = (self.machine?, MetaOffset(at as u64));
        let (term, name) = (machine.entry_epoch(offset)?.0, machine.prefix(offset)?);
        Some(Entry { term, name })
    }

    /// The last of the first so many entries.
    fn last(&self, len: usize) -> Option<Entry> {
        self.entry(len.checked_sub(1)?)
    }

    /// How many entries lie before this byte of the device.
    fn before(&self, end: u64) -> usize {
        let Some(machine) = self.machine else { return 0 };
        let ends = |len: &u64| machine.byte_end(MetaOffset(len - 1)).is_some_and(|it| it <= end);
        (1..=machine.end_offset().0).rev().find(ends).unwrap_or(0) as usize
    }
}

impl QuorumRefines {
    /// A node, a controller, may have changed.
    pub(crate) fn stepped(&mut self, node: NodeId, view: &dyn View, marks: &mut Marks) -> Check {
        if self.specified.voters.is_empty() {
            let voters = view.controllers().iter().map(|node| (node.0, Voter::default()));
            self.specified.voters = voters.collect();
        }
        let device = self.devices.entry(node).or_default();
        let state = view.device_state(node);
        if device.state != state {
            device.ballot = ballot(&state).unwrap_or(device.ballot);
            device.state = state;
        }
        let seen = Seen {
            node,
            machine: view.quorum(node).filter(|machine| machine.is_loaded()),
            ballot: device.ballot,
            device_end: view.device_end(node),
        };
        if self.voter(&seen).up && seen.machine.is_none() {
            self.take(&seen, Action::Crash, marks)?;
        }
        self.votes(&seen, marks)?;
        self.runs(&seen, marks)?;
        self.agrees(&seen)
    }

    fn voter(&self, seen: &Seen<'_>) -> &Voter {
        &self.specified.voters[&seen.node.0]
    }

    fn take(&mut self, seen: &Seen<'_>, action: Action, marks: &mut Marks) -> Check {
        let taken = self.specified.take(seen.node.0, action);
        if let Err(Refused(why)) = taken {
            require!(false, RF1, "controller", "node {} may not {action:?}: {why}", seen.node);
        }
        marks.taken(action.name());
        Ok(())
    }

    /// Whether in this step a voter has taken office, and left it: it has appended.
    fn led(&self, seen: &Seen<'_>, len: usize) -> bool {
        let voter = self.voter(seen);
        let own = seen.last(len).is_some_and(|last| last.term == voter.term);
        own && voter.log.len() < len && voter.leader == Some(seen.node.0)
    }

    /// What its state file tells.
    fn votes(&mut self, seen: &Seen<'_>, marks: &mut Marks) -> Check {
        let (me, Ballot { epoch, voted, leader }) = (seen.node, seen.ballot);
        let stands = voted == Some(me);
        match self.voter(seen).term == epoch.0 {
            true => {}
            false if stands => self.take(seen, Action::Stand(epoch.0), marks)?,
            false => self.take(seen, Action::Adopt(epoch.0), marks)?,
        }
        if let (None, Some(candidate)) = (self.voter(seen).vote, voted) {
            self.take(seen, Action::Vote(candidate.0), marks)?;
        }
        match leader {
            Some(leader) if self.voter(seen).leader.is_some_and(|known| known == leader.0) => {
                Ok(())
            }
            Some(leader) if leader == me => self.take(seen, Action::Elect, marks),
            Some(leader) => self.take(seen, Action::Follow(leader.0), marks),
            None => Ok(()),
        }
    }

    /// What it does in its role, and what becomes durable.
    fn runs(&mut self, seen: &Seen<'_>, marks: &mut Marks) -> Check {
        let Some(machine) = seen.machine else { return Ok(()) };
        let (len, device_end) = (machine.end_offset().0 as usize, seen.device_end);
        if !self.voter(seen).up {
            self.take(seen, self.restart(seen, len), marks)?;
            self.devices.entry(seen.node).or_default().end = device_end;
        }
        if (seen.leads() || self.led(seen, len)) && !self.voter(seen).leads {
            self.take(seen, Action::TakeOffice, marks)?;
        }
        let had = self.voter(seen).log.len();
        if self.voter(seen).leads {
            for entry in (had..len).filter_map(|at| seen.entry(at)) {
                self.take(seen, Action::Append(entry), marks)?;
            }
        } else if had < len {
            self.take(seen, Action::Replicate(len), marks)?;
        } else if len < had {
            self.take(seen, Action::Truncate(len), marks)?;
        }
        let device = self.devices.entry(seen.node).or_default();
        if core::mem::replace(&mut device.end, device_end) != device_end {
            self.take(seen, Action::Persist(seen.before(device_end)), marks)?;
        }
        let (knew, knows) = (self.voter(seen).commit, machine.high_watermark().0 as usize);
        match self.voter(seen).leads {
            _ if knows <= knew => {}
            true => self.take(seen, Action::Commit(knows), marks)?,
            false => self.take(seen, Action::Hear(knows), marks)?,
        }
        match self.voter(seen).leads && !seen.leads() {
            true => self.take(seen, Action::StepDown, marks),
            false => Ok(()),
        }
    }

    /// Which log a voter has read.
    fn restart(&self, seen: &Seen<'_>, len: usize) -> Action {
        let Voter { log, durable, uncut, .. } = self.voter(seen);
        let last = seen.last(len);
        let is_last = |at: usize, log: &[Entry]| last.is_some() && log.get(at).copied() == last;
        match len.checked_sub(1 + durable) {
            Some(at) if is_last(at, uncut) && !is_last(len - 1, log) => Action::RestartUncut(len),
            _ => Action::Restart(len),
        }
    }

    /// Behind the steps the voter is as it is seen.
    fn agrees(&self, seen: &Seen<'_>) -> Check {
        let voter = self.voter(seen);
        let Ballot { epoch, voted, leader } = seen.ballot;
        let (vote, led_by) = (voted.map(|node| node.0), leader.map(|node| node.0));
        let on_device = (voter.term, voter.vote, voter.leader);
        require!(
            on_device == (epoch.0, vote, led_by),
            RF1,
            "controller",
            "node {}: no step leads from term, vote and leader {on_device:?} to {:?}",
            seen.node,
            (epoch.0, vote, led_by)
        );
        let Some(machine) = seen.machine else { return Ok(()) };
        let (len, log) = (machine.end_offset().0 as usize, &voter.log);
        require!(
            log.len() == len && log.last().copied() == seen.last(len),
            RF1,
            "controller",
            "node {}: no step leads to its log of {len} entries; so far {} were its leader's",
            seen.node,
            log.len()
        );
        require!(
            voter.commit == machine.high_watermark().0 as usize,
            RF1,
            "controller",
            "node {}: no step leads from high watermark {} to {}",
            seen.node,
            voter.commit,
            machine.high_watermark()
        );
        Ok(())
    }
}
