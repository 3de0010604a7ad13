//! A controller's log device: the files `log` and `state` in a folder of their own. What the bytes
//! mean, and that a log may end torn, is the core's affair; its frames have checksums.
//!
//! Promises, on a file system that keeps those of fsync(2) and rename(2):
//!
//! * An append is in the page cache; only a sync or a truncation that has succeeded makes it
//!   durable. The names of both files are durable too.
//! * A refused append leaves nothing behind, and appends behind it are refused as well: they were
//!   begun before their sender could know, and would stand behind a hole.
//! * A failed sync is final (PostgreSQL's fsyncgate; Rebello et al., ATC '20): the kernel has
//!   dropped the pages and a second sync would succeed. Every operation fails until the folder is
//!   opened anew. What was not durable is cut off, lest it be read back from a cache; but what an
//!   earlier process left can not be told from what it made durable, and is not cut off if the
//!   first sync fails.
//! * One process has the folder open, by a lock that dies with it (flock(2)).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use broker_core::step::{LogOp, LogResult};

use crate::durable;

/// The file `log`, as far as it can fail.
trait Disk: Send {
    /// Writes a part of `bytes` behind the end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Sets the length.
    fn cut(&mut self, end: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn cut(&mut self, end: u64) -> io::Result<()> {
        self.set_len(end)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The device. Blocks; its operations are done in the order in which they are given.
pub struct Device {
    folder: PathBuf,
    log: Box<dyn Disk>,
    /// Bytes of the log, durable or not.
    end: u64,
    /// Bytes known to be durable: none before the first sync of this process.
    durable: Option<u64>,
    /// How an append was refused; so are those behind it.
    refused: Option<LogResult>,
    /// How the device failed for good.
    failed: Option<LogResult>,
}

impl Device {
    /// Opens the device in `folder`, and creates it if it is not there.
    ///
    /// # Errors
    /// Another process has it open ([`ErrorKind::WouldBlock`]), or the disk failed.
    pub fn open(folder: &Path) -> io::Result<Self> {
        durable::create_folder(folder)?;
        let path = folder.join("log");
        let of = durable::of(&path);
        let log = OpenOptions::new().create(true).append(true).open(&path).map_err(&of)?;
        log.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => {
                let folder = folder.display();
                let why = format!("{folder}: another process is running with this folder");
                io::Error::new(ErrorKind::WouldBlock, why)
            }
            TryLockError::Error(e) => of(e),
        })?;
        durable::sync_folder(folder)?;
        let end = log.metadata().map_err(&of)?.len();
        Ok(Self::over(Box::new(log), folder, end))
    }

    fn over(log: Box<dyn Disk>, folder: &Path, end: u64) -> Self {
        let folder = folder.to_owned();
        Self { folder, log, end, durable: None, refused: None, failed: None }
    }

    /// Does an operation to its end. An append that succeeds has no answer.
    pub fn perform(&mut self, op: LogOp) -> Option<LogResult> {
        if let Some(failed) = &self.failed {
            return Some(failed.clone());
        }
        match op {
            LogOp::Load => Some(self.load().unwrap_or(LogResult::Io)),
            LogOp::Append { bytes } => self.append(&bytes),
            LogOp::Sync => Some(self.sync()),
            LogOp::Truncate { end } => Some(self.truncate(end)),
            LogOp::WriteState { bytes } => Some(self.write_state(&bytes)),
        }
    }

    fn load(&self) -> io::Result<LogResult> {
        let log = durable::read(&self.folder.join("log"))?.unwrap_or_default().into();
        let state = durable::read(&self.folder.join("state"))?.unwrap_or_default().into();
        Ok(LogResult::Loaded { log, state })
    }

    fn append(&mut self, bytes: &[u8]) -> Option<LogResult> {
        if self.refused.is_none() {
            match self.write(bytes) {
                Ok(()) => {
                    self.end += bytes.len() as u64;
                    return None;
                }
                Err(e) => self.refuse(&e),
            }
        }
        self.refused.clone()
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.log.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Cuts off what was written of an append that failed.
    fn refuse(&mut self, e: &io::Error) {
        tracing::error!("{}: append: {e}", self.folder.display());
        let full = matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        self.refused = Some(if full { LogResult::Full } else { LogResult::Io });
        if let Err(e) = self.log.cut(self.end) {
            tracing::error!("{}: part of an append is left: {e}", self.folder.display());
            self.refused = Some(LogResult::Io);
            self.failed = Some(LogResult::Io);
        }
    }

    fn sync(&mut self) -> LogResult {
        match self.log.sync() {
            Ok(()) => {
                self.durable = Some(self.end);
                LogResult::Durable { end: self.end }
            }
            Err(e) => self.give_up(&e),
        }
    }

    fn truncate(&mut self, end: u64) -> LogResult {
        if end > self.end {
            tracing::error!("{}: {} bytes cut to {end}", self.folder.display(), self.end);
            return LogResult::Io;
        }
        if let Err(e) = self.log.cut(end) {
            tracing::error!("{}: cut to {end}: {e}", self.folder.display());
            return LogResult::Io;
        }
        self.end = end;
        // What will be written over the bytes cut off is not durable.
        self.durable = self.durable.map(|durable| durable.min(end));
        self.sync()
    }

    fn write_state(&mut self, bytes: &[u8]) -> LogResult {
        if let Err(e) = durable::replace(&self.folder, "state", bytes) {
            tracing::error!("{}: state: {e}", self.folder.display());
            return LogResult::Io;
        }
        match durable::sync_folder(&self.folder) {
            Ok(()) => LogResult::StateDurable,
            Err(e) => self.give_up(&e),
        }
    }

    fn give_up(&mut self, e: &io::Error) -> LogResult {
        tracing::error!("{}: sync: {e}", self.folder.display());
        if let Some(durable) = self.durable {
            // Nobody was told of more. If the disk does not do this either, it is as it was.
            let _ = self.log.cut(durable);
        }
        self.failed = Some(LogResult::SyncFailed);
        LogResult::SyncFailed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::conformance::{Broken, Devices, check_broken_devices};
    use crate::durable::tests::Scratch;

    /// What is broken in a disk.
    #[derive(Default)]
    struct Faults {
        /// Bytes for which there is room, if that is so.
        room: Option<usize>,
        write_fails: bool,
        cut_fails: bool,
        sync_fails: bool,
    }

    /// A file on a broken disk. It writes at most three bytes at once.
    struct Faulty(File, Arc<Mutex<Faults>>);

    impl Disk for Faulty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut faults = self.1.lock().expect("no panic");
            if faults.write_fails {
                return Err(io::Error::other("broken"));
            }
            let part = bytes.len().min(3).min(faults.room.unwrap_or(3));
            if part == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            faults.room = faults.room.map(|room| room - part);
            Disk::write(&mut self.0, &bytes[..part])
        }

        fn cut(&mut self, end: u64) -> io::Result<()> {
            if self.1.lock().expect("no panic").cut_fails {
                return Err(io::Error::other("broken"));
            }
            self.0.cut(end)
        }

        fn sync(&mut self) -> io::Result<()> {
            if std::mem::take(&mut self.1.lock().expect("no panic").sync_fails) {
                return Err(io::Error::other("broken"));
            }
            self.0.sync()
        }
    }

    /// A device on a broken disk.
    struct Rig {
        folder: Scratch,
        device: Device,
        faults: Arc<Mutex<Faults>>,
    }

    impl Rig {
        fn new(name: &str) -> Self {
            let folder = Scratch::new(&format!("device-{name}"));
            let faults = Arc::default();
            Self { device: open(&folder, &faults), folder, faults }
        }

        fn break_it(&self, how: impl FnOnce(&mut Faults)) {
            how(&mut self.faults.lock().expect("no panic"));
        }

        fn append(&mut self, bytes: &'static [u8]) -> Option<LogResult> {
            self.perform(LogOp::Append { bytes: bytes.into() })
        }

        fn log(&self) -> Vec<u8> {
            fs::read(self.folder.join("log")).expect("a log")
        }
    }

    fn open(folder: &Path, faults: &Arc<Mutex<Faults>>) -> Device {
        drop(Device::open(folder).expect("a folder"));
        let log = File::options().append(true).open(folder.join("log")).expect("a log");
        let end = log.metadata().expect("a file").len();
        Device::over(Box::new(Faulty(log, Arc::clone(faults))), folder, end)
    }

    impl Devices for Rig {
        fn perform(&mut self, op: LogOp) -> Option<LogResult> {
            self.device.perform(op)
        }

        fn reopen(&mut self) {
            self.device = open(&self.folder, &self.faults);
        }

        fn tear(&mut self, _: u64) {
            unreachable!("not a case of broken devices")
        }
    }

    impl Broken for Rig {
        fn set_full(&mut self, full: bool) {
            self.break_it(|faults| faults.room = full.then_some(10));
            // In its way, so that a new state file can not be written.
            let new = self.folder.join("state.new");
            let done = if full { fs::create_dir(new) } else { fs::remove_dir(new) };
            done.expect("an empty folder");
        }

        fn fail_next_sync(&mut self) {
            self.break_it(|faults| faults.sync_fails = true);
        }
    }

    #[test]
    fn device_on_a_broken_disk_conforms() {
        let mut number = 0;
        let verdicts = check_broken_devices(|| {
            number += 1;
            Rig::new(&format!("conforms-{number}"))
        });
        assert!(verdicts.iter().all(|verdict| verdict.result.is_ok()), "{verdicts:#?}");
    }

    #[test]
    fn device_append_behind_a_refused_one_is_refused_until_opened_anew() {
        let mut rig = Rig::new("behind");
        assert_eq!(rig.append(b"first"), None);
        rig.break_it(|faults| faults.room = Some(4));
        assert_eq!(rig.append(b"too long"), Some(LogResult::Full));
        rig.break_it(|faults| faults.room = None);
        assert_eq!(rig.append(b"a"), Some(LogResult::Full));
        assert_eq!(rig.log(), b"first");
        rig.reopen();
        assert_eq!(rig.append(b"a"), None);
        assert_eq!(rig.log(), b"firsta");
    }

    #[test]
    fn device_append_that_fails_and_is_not_full_is_an_error_and_leaves_nothing() {
        let mut rig = Rig::new("error");
        assert_eq!(rig.append(b"first"), None);
        rig.break_it(|faults| faults.write_fails = true);
        assert_eq!(rig.append(b"second"), Some(LogResult::Io));
        assert_eq!(rig.perform(LogOp::Sync), Some(LogResult::Durable { end: 5 }));
        assert_eq!(rig.log(), b"first");
    }

    #[test]
    fn device_with_a_part_of_an_append_that_can_not_be_cut_off_is_given_up() {
        let mut rig = Rig::new("part");
        rig.break_it(|faults| (faults.room, faults.cut_fails) = (Some(2), true));
        assert_eq!(rig.append(b"abcdef"), Some(LogResult::Io));
        assert_eq!(rig.log(), b"ab");
        rig.break_it(|faults| *faults = Faults::default());
        for op in every_op() {
            assert_eq!(rig.perform(op.clone()), Some(LogResult::Io), "{op:?}");
        }
    }

    #[test]
    fn device_after_a_failed_sync_answers_nothing_else() {
        let mut rig = Rig::new("sync");
        assert_eq!(rig.append(b"durable"), None);
        assert_eq!(rig.perform(LogOp::Sync), Some(LogResult::Durable { end: 7 }));
        assert_eq!(rig.append(b", not"), None);
        rig.fail_next_sync();
        for op in [LogOp::Sync].into_iter().chain(every_op()) {
            assert_eq!(rig.perform(op.clone()), Some(LogResult::SyncFailed), "{op:?}");
        }
        assert_eq!(rig.log(), b"durable");
    }

    /// The first sync of a process is for what others wrote and may have made durable.
    #[test]
    fn device_whose_first_sync_fails_cuts_nothing() {
        let mut rig = Rig::new("first-sync");
        assert_eq!(rig.append(b"perhaps"), None);
        rig.fail_next_sync();
        assert_eq!(rig.perform(LogOp::Sync), Some(LogResult::SyncFailed));
        assert_eq!(rig.log(), b"perhaps");
    }

    #[test]
    fn device_truncation_whose_sync_fails_is_a_failed_sync() {
        let mut rig = Rig::new("cut");
        assert_eq!(rig.append(b"0123456789"), None);
        assert_eq!(rig.perform(LogOp::Sync), Some(LogResult::Durable { end: 10 }));
        rig.fail_next_sync();
        assert_eq!(rig.perform(LogOp::Truncate { end: 4 }), Some(LogResult::SyncFailed));
        assert_eq!(rig.log(), b"0123");
    }

    #[test]
    fn device_is_never_cut_to_more_than_it_holds() {
        let mut rig = Rig::new("more");
        assert_eq!(rig.append(b"0123"), None);
        assert_eq!(rig.perform(LogOp::Truncate { end: 5 }), Some(LogResult::Io));
        rig.break_it(|faults| faults.cut_fails = true);
        assert_eq!(rig.perform(LogOp::Truncate { end: 1 }), Some(LogResult::Io));
        assert_eq!(rig.perform(LogOp::Sync), Some(LogResult::Durable { end: 4 }));
        assert_eq!(rig.log(), b"0123");
    }

    #[test]
    fn device_holds_two_files_and_nothing_is_left_of_a_state_replaced() {
        let mut rig = Rig::new("files");
        let write = LogOp::WriteState { bytes: b"state"[..].into() };
        assert_eq!(rig.perform(write), Some(LogResult::StateDurable));
        let files = fs::read_dir(&*rig.folder).expect("a folder");
        let names: BTreeSet<_> = files.map(|file| file.expect("a file").file_name()).collect();
        assert_eq!(names, ["log", "state"].map(Into::into).into());
    }

    fn every_op() -> [LogOp; 5] {
        [
            LogOp::Load,
            LogOp::Append { bytes: b"a"[..].into() },
            LogOp::Sync,
            LogOp::Truncate { end: 0 },
            LogOp::WriteState { bytes: b"a"[..].into() },
        ]
    }
}
