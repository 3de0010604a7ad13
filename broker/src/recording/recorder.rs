//! Writes a recording, of any number of nodes in one process: an input is with the operating system
//! before its machine steps, so that a step that kills the process is in the file.
//!
//! Nothing is made durable: a recording outlives its process, not its machine. A file that can not
//! be written any more ends; what is recorded goes on.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_core::ids::{Incarnation, NodeId};
use broker_core::mutants::Mutants;
use broker_core::step::{Cx, Effect, Input};
use serde::Serialize;

use super::{
    Borrowed, HEAD_BYTES, HEADER_BYTES, MAGIC, Role, frame, hash_of, header, ids_of, is_recording,
};
use crate::host::{Config, Node, Observer};

/// Bytes of [`super::Entry::Full`] with its head.
const FULL_BYTES: u64 = HEAD_BYTES as u64 + 1;

/// The least that a file may be allowed to hold: that it is full.
pub const BYTES_MIN: u64 = HEADER_BYTES as u64 + FULL_BYTES;

/// A recording under way; its clones write to the same file.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Mutex<Output>>);

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    end: Option<Ended>,
}

/// Why a recording that was under way takes nothing more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It has grown as far as it may.
    Full,
    /// The file could not be written, for this reason.
    Failed(String),
}

impl Recorder {
    /// Begins a recording that grows to `bytes_max` at most. An older one in its place is kept, as
    /// the same name with `.old` behind it: a process that was started again after its end must not
    /// take away what tells of that end.
    ///
    /// # Errors
    /// If the file can not be written, is no recording, or is being written by another process.
    pub fn create(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let of = |error: Error| {
            let path = path.display();
            Error::new(error.kind(), format!("can not record to {path}: {error}"))
        };
        Self::begin_at(path, bytes_max).map_err(of)
    }

    fn begin_at(path: &Path, bytes_max: u64) -> io::Result<Self> {
        if bytes_max < BYTES_MIN {
            let why = format!("{bytes_max} bytes are too few; allowed: {BYTES_MIN} and more");
            return Err(Error::new(ErrorKind::InvalidInput, why));
        }
        keep_older(path)?;
        // Emptied when it is ours, and not before: another process may have just begun.
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        lock(&file)?;
        file.set_len(0)?;
        file.write_all(&header())?;
        let (path, bytes) = (path.to_owned(), HEADER_BYTES as u64);
        Ok(Self(Arc::new(Mutex::new(Output { path, file, bytes, bytes_max, end: None }))))
    }

    /// Records a node that is about to run, to its end.
    pub fn attach(&self, node: &mut Node) {
        let role = match &node.config {
            Config::Controller(config, _) => Role::Controller(config.clone()),
            Config::Broker(both) => Role::Broker(both.0.clone()),
        };
        self.begun(node.id, node.incarnation, &role, node.mutants.0);
        let (recorder, next) = (self.clone(), node.observer.take());
        node.observer = Some(Box::new(Watcher { recorder, node: node.id, next }));
    }

    /// A process begins.
    pub fn begun(&self, node: NodeId, incarnation: Incarnation, role: &Role, mutants: Mutants) {
        self.write(|| Borrowed::Begin { node, incarnation, role, mutants: ids_of(mutants) });
    }

    /// A machine is about to take a step.
    pub fn fed(&self, node: NodeId, cx: &Cx, input: &Input) {
        self.write(|| Borrowed::Fed { node, cx, input });
    }

    /// It has taken it.
    pub fn stepped(&self, node: NodeId, effects: &[Effect]) {
        self.write(|| Borrowed::Effects { node, hash: hash_of(effects) });
    }

    /// How much there is, in bytes, and why there will not be more.
    #[must_use]
    pub fn progress(&self) -> (u64, Option<Ended>) {
        let output = self.lock();
        (output.bytes, output.end.clone())
    }

    fn write<T: Serialize>(&self, entry: impl FnOnce() -> T) {
        // Nodes encode side by side, and take turns only to write.
        if self.lock().end.is_some() {
            return;
        }
        let frame = frame(&entry());
        self.lock().append(frame.as_deref());
    }

    fn lock(&self) -> MutexGuard<'_, Output> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// Writes a frame; one that is longer than any may be ends the file as if there were no room.
    fn append(&mut self, frame: Option<&[u8]>) {
        if self.end.is_some() {
            return;
        }
        let room = self.bytes_max - self.bytes - FULL_BYTES;
        let fits = frame.filter(|frame| frame.len() as u64 <= room);
        let full = fits.is_none().then(|| super::frame(&Borrowed::Full).expect("one byte"));
        let bytes = fits.or(full.as_deref()).expect("one of them");
        if let Err(error) = self.file.write_all(bytes) {
            let (path, why) = (self.path.display(), error.to_string());
            tracing::error!(%path, "the recording has ended: {why}");
            self.end = Some(Ended::Failed(why));
            // What is there stays whole, if the disk still does that.
            let _ = self.file.set_len(self.bytes);
            return;
        }
        self.bytes += bytes.len() as u64;
        if full.is_some() {
            let (path, bytes) = (self.path.display(), self.bytes);
            tracing::warn!(%path, bytes, "the recording is full: nothing more is recorded");
            self.end = Some(Ended::Full);
        }
    }
}

/// Puts an older recording out of the way.
fn keep_older(path: &Path) -> io::Result<()> {
    // Looked at before it is opened: to open a pipe is to wait for who writes.
    match fs::metadata(path) {
        Ok(there) if there.is_file() => {}
        Ok(_) => return Err(Error::new(ErrorKind::InvalidInput, "it is there, and is no file")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let older = File::open(path)?;
    lock(&older)?;
    let mut start = Vec::new();
    (&older).take(MAGIC.len() as u64).read_to_end(&mut start)?;
    if start.is_empty() {
        return Ok(());
    }
    if !is_recording(&start) {
        let why = "it is there, and is no recording: it is not written over";
        return Err(Error::new(ErrorKind::AlreadyExists, why));
    }
    let mut kept = OsString::from(path);
    kept.push(".old");
    fs::rename(path, kept)
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| {
        let error = Error::from(error);
        Error::new(error.kind(), format!("another recording to it is under way: {error}"))
    })
}

/// Records the steps of one process.
struct Watcher {
    recorder: Recorder,
    node: NodeId,
    /// Who else sees them.
    next: Option<Box<dyn Observer>>,
}

impl Observer for Watcher {
    fn fed(&mut self, cx: &Cx, input: &Input) {
        self.recorder.fed(self.node, cx, input);
        if let Some(next) = &mut self.next {
            next.fed(cx, input);
        }
    }

    fn stepped(&mut self, cx: &Cx, input: &Input, effects: &[Effect]) -> ControlFlow<()> {
        self.recorder.stepped(self.node, effects);
        match &mut self.next {
            Some(next) => next.stepped(cx, input, effects),
            None => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
impl Recorder {
    /// Writes to this file from now on.
    pub(super) fn instead(&self, path: &str) {
        self.lock().file = File::options().write(true).open(path).expect("it can be opened");
    }
}
