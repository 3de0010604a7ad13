//! A checkpoint directory in an object store: names, and one call at a time as a state machine.
//!
//! How a file comes to be there at once, and never over another, depends on the manager
//! ([`Manager`]); a call ends as it would end for Spark. Retries are those of the store's client.
//! Source: Apache Spark 4.x (`HDFSMetadataLog`, `FileContextBasedCheckpointFileManager`,
//! `FileSystemBasedCheckpointFileManager`, `AbortableStreamBasedCheckpointFileManager`); Hadoop's
//! S3A.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::step::{Cond, Key, ObjOp, ObjResult};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::format::QueryId;

/// The number of a micro-batch.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BatchId(pub u64);

impl BatchId {
    /// The batch after this one. Panics on overflow, which no run can reach.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("batch numbers exhausted"))
    }
}

/// How often the store's client tries one operation (`fs.s3a.attempts.maximum`, Hadoop 3.4: 5).
pub const ATTEMPTS_MAX: u32 = 5;

/// How a file is created without overwriting another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// `FileContext` with an atomic rename, as on HDFS: a temporary file, then a rename that fails
    /// if the target is there. The rename is a create-only put and a delete here, so that a crash
    /// between them leaves the temporary file; nobody lists it.
    AtomicRename,
    /// `FileSystem` on a store that copies to rename: a temporary file, a look whether the target
    /// is there, a copy over whatever is there by then, a delete.
    CopyRename,
    /// A manager that puts with `If-None-Match`. Spark ships none; S3A can since Hadoop 3.4.2
    /// (`fs.s3a.create.conditional.enabled`).
    ConditionalPut,
    /// `AbortableStreamBasedCheckpointFileManager`, which Spark's cloud guide recommends for S3: a
    /// look whether the target is there, then a plain put. Its `close` logs every exception and
    /// throws none, so that a file that is there already, and a put that failed, count as written.
    AbortableStream,
}

/// All managers.
pub const MANAGERS: &[Manager] = &[
    Manager::AtomicRename,
    Manager::CopyRename,
    Manager::ConditionalPut,
    Manager::AbortableStream,
];

/// One of the two logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Log {
    /// What each batch reads.
    Offsets,
    /// Which batches are done.
    Commits,
}

/// Where a checkpoint is and how its files are written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Checkpoint {
    /// Prefix of all keys, without a slash at its end.
    pub root: String,
    /// How files are created.
    pub manager: Manager,
}

impl Checkpoint {
    /// The query's id.
    #[must_use]
    pub fn metadata(&self) -> Key {
        self.key("metadata")
    }

    /// The offsets at which the only source began.
    #[must_use]
    pub fn initial_offsets(&self) -> Key {
        self.key("sources/0/0")
    }

    /// A log's entry.
    #[must_use]
    pub fn entry(&self, log: Log, batch: BatchId) -> Key {
        self.key(&format!("{}/{}", folder(log), batch.0))
    }

    /// A list of a log.
    #[must_use]
    pub fn list(&self, log: Log) -> Call {
        Call::List { prefix: self.key(&format!("{}/", folder(log))), found: BTreeSet::new() }
    }

    /// Whether a log's folder holds anything, a temporary file or an entry.
    #[must_use]
    pub fn look_into(&self, log: Log) -> Call {
        Call::LookInto { prefix: self.key(&format!("{}/", folder(log))) }
    }

    /// The creation of `key`; `unique` names the temporary file.
    #[must_use]
    pub fn create(&self, key: Key, body: Bytes, unique: u128) -> Call {
        let (folder, name) = key.0.rsplit_once('/').unwrap_or(("", &*key.0));
        let temporary = format!("{folder}/.{name}.{}.tmp", QueryId::random(unique));
        let file = File { key, temporary: Key(temporary.into()), body, manager: self.manager };
        Call::Create { file, stage: Stage::Look }
    }

    fn key(&self, name: &str) -> Key {
        Key(format!("{}/{name}", self.root).into())
    }
}

const fn folder(log: Log) -> &'static str {
    match log {
        Log::Offsets => "offsets",
        Log::Commits => "commits",
    }
}

/// A call on the checkpoint, until it is done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// Lists the batches of a log, page by page.
    List {
        /// What their keys begin with.
        prefix: Key,
        /// Those found so far.
        found: BTreeSet<BatchId>,
    },
    /// Looks whether a folder holds anything.
    LookInto {
        /// What its keys begin with.
        prefix: Key,
    },
    /// Reads a file.
    Read(Key),
    /// Creates a file.
    Create {
        /// The file.
        file: File,
        /// How far it is.
        stage: Stage,
    },
    /// Deletes a file.
    Delete(Key),
}

/// A file that is to be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct File {
    key: Key,
    temporary: Key,
    body: Bytes,
    manager: Manager,
}

/// How far the creation of a file is: what was asked last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Whether it is there (`HDFSMetadataLog.add` begins with a `get`).
    Look,
    /// The temporary file.
    Temporary,
    /// Whether it is there, again.
    LookAgain,
    /// The file itself.
    Final,
    /// The temporary file is deleted; `exists`: because somebody else was first.
    Tidy {
        /// Whether the file was there.
        exists: bool,
    },
}

/// What comes after an answer of the store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    /// Ask this.
    Ask(ObjOp),
    /// The temporary file is there and the file is not: a moment to die. Then ask this.
    TemporaryWritten(ObjOp),
    /// Ask the same again; `later`: after a pause.
    Again {
        /// Whether the store asked for a pause.
        later: bool,
    },
    /// It is over.
    Done(Outcome),
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The batches of a log.
    Listed(BTreeSet<BatchId>),
    /// Whether a folder holds nothing.
    Empty(bool),
    /// A file's bytes, if it is there.
    Content(Option<Bytes>),
    /// Created or deleted, as far as Spark is told.
    Done,
    /// The file is there already (`FileAlreadyExistsException`).
    Exists,
}

impl Call {
    /// What to ask of the store now. The same again after [`Next::Again`].
    #[must_use]
    pub fn ask(&self) -> ObjOp {
        match self {
            Self::List { prefix, found } => {
                // Keys sort as text: the last one found is not the one with the largest number.
                let names = found.iter().map(|batch| format!("{prefix}{}", batch.0));
                ObjOp::List {
                    prefix: prefix.clone(),
                    after: names.max().map(|key| Key(key.into())),
                }
            }
            Self::LookInto { prefix } => ObjOp::List { prefix: prefix.clone(), after: None },
            Self::Read(key) => get(key),
            Self::Delete(key) => ObjOp::Delete { key: key.clone() },
            Self::Create { file, stage } => match stage {
                Stage::Look | Stage::LookAgain => get(&file.key),
                Stage::Temporary => put(&file.temporary, &file.body, Cond::None),
                Stage::Final => put(&file.key, &file.body, file.condition()),
                Stage::Tidy { .. } => ObjOp::Delete { key: file.temporary.clone() },
            },
        }
    }

    /// Takes the store's answer to what was asked last.
    pub fn answered(&mut self, answer: ObjResult) -> Next {
        let later = match answer {
            ObjResult::SlowDown => Some(true),
            ObjResult::Unknown => Some(false),
            _ => None,
        };
        if let Some(later) = later {
            return Next::Again { later };
        }
        match self {
            Self::List { prefix, found } => {
                let ObjResult::Keys { keys, more } = answer else {
                    unreachable!("a list is answered with keys, not {answer:?}")
                };
                found.extend(keys.iter().filter_map(|key| batch_of(prefix, key)));
                match (more, keys.last()) {
                    (true, Some(last)) => {
                        let after = Some(last.clone());
                        Next::Ask(ObjOp::List { prefix: prefix.clone(), after })
                    }
                    // An empty page is not the end of the list.
                    (true, None) => Next::Ask(self.ask()),
                    (false, _) => Next::Done(Outcome::Listed(core::mem::take(found))),
                }
            }
            Self::LookInto { prefix } => match answer {
                ObjResult::Keys { keys, more: true } if keys.is_empty() => {
                    Next::Ask(ObjOp::List { prefix: prefix.clone(), after: None })
                }
                ObjResult::Keys { keys, .. } => Next::Done(Outcome::Empty(keys.is_empty())),
                other => unreachable!("a list is answered with keys, not {other:?}"),
            },
            Self::Read(_) => Next::Done(Outcome::Content(content(answer))),
            Self::Delete(_) => Next::Done(Outcome::Done),
            Self::Create { file, stage } => {
                let next = file.after(*stage, &answer);
                match next {
                    Ok(next) => {
                        let written = *stage == Stage::Temporary;
                        *stage = next;
                        let ask = self.ask();
                        if written { Next::TemporaryWritten(ask) } else { Next::Ask(ask) }
                    }
                    Err(outcome) => Next::Done(outcome),
                }
            }
        }
    }

    /// How the call ends when the store's client gives up; `None`: with an exception.
    #[must_use]
    pub const fn given_up(&self) -> Option<Outcome> {
        match self {
            Self::Create { file, stage: Stage::LookAgain | Stage::Final } => match file.manager {
                Manager::AbortableStream => Some(Outcome::Done),
                _ => None,
            },
            // The temporary file stays; Spark does not look at what `delete` says.
            Self::Create { stage: Stage::Tidy { exists: false }, .. } => Some(Outcome::Done),
            Self::Create { stage: Stage::Tidy { exists: true }, .. } => Some(Outcome::Exists),
            _ => None,
        }
    }
}

impl File {
    const fn condition(&self) -> Cond {
        match self.manager {
            Manager::AtomicRename | Manager::ConditionalPut => Cond::IfAbsent,
            Manager::CopyRename | Manager::AbortableStream => Cond::None,
        }
    }

    /// What comes after `stage`.
    fn after(&self, stage: Stage, answer: &ObjResult) -> Result<Stage, Outcome> {
        use Manager::{AbortableStream, AtomicRename, ConditionalPut, CopyRename};
        let there = matches!(answer, ObjResult::Body { .. } | ObjResult::PreconditionFailed);
        match (stage, self.manager, there) {
            (Stage::Look, _, true) => Err(Outcome::Exists),
            (Stage::Look, AtomicRename | CopyRename, false) => Ok(Stage::Temporary),
            (Stage::Look, ConditionalPut, false) => Ok(Stage::Final),
            (Stage::Look, AbortableStream, false) => Ok(Stage::LookAgain),
            (Stage::Temporary, CopyRename, _) => Ok(Stage::LookAgain),
            (Stage::Temporary, _, _) => Ok(Stage::Final),
            // `close` throws, and catches what it threw.
            (Stage::LookAgain, AbortableStream, true) => Err(Outcome::Done),
            (Stage::LookAgain, _, true) => Ok(Stage::Tidy { exists: true }),
            (Stage::LookAgain, _, false) => Ok(Stage::Final),
            (Stage::Final, AtomicRename | CopyRename, exists) => Ok(Stage::Tidy { exists }),
            (Stage::Final, _, true) => Err(Outcome::Exists),
            (Stage::Final, _, false) => Err(Outcome::Done),
            (Stage::Tidy { exists: true }, _, _) => Err(Outcome::Exists),
            (Stage::Tidy { exists: false }, _, _) => Err(Outcome::Done),
        }
    }
}

fn get(key: &Key) -> ObjOp {
    ObjOp::Get { key: key.clone(), range: None }
}

fn put(key: &Key, body: &Bytes, cond: Cond) -> ObjOp {
    ObjOp::Put { key: key.clone(), body: body.clone(), cond }
}

fn content(answer: ObjResult) -> Option<Bytes> {
    match answer {
        ObjResult::Body { data, .. } => Some(data),
        ObjResult::NotFound => None,
        other => unreachable!("a get is answered with a body, not {other:?}"),
    }
}

/// The batch whose entry this is: its name is a number (`HDFSMetadataLog.isBatchFile`). Spark takes
/// negative numbers, too; it writes none.
fn batch_of(prefix: &Key, key: &Key) -> Option<BatchId> {
    key.0.strip_prefix(&*prefix.0)?.parse().ok().map(BatchId)
}

/// The batches that a purge below `threshold` looks at, and whether it lists the log to find them;
/// `purged`: below which this run has purged already (`HDFSMetadataLog.purge`).
#[must_use]
pub fn purge_targets(purged: BatchId, threshold: BatchId) -> Option<Vec<BatchId>> {
    // At most three are deleted without a list.
    (threshold.0.saturating_sub(purged.0) <= 3)
        .then(|| (purged.0..threshold.0).map(BatchId).collect())
}

/// Batches that a range of a log lacks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MissingBatches(pub Vec<BatchId>);

impl core::fmt::Display for MissingBatches {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(|batch| format!("{}", batch.0)).collect();
        write!(f, "batches ({}) don't exist; allowed: numbers without a gap", numbers.join(", "))
    }
}

/// Whether a log's entries follow on one another (`HDFSMetadataLog.verifyBatchIds`). Spark asks so
/// when it reads a range of a log; a query that starts reads single entries and does not.
pub fn verify_batch_ids(
    found: &BTreeSet<BatchId>,
    first: Option<BatchId>,
    last: Option<BatchId>,
) -> Result<(), MissingBatches> {
    let Some(from) = first.or(found.first().copied()) else {
        return last.map_or(Ok(()), |last| Err(MissingBatches(alloc::vec![last])));
    };
    let to = last.or(found.last().copied()).unwrap_or(from);
    let all = (from.0..=to.0).map(BatchId);
    let missing: Vec<_> = all.filter(|batch| !found.contains(batch)).collect();
    if missing.is_empty() { Ok(()) } else { Err(MissingBatches(missing)) }
}
