//! What the quorum promises, judged from its probes and from what the devices really hold.
//!
//! R1 one leader per epoch · R2 logs match · R3 leaders have all that is committed · R4 one entry
//! per committed offset, handed on in order · R5 high watermark: never falls, never beyond what a
//! majority has durable, only by entries of the leader's epoch · R6 one vote per epoch, over
//! restarts · R9 durable before visible · LV2 a leader without a majority resigns.

use std::collections::BTreeMap;
use std::fmt;

use broker_core::ids::{MetaOffset, NodeId, QuorumEpoch};
use broker_core::peer::QuorumMsg;
use broker_core::probe::Probe;
use broker_core::quorum::Quorum;
use broker_core::quorum::format::ElectionState;
use broker_core::quorum::timing::CHECK_QUORUM;

/// A broken promise.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) property: &'static str,
    what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.what)
    }
}

pub(crate) fn broken<T>(property: &'static str, what: String) -> Result<T, Broken> {
    Err(Broken { property, what })
}

macro_rules! promise {
    ($judge:expr, $holds:expr, $property:literal, $($what:tt)+) => {
        if !$holds && $judge.only.judges($property) {
            return broken($property, format!($($what)+));
        }
    };
}

/// What a device holds for certain.
pub(crate) struct Durable {
    pub(crate) bytes: u64,
    pub(crate) state: ElectionState,
}

#[derive(Default)]
struct Log {
    /// Prefix digest and end in bytes of each entry written.
    written: Vec<(u64, u64)>,
    high_watermark: MetaOffset,
    handed_on: MetaOffset,
}

/// The properties judged; none named means all.
#[derive(Default)]
struct Only(&'static [&'static str]);

impl Only {
    fn judges(&self, property: &str) -> bool {
        self.0.is_empty() || self.0.contains(&property)
    }
}

/// The judge of one run.
#[derive(Default)]
pub(crate) struct Judge {
    only: Only,
    voters: usize,
    logs: BTreeMap<NodeId, Log>,
    leaders: BTreeMap<QuorumEpoch, NodeId>,
    prefixes: BTreeMap<(MetaOffset, QuorumEpoch), u64>,
    committed: Vec<u64>,
    votes: BTreeMap<(NodeId, QuorumEpoch), NodeId>,
    /// Since when a node leads, and when each voter last fetched from it.
    served: BTreeMap<NodeId, (u64, BTreeMap<NodeId, u64>)>,
}

impl Judge {
    pub(crate) fn new(voters: usize, only: &'static [&'static str]) -> Self {
        Self { voters, only: Only(only), ..Self::default() }
    }

    pub(crate) fn judges(&self, property: &str) -> bool {
        self.only.judges(property)
    }

    pub(crate) fn booted(&mut self, node: NodeId) {
        let log = self.logs.entry(node).or_default();
        (log.high_watermark, log.handed_on) = (MetaOffset(0), MetaOffset(0));
        self.served.remove(&node);
    }

    /// Takes what was found at boot: a crash may undo a cut that was under way, so the log can be
    /// another one than the probes told of.
    pub(crate) fn loaded(&mut self, node: NodeId, quorum: &Quorum) -> Result<(), Broken> {
        let mut written = Vec::new();
        for offset in (0..quorum.end_offset().0).map(MetaOffset) {
            let of = (quorum.entry_epoch(offset), quorum.prefix(offset), quorum.byte_end(offset));
            let (Some(epoch), Some(prefix), Some(byte_end)) = of else { panic!("{of:?}") };
            let known = self.prefixes.get(&(offset, epoch)).copied();
            promise!(
                self,
                known == Some(prefix),
                "R2",
                "{node} found {epoch:?} at {offset}, unheard of"
            );
            written.push((prefix, byte_end));
        }
        self.logs.entry(node).or_default().written = written;
        Ok(())
    }

    pub(crate) fn committed_end(&self) -> MetaOffset {
        MetaOffset(self.committed.len() as u64)
    }

    /// Judges a probe of `node`; `durable` is what the device of a voter holds.
    pub(crate) fn probe(
        &mut self,
        now: u64,
        node: NodeId,
        probe: &Probe,
        durable: &dyn Fn(NodeId) -> Option<Durable>,
    ) -> Result<(), Broken> {
        match *probe {
            Probe::QuorumTruncated { to, .. } => {
                let log = self.logs.entry(node).or_default();
                promise!(
                    self,
                    to >= log.high_watermark,
                    "R4",
                    "{node} cut to {to}, below its watermark"
                );
                log.written.truncate(to.0 as usize);
            }
            Probe::QuorumAppended { offset, epoch, prefix, byte_end } => {
                let known = *self.prefixes.entry((offset, epoch)).or_insert(prefix);
                promise!(
                    self,
                    known == prefix,
                    "R2",
                    "{node} at {offset} {epoch:?}: another prefix"
                );
                let written = &mut self.logs.entry(node).or_default().written;
                assert_eq!(written.len() as u64, offset.0, "a gap in the probes of {node}");
                written.push((prefix, byte_end));
            }
            Probe::QuorumBecameLeader { epoch, end } => {
                let other = self.leaders.insert(epoch, node);
                promise!(self, other.is_none(), "R1", "{other:?} and {node} lead {epoch:?}");
                let has = self.logs.get(&node).and_then(|log| log.written.get(..end.0 as usize));
                let last = self.committed.len().checked_sub(1);
                let complete = last.is_none_or(|last| {
                    has.and_then(|has| has.get(last)).is_some_and(|e| e.0 == self.committed[last])
                });
                promise!(self, complete, "R3", "{node} leads {epoch:?} without all of {last:?}");
                self.served.insert(node, (now, BTreeMap::new()));
            }
            Probe::QuorumResigned { .. } => {
                self.served.remove(&node);
            }
            Probe::QuorumRole { role, .. } if role != broker_core::quorum::Role::Leader => {
                self.served.remove(&node);
            }
            Probe::QuorumFetchServed { from, .. } => {
                if let Some((_, by)) = self.served.get_mut(&node) {
                    by.insert(from, now);
                }
            }
            Probe::QuorumVoted { epoch, candidate } => {
                let voted = *self.votes.entry((node, epoch)).or_insert(candidate);
                promise!(self, voted == candidate, "R6", "{node} voted twice in {epoch:?}");
                let state = durable(node).expect("voters have a device").state;
                let kept = state.epoch > epoch || state.voted == Some(candidate);
                promise!(self, kept, "R9", "{node} shows a vote for {candidate} that it may lose");
            }
            Probe::QuorumFetchSent { fetch_offset } => {
                let kept = self.durable_prefix(node, fetch_offset, durable).is_some();
                promise!(self, kept, "R9", "{node} says it has {fetch_offset}, and may lose it");
            }
            Probe::QuorumHighWatermark { high_watermark, entry_epoch, leader_of } => {
                self.high_watermark(node, high_watermark, entry_epoch, leader_of, durable)?;
            }
            Probe::QuorumCommitted { offset, prefix, .. } => {
                let log = self.logs.entry(node).or_default();
                promise!(self, offset == log.handed_on, "R4", "{node} got {offset} out of order");
                log.handed_on = offset.next();
                match self.committed.get(offset.0 as usize) {
                    Some(known) => {
                        promise!(self, *known == prefix, "R4", "{node} differs at {offset}")
                    }
                    None => self.committed.push(prefix),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Judges a message of a voter: its epoch must be one that the sender cannot forget.
    pub(crate) fn sent(
        &self,
        node: NodeId,
        msg: &QuorumMsg,
        durable: Option<Durable>,
    ) -> Result<(), Broken> {
        let (QuorumMsg::Vote { epoch, .. }
        | QuorumMsg::VoteReply { epoch, .. }
        | QuorumMsg::BeginEpoch { epoch }
        | QuorumMsg::BeginEpochReply { epoch }
        | QuorumMsg::EndEpoch { epoch, .. }
        | QuorumMsg::Fetch { epoch, .. }
        | QuorumMsg::FetchReply { epoch, .. }) = msg;
        if let Some(durable) = durable {
            promise!(
                self,
                *epoch <= durable.state.epoch,
                "R9",
                "{node} shows {epoch:?} before it is kept"
            );
        }
        Ok(())
    }

    /// Judges that `node`, which leads, was fetched from by a majority lately.
    pub(crate) fn leads(&self, now: u64, node: NodeId) -> Result<(), Broken> {
        let needed = self.voters / 2;
        let Some((since, by)) = self.served.get(&node) else { return Ok(()) };
        let mut times: Vec<_> = by.values().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let seen = if needed == 0 { now } else { times.get(needed - 1).copied().unwrap_or(*since) };
        let silent = now - seen.max(*since);
        // The count begins anew when a majority has fetched, so the last but one may be as old
        // again; a twentieth for the drift of the clock.
        let silent_max = CHECK_QUORUM.0 * (needed.clamp(1, 2) as u64) * 21 / 20;
        promise!(self, silent <= silent_max, "LV2", "{node} leads alone for {silent} µs");
        Ok(())
    }

    fn high_watermark(
        &mut self,
        node: NodeId,
        high_watermark: MetaOffset,
        entry_epoch: QuorumEpoch,
        leader_of: Option<QuorumEpoch>,
        durable: &dyn Fn(NodeId) -> Option<Durable>,
    ) -> Result<(), Broken> {
        let log = self.logs.entry(node).or_default();
        promise!(
            self,
            high_watermark > log.high_watermark,
            "R5",
            "{node} lowers to {high_watermark}"
        );
        log.high_watermark = high_watermark;
        let Some(epoch) = leader_of else { return Ok(()) };
        promise!(
            self,
            entry_epoch == epoch,
            "R3",
            "{node} of {epoch:?} commits only {entry_epoch:?}"
        );
        let at = high_watermark.0 as usize - 1;
        let prefix = log.written[at].0;
        let durable_at = |voter: &&NodeId| {
            self.durable_prefix(**voter, high_watermark, durable) == Some(Some(prefix))
        };
        let holders = self.logs.keys().filter(durable_at).count();
        promise!(
            self,
            holders > self.voters / 2,
            "R5",
            "{high_watermark} is durable at {holders} only"
        );
        Ok(())
    }

    /// The digest of all before `end` at `node`, if that is durable; none for no entries.
    fn durable_prefix(
        &self,
        node: NodeId,
        end: MetaOffset,
        durable: &dyn Fn(NodeId) -> Option<Durable>,
    ) -> Option<Option<u64>> {
        let Some(last) = end.0.checked_sub(1) else { return Some(None) };
        let (prefix, byte_end) = *self.logs.get(&node)?.written.get(last as usize)?;
        (byte_end <= durable(node)?.bytes).then_some(Some(prefix))
    }
}
