//! The quorum's log device: what is in flight on it, what a completion means, when to give it up.
//!
//! Group commit: one sync is in flight, what is appended meanwhile goes with the next one. The
//! device works in order, so an append may follow a cut without waiting for it. A write of the
//! state file holds back everything else that the voter would do, as KRaft's `writeElectionState`
//! does.

use alloc::vec::Vec;

use bytes::Bytes;

use super::format::{DecodedLog, ElectionState, decode_log, decode_state, encode_state};
use super::log::Log;
use super::state::RoleState;
use super::{Entry, Quorum, QuorumEvent};
use crate::ids::MetaOffset;
use crate::mutants::Mutant;
use crate::probe::Probe;
use crate::step::{Cx, Effect, Flow, HaltReason, LogOp, LogResult, Outbox, Tok};

/// Where the process is between its boot and its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Phase {
    /// Not booted.
    Down,
    /// The device is being read.
    Loading {
        /// The load's number.
        seq: u64,
    },
    /// The log was read; a torn tail is being cut, or what may sit in a cache made durable.
    Cleaning {
        /// The operation's number.
        seq: u64,
        /// What the state file holds.
        file: ElectionState,
        /// Whether a torn tail is cut.
        torn: bool,
    },
    /// A voter.
    Up,
    /// The device was given up.
    Halted,
}

/// Operations in flight.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Device {
    next_seq: u64,
    /// Syncs and cuts, each with the end it makes durable. At most one sync.
    flushes: Vec<Flush>,
    /// Entries were appended that the sync in flight may not hold.
    sync_wanted: bool,
    /// The state being written.
    writing: Option<(u64, ElectionState)>,
    /// The state last written in this process.
    written: Option<ElectionState>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Flush {
    seq: u64,
    end: MetaOffset,
}

impl Device {
    /// Whether the state file is being replaced.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Gives what is in flight other numbers; the next one is `next`.
    pub(super) fn renumber(&mut self, number: impl Fn(&mut u64), next: u64) {
        self.flushes.iter_mut().for_each(|flush| number(&mut flush.seq));
        if let Some((seq, _)) = &mut self.writing {
            number(seq);
        }
        self.next_seq = next;
    }

    /// Whether no sync and no cut is in flight.
    pub(super) fn is_clean(&self) -> bool {
        self.flushes.is_empty()
    }

    /// Whether the state file is known to hold `state`.
    pub(super) fn holds(&self, state: &ElectionState) -> bool {
        self.writing.is_none() && self.written.as_ref() == Some(state)
    }
}

impl Quorum {
    pub(super) fn load(&mut self, out: &mut Outbox<Effect>) {
        let seq = self.issue(LogOp::Load, out);
        self.phase = Phase::Loading { seq };
    }

    /// Replaces the state file by the state in memory.
    pub(super) fn write_state(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        assert!(!self.device.is_writing(), "two writes of the state file at once");
        let forgets = cx.mutants.on(Mutant::QuorumVoteNotPersisted);
        let voted = self.election.voted.filter(|_| !forgets);
        let bytes = encode_state(&ElectionState { voted, ..self.election });
        let seq = self.issue(LogOp::WriteState { bytes }, out);
        self.device.writing = Some((seq, self.election));
    }

    /// Appends to the log in memory and on the device, without making it durable.
    pub(super) fn append(&mut self, entries: Vec<Entry>, out: &mut Outbox<Effect>) {
        let mut bytes = Vec::new();
        for entry in entries {
            let (offset, epoch) = (self.log.end(), entry.epoch);
            let (prefix, byte_end) = self.log.append(entry, &mut bytes);
            out.probe(Probe::QuorumAppended { offset, epoch, prefix, byte_end });
        }
        if !bytes.is_empty() {
            self.issue(LogOp::Append { bytes: Bytes::from(bytes) }, out);
        }
    }

    /// Makes the log durable: now, or when the sync in flight is done.
    pub(super) fn flush(&mut self, out: &mut Outbox<Effect>) {
        let end = self.log.end();
        if self.log.flushed_end() == end {
            return;
        }
        self.device.sync_wanted = !self.device.flushes.is_empty();
        if !self.device.sync_wanted {
            let seq = self.issue(LogOp::Sync, out);
            self.device.flushes.push(Flush { seq, end });
        }
    }

    /// Cuts the log because it diverged from the leader's.
    pub(super) fn truncate(&mut self, to: MetaOffset, out: &mut Outbox<Effect>) {
        let from = self.log.end();
        assert!(
            to >= self.high_watermark,
            "node {} would cut its log from {from} to {to}, below high watermark {} (KAFKA-12460)",
            self.node,
            self.high_watermark
        );
        self.log.truncate(to);
        // A sync begun before the cut promises nothing about what will be put there instead. (Only
        // the planted bug that fetches before the flush gets here with one in flight.)
        for flush in &mut self.device.flushes {
            flush.end = flush.end.min(to);
        }
        let seq = self.issue(LogOp::Truncate { end: self.log.bytes_before(to) }, out);
        self.device.flushes.push(Flush { seq, end: to });
        out.probe(Probe::QuorumTruncated { to, from });
    }

    pub(super) fn on_log_done(
        &mut self,
        cx: &Cx,
        seq: u64,
        result: LogResult,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        if seq >= self.device.next_seq {
            return;
        }
        match result {
            LogResult::Loaded { log, state } => {
                if self.phase == (Phase::Loading { seq }) {
                    self.on_loaded(&log, &state, out);
                }
            }
            LogResult::Durable { end } => self.on_durable(cx, seq, end, out, events),
            LogResult::StateDurable => {
                if let Some((_, state)) = self.device.writing.take_if(|(at, _)| *at == seq) {
                    self.device.written = Some(state);
                }
            }
            LogResult::Full | LogResult::SyncFailed | LogResult::Io => self.halt(out),
        }
    }

    fn on_loaded(&mut self, log: &Bytes, state: &Bytes, out: &mut Outbox<Effect>) {
        let decoded =
            decode_log(MetaOffset(0), log).and_then(|log| Ok((log, decode_state(state)?)));
        // Neither a log of a newer build nor a damaged state file can come from a crash.
        let Ok((DecodedLog { frames, valid_bytes, torn }, file)) = decoded else {
            return self.halt(out);
        };
        self.log = Log::from_frames(MetaOffset(0), frames);
        // What was read may still sit in a cache of the machine if only the process died.
        let op = if torn { LogOp::Truncate { end: valid_bytes } } else { LogOp::Sync };
        let seq = self.issue(op, out);
        self.phase = Phase::Cleaning { seq, file, torn };
    }

    fn on_durable(
        &mut self,
        cx: &Cx,
        seq: u64,
        end_bytes: u64,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        if let Phase::Cleaning { seq: cleaning, file, torn } = self.phase {
            if cleaning == seq {
                let end = self.log.end();
                self.log.set_flushed(end);
                self.phase = Phase::Up;
                out.probe(Probe::QuorumLoaded { end, torn });
                for (offset, epoch, prefix, byte_end) in self.log.digests() {
                    out.probe(Probe::QuorumReadBack { offset, epoch, prefix, byte_end });
                }
                out.probe(Probe::QuorumFlushed { end });
                self.start(cx, file, out, events);
            }
            return;
        }
        let Some(at) = self.device.flushes.iter().position(|flush| flush.seq == seq) else {
            return;
        };
        let end = self.device.flushes.remove(at).end;
        assert!(
            end_bytes >= self.log.bytes_before(end),
            "device durable to {end_bytes} bytes, asked for {}",
            self.log.bytes_before(end)
        );
        if self.log.set_flushed(end) {
            out.probe(Probe::QuorumFlushed { end: self.log.flushed_end() });
        }
        if self.device.sync_wanted && self.device.flushes.is_empty() {
            self.device.sync_wanted = false;
            self.flush(out);
        }
        if let RoleState::Leader(_) = self.role {
            self.advance_high_watermark(cx, out, events);
        }
    }

    fn halt(&mut self, out: &mut Outbox<Effect>) {
        self.phase = Phase::Halted;
        out.probe(Probe::Halted { reason: HaltReason::Device });
        out.push(Effect::Halt(HaltReason::Device));
    }

    fn issue(&mut self, op: LogOp, out: &mut Outbox<Effect>) -> u64 {
        let seq = self.device.next_seq;
        self.device.next_seq += 1;
        out.push(Effect::Log(Tok { incarnation: self.incarnation, flow: Flow::Quorum, seq }, op));
        seq
    }
}
