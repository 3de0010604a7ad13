//! A controller's log device: an append-only log and a small state file, behind one FIFO queue.
//! What was not synced may be lost at a crash, in every way that real devices lose it.
//!
//! Sources: Pillai et al., "All File Systems Are Not Created Equal" (OSDI '14): appends persist as
//! any subset of their blocks, lost blocks read as zeroes once the size is persisted; Rebello et
//! al., "Can Applications Recover from fsync Failures?" (ATC '20) and PostgreSQL's fsyncgate: after
//! a failed sync the pages are clean but not on the disk, and the next sync reports success;
//! rename(2) for the state file.

use std::collections::VecDeque;
use std::mem;

use broker_core::step::{LogOp, LogResult, Tok};
use bytes::Bytes;

use crate::plan::Keep;

/// The device.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct LogDevice {
    durable: Vec<u8>,
    /// Written, not synced: one entry per append.
    unsynced: Vec<Bytes>,
    state: Bytes,
    /// Asked and not done, in order. Appends that have room are done when they reach the head.
    queue: VecDeque<(Tok, LogOp)>,
    full: bool,
    fail_next_sync: bool,
    rot: bool,
    /// A sync failed since the process started.
    failed: bool,
}

/// What a crash did to a device.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Loss {
    /// Bytes that were appended, not synced, and are gone.
    pub lost: u64,
    /// Whether bits were flipped in what was kept.
    pub rotted: bool,
}

impl LogDevice {
    /// Queues an operation. True if there is now a head that waits for [`Self::work`] and was none
    /// before.
    pub fn submit(&mut self, tok: Tok, op: LogOp) -> bool {
        let idle = self.queue.is_empty();
        self.queue.push_back((tok, op));
        self.absorb();
        idle && !self.queue.is_empty()
    }

    /// The operation that is done next.
    #[must_use]
    pub fn head(&self) -> Option<&(Tok, LogOp)> {
        self.queue.front()
    }

    /// Operations asked and not done.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Gives the operations that are not done the numbers 0, 1, …; returns those that they had.
    pub fn renumber(&mut self) -> Vec<u64> {
        let give = |(new, (tok, _)): (u64, &mut (Tok, LogOp))| mem::replace(&mut tok.seq, new);
        (0..).zip(&mut self.queue).map(give).collect()
    }

    /// Does the operation at the head, if any.
    pub fn work(&mut self) -> Option<(Tok, LogResult)> {
        let (tok, op) = self.queue.pop_front()?;
        let result = match op {
            LogOp::Load => {
                let log = self.readable();
                LogResult::Loaded { log: log.into(), state: self.state.clone() }
            }
            LogOp::Append { .. } => LogResult::Full,
            LogOp::Sync if self.fail_next_sync => {
                self.fail_next_sync = false;
                self.failed = true;
                LogResult::SyncFailed
            }
            // After a failed sync this proves nothing: the pages are clean and not on the disk.
            LogOp::Sync if self.failed => LogResult::Durable { end: self.end() },
            LogOp::Sync => {
                self.flush();
                LogResult::Durable { end: self.end() }
            }
            LogOp::Truncate { end } => {
                self.truncate(end);
                LogResult::Durable { end: self.end() }
            }
            // No room for the new file next to the old one.
            LogOp::WriteState { .. } if self.full => LogResult::Io,
            LogOp::WriteState { bytes } => {
                self.state = bytes;
                LogResult::StateDurable
            }
        };
        self.absorb();
        Some((tok, result))
    }

    /// The process is gone and the machine with it: the queue is empty, and of what was not synced
    /// `keep` says what stays, and `lot`, which may be anything, how much. An operation in flight
    /// is done only if everything is kept.
    pub fn crash(&mut self, keep: Keep, lot: u64) -> Loss {
        if keep == Keep::All && !self.failed {
            while self.head().is_some() {
                self.work();
            }
        }
        self.queue.clear();
        let keep = if self.failed && keep == Keep::All { Keep::Subset } else { keep };
        self.failed = false;
        let mut writes = mem::take(&mut self.unsynced);
        let rotted = mem::take(&mut self.rot) && rot(&mut writes);
        let lost = self.keep(keep, lot, &writes);
        Loss { lost, rotted }
    }

    /// The process ended by itself and the machine runs on: what the page cache holds is written
    /// back, unless a sync failed; then its pages are gone.
    pub fn exit(&mut self) -> Loss {
        let rot = mem::take(&mut self.rot);
        let loss = self.crash(Keep::All, 0);
        self.rot = rot;
        loss
    }

    /// From now on there is (no) room. True if there is now another head than before.
    pub fn set_full(&mut self, full: bool) -> bool {
        self.full = full;
        let queued = self.queue.len();
        self.absorb();
        !self.queue.is_empty() && self.queue.len() != queued
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The next sync fails (or does not, after all).
    pub fn fail_next_sync(&mut self, fail: bool) {
        self.fail_next_sync = fail;
    }

    /// Whether the next sync fails.
    #[must_use]
    pub fn sync_will_fail(&self) -> bool {
        self.fail_next_sync
    }

    /// At the next crash bits flip in what was not synced (or do not, after all).
    pub fn rot_at_crash(&mut self, rot: bool) {
        self.rot = rot;
    }

    /// Bytes of the log that survive any crash.
    #[must_use]
    pub fn durable_end(&self) -> u64 {
        self.durable.len() as u64
    }

    /// The state file that survives any crash.
    #[must_use]
    pub fn state(&self) -> &Bytes {
        &self.state
    }

    fn end(&self) -> u64 {
        self.durable_end() + self.unsynced.iter().map(|write| write.len() as u64).sum::<u64>()
    }

    fn readable(&self) -> Vec<u8> {
        let mut log = Vec::with_capacity(self.end() as usize);
        log.extend_from_slice(&self.durable);
        self.unsynced.iter().for_each(|write| log.extend_from_slice(write));
        log
    }

    fn flush(&mut self) {
        for write in self.unsynced.drain(..) {
            self.durable.extend_from_slice(&write);
        }
    }

    /// A truncation is durable, and so is what is left before its end.
    fn truncate(&mut self, end: u64) {
        let log = self.readable();
        assert!(end <= log.len() as u64, "a log of {} bytes is cut to {end}", log.len());
        self.durable = log;
        self.unsynced.clear();
        self.durable.truncate(end as usize);
    }

    /// Writes to a page cache are done as soon as they are asked, unless there is no room.
    fn absorb(&mut self) {
        while !self.full {
            let Some((_, LogOp::Append { .. })) = self.queue.front() else { return };
            let Some((_, LogOp::Append { bytes })) = self.queue.pop_front() else { return };
            self.unsynced.push(bytes);
        }
    }

    fn keep(&mut self, keep: Keep, lot: u64, writes: &[Bytes]) -> u64 {
        let below = |count: usize| usize::try_from(lot % count.max(1) as u64).expect("an index");
        let total: usize = writes.iter().map(Bytes::len).sum();
        let before = self.durable.len();
        let mut zeroed = 0;
        match keep {
            Keep::None => {}
            Keep::All => writes.iter().for_each(|write| self.durable.extend_from_slice(write)),
            Keep::Prefix => {
                let first = &writes[..below(writes.len())];
                first.iter().for_each(|write| self.durable.extend_from_slice(write));
            }
            Keep::Subset => {
                let one = below(writes.len());
                for (number, write) in writes.iter().enumerate() {
                    if number == one || lot.rotate_right(number as u32 + 1) & 1 == 1 {
                        self.durable.resize(self.durable.len() + write.len(), 0);
                        zeroed += write.len();
                    } else {
                        self.durable.extend_from_slice(write);
                    }
                }
            }
            Keep::Torn => {
                writes.iter().for_each(|write| self.durable.extend_from_slice(write));
                let last = writes.last().map_or(0, Bytes::len);
                let cut = last.min(1 + below(last));
                self.durable.truncate(self.durable.len() - cut);
            }
        }
        (total - (self.durable.len() - before) + zeroed) as u64
    }
}

/// Flips one bit in the middle of every write.
fn rot(writes: &mut [Bytes]) -> bool {
    let mut rotted = false;
    for write in writes.iter_mut().filter(|write| !write.is_empty()) {
        let mut bytes = write.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0b1000;
        *write = bytes.into();
        rotted = true;
    }
    rotted
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker_core::ids::Incarnation;
    use broker_core::step::Flow;

    fn tok(seq: u64) -> Tok {
        Tok { incarnation: Incarnation(1), flow: Flow::Quorum, seq }
    }

    fn append(bytes: &'static [u8]) -> LogOp {
        LogOp::Append { bytes: Bytes::from_static(bytes) }
    }

    fn device() -> LogDevice {
        let mut device = LogDevice::default();
        for (seq, op) in
            [append(b"aaaa"), LogOp::Sync, append(b"bbbb"), append(b"cc")].into_iter().enumerate()
        {
            device.submit(tok(seq as u64), op);
        }
        assert_eq!(device.work(), Some((tok(1), LogResult::Durable { end: 4 })));
        device
    }

    fn log(device: &mut LogDevice) -> Vec<u8> {
        device.submit(tok(99), LogOp::Load);
        loop {
            match device.work() {
                Some((_, LogResult::Loaded { log, .. })) => return log.to_vec(),
                Some(_) => {}
                None => unreachable!("a load was queued"),
            }
        }
    }

    #[test]
    fn device_crash_keeps_what_was_synced_and_of_the_rest_what_it_is_told() {
        for (keep, lot, left, lost) in [
            (Keep::None, 0, &b"aaaa"[..], 6),
            (Keep::All, 0, b"aaaabbbbcc", 0),
            (Keep::Prefix, 0, b"aaaa", 6),
            (Keep::Prefix, 1, b"aaaabbbb", 2),
            (Keep::Subset, 0, b"aaaa\0\0\0\0cc", 4),
            (Keep::Subset, 1, b"aaaabbbb\0\0", 2),
            (Keep::Subset, 3, b"aaaa\0\0\0\0\0\0", 6),
            (Keep::Torn, 0, b"aaaabbbbc", 1),
            (Keep::Torn, 1, b"aaaabbbb", 2),
        ] {
            let mut device = device();
            assert_eq!(device.crash(keep, lot).lost, lost, "{keep:?} {lot}");
            assert_eq!(log(&mut device), left, "{keep:?} {lot}");
        }
    }

    #[test]
    fn device_sync_covers_only_what_was_appended_before_it() {
        let mut device = LogDevice::default();
        device.submit(tok(1), append(b"a"));
        device.submit(tok(2), LogOp::Sync);
        device.submit(tok(3), append(b"b"));
        assert_eq!(device.work(), Some((tok(2), LogResult::Durable { end: 1 })));
        assert_eq!(device.durable_end(), 1);
        assert_eq!(device.crash(Keep::None, 0).lost, 1);
    }

    #[test]
    fn device_after_a_failed_sync_lies_until_the_process_ends() {
        let mut device = device();
        device.fail_next_sync(true);
        device.submit(tok(5), LogOp::Sync);
        device.submit(tok(6), LogOp::Sync);
        assert_eq!(device.work(), Some((tok(5), LogResult::SyncFailed)));
        assert_eq!(device.work(), Some((tok(6), LogResult::Durable { end: 10 })));
        assert_eq!(device.durable_end(), 4);
        assert_eq!(device.exit().lost, 4);
        device.submit(tok(7), LogOp::Sync);
        assert_eq!(device.work(), Some((tok(7), LogResult::Durable { end: 10 })));
    }

    #[test]
    fn device_process_exit_keeps_the_page_cache() {
        let mut device = device();
        assert_eq!(device.exit(), Loss::default());
        assert_eq!(log(&mut device), b"aaaabbbbcc");
    }

    #[test]
    fn device_without_room_refuses_appends_in_order() {
        let mut device = device();
        device.set_full(true);
        assert!(device.submit(tok(7), append(b"d")));
        assert!(!device.submit(tok(8), LogOp::WriteState { bytes: Bytes::new() }));
        assert_eq!(device.work(), Some((tok(7), LogResult::Full)));
        assert_eq!(device.work(), Some((tok(8), LogResult::Io)));
        device.set_full(false);
        assert_eq!(log(&mut device), b"aaaabbbbcc");
    }

    #[test]
    fn device_rot_touches_only_what_was_not_synced() {
        let mut device = device();
        device.rot_at_crash(true);
        assert_eq!(device.crash(Keep::All, 0), Loss { lost: 0, rotted: true });
        assert_eq!(log(&mut device), b"aaaabbjbck");
    }

    #[test]
    fn device_state_file_is_replaced_whole_or_not_at_all() {
        for (keep, left) in [(Keep::None, &b"old"[..]), (Keep::All, b"new")] {
            let mut device = LogDevice::default();
            device.submit(tok(1), LogOp::WriteState { bytes: Bytes::from_static(b"old") });
            assert_eq!(device.work(), Some((tok(1), LogResult::StateDurable)));
            device.submit(tok(2), LogOp::WriteState { bytes: Bytes::from_static(b"new") });
            device.crash(keep, 0);
            assert_eq!(device.state(), left, "{keep:?}");
        }
    }

    #[test]
    fn device_truncation_is_durable() {
        let mut device = device();
        device.submit(tok(4), LogOp::Truncate { end: 6 });
        assert_eq!(device.work(), Some((tok(4), LogResult::Durable { end: 6 })));
        assert_eq!(device.crash(Keep::None, 0).lost, 0);
        assert_eq!(log(&mut device), b"aaaabb");
    }
}
