//! Reads of committed objects, for what the log cache does not hold any more: which object, where
//! in it, and what to do when the store does not give it.
//!
//! A read delivers batches of one block; whoever wants more reads on. Objects never change, so that
//! their indexes can be kept; an object that is gone (compacted, deleted) is looked up in the image
//! again. Source: AutoMQ's `S3Storage.read0`, `StreamReader`, `ObjectReader`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::cache::Extent;
use crate::ids::{Incarnation, ObjectId, StreamId};
use crate::metadata::Image;
use crate::metadata::image::ObjectState;
use crate::object::{self, BlockEntry, FOOTER_BYTES, Footer, Index};
use crate::partition::Asker;
use crate::probe::Probe;
use crate::step::{Effect, Flow, ObjOp, ObjResult, Outbox, TimerKey, Tok};
use crate::store::{Backoff, Seqs};

/// Indexes kept. Each is 40 bytes a block: a few kilobytes for an object of many megabytes, so that
/// this many are next to nothing and serve all consumers that read at about the same places.
const INDEXES_MAX: usize = 64;

/// The reads under way. Their number is bounded by the requests that clients may have open.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Reads {
    seqs: Seqs,
    next_id: u64,
    /// By the number of their operation, or of their timer while they rest.
    reads: BTreeMap<u64, Read>,
    indexes: BTreeMap<ObjectId, Arc<Index>>,
    /// The objects of `indexes`, oldest first.
    kept: VecDeque<ObjectId>,
}

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadFor {
    /// A fetch.
    Fetch(Asker),
    /// A search by timestamp.
    Search(Asker),
    /// The loading of a partition.
    Load(StreamId),
}

/// A read that is done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReadDone {
    /// Its number.
    pub id: u64,
    /// Who reads.
    pub asker: ReadFor,
    /// At least one batch.
    pub result: Result<Vec<Bytes>, ReadGone>,
}

/// The stream does not hold the offset any more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReadGone;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Read {
    id: u64,
    asker: ReadFor,
    stream: StreamId,
    extent: Extent,
    backoff: Backoff,
    stage: Stage,
}

/// What a read waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// Its timer, to look the object up again.
    Resting,
    Footer(ObjectId),
    Index(ObjectId),
    Block(ObjectId, BlockEntry),
}

impl Reads {
    /// A new process begins.
    pub fn boot(&mut self, incarnation: Incarnation) {
        self.seqs = Seqs::new(incarnation, 0);
    }

    /// Begins to read; returns the read's number.
    pub fn start(
        &mut self,
        asker: ReadFor,
        stream: StreamId,
        extent: Extent,
        image: &Image,
        out: &mut Outbox<Effect>,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let stage = Stage::Resting;
        let read = Read { id, asker, stream, extent, backoff: Backoff::default(), stage };
        if let Some(read) = self.look_up(read, image, out) {
            // Gone already. The answer comes by the timer, for nobody knows the number yet.
            self.rest(read, out);
        }
        id
    }

    /// Nobody waits for this read any more.
    pub fn cancel(&mut self, id: u64, out: &mut Outbox<Effect>) {
        self.reads.retain(|&seq, read| {
            if read.id == id && read.stage == Stage::Resting {
                out.disarm(TimerKey::Read(seq));
            }
            read.id != id
        });
    }

    /// Handles the answer to an operation of [`Flow::Read`].
    pub fn obj_done(
        &mut self,
        tok: Tok,
        result: ObjResult,
        image: &Image,
        out: &mut Outbox<Effect>,
    ) -> Option<ReadDone> {
        if !self.seqs.is_current(tok) {
            return None;
        }
        let mut read = self.reads.remove(&tok.seq)?;
        match result {
            ObjResult::Body { data, .. } => self.advance(read, &data, out),
            // Compacted or deleted: the image knows where the data is now, or will soon.
            ObjResult::NotFound | ObjResult::SlowDown | ObjResult::Unknown => {
                self.rest(read, out);
                None
            }
            ObjResult::Done { .. } | ObjResult::Keys { .. } | ObjResult::PreconditionFailed => {
                read.stage = Stage::Resting;
                panic!("a get was answered with {result:?}: {read:?}, {:?}", image.end)
            }
        }
    }

    /// A read has rested.
    pub fn timer(&mut self, seq: u64, image: &Image, out: &mut Outbox<Effect>) -> Option<ReadDone> {
        let read = self.reads.remove(&seq)?;
        assert_eq!(read.stage, Stage::Resting, "the timer of a read that does not rest");
        let Read { id, asker, .. } = self.look_up(read, image, out)?;
        Some(ReadDone { id, asker, result: Err(ReadGone) })
    }

    /// Whether nothing is being read.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.reads.is_empty()
    }

    /// What is waited for, one line each.
    pub fn blocked(&self) -> impl Iterator<Item = String> + '_ {
        self.reads.values().map(|read| {
            let Read { stream, extent, stage, .. } = read;
            format!("read: {stream:?} at {:?} waits for {stage:?}", extent.from)
        })
    }

    /// Finds the object and asks for its footer, or with a known index at once for the block.
    /// Gives the read back if the stream holds the offset no more.
    fn look_up(&mut self, read: Read, image: &Image, out: &mut Outbox<Effect>) -> Option<Read> {
        let (stream, from) = (read.stream, read.extent.from);
        let Some(state) = image.streams.get(&stream).filter(|state| from >= state.start) else {
            return Some(read);
        };
        let found = image.covering(stream, from, from.next()).next();
        let found = found.and_then(|(_, _, object)| match image.objects.get(&object) {
            Some(ObjectState::Committed { size, .. }) => Some((object, *size)),
            Some(ObjectState::Prepared { .. } | ObjectState::Destroyed) | None => None,
        });
        let Some((object, size)) = found else {
            // Confirmed, but not yet committed as far as this image goes.
            assert!(from >= state.end, "{stream:?} has a hole at {from:?}");
            self.rest(read, out);
            return None;
        };
        if let Some(index) = self.indexes.get(&object).map(Arc::clone) {
            self.get_block(read, object, &index, out);
        } else {
            let start = size.saturating_sub(FOOTER_BYTES as u64);
            self.get(read, Stage::Footer(object), object, (start, size), out);
        }
        None
    }

    fn advance(&mut self, read: Read, data: &Bytes, out: &mut Outbox<Effect>) -> Option<ReadDone> {
        match read.stage {
            Stage::Resting => panic!("an answer to a read that rests: {read:?}"),
            Stage::Footer(object) => match object::decode_footer(data) {
                Ok(Footer { index_pos, index_len }) => {
                    let range = (index_pos, index_pos.saturating_add(index_len));
                    self.get(read, Stage::Index(object), object, range, out);
                }
                Err(_) => self.rest(read, out),
            },
            Stage::Index(object) => match object::decode_index(data) {
                Ok(index) => {
                    let index = Arc::new(index);
                    self.keep(object, &index);
                    self.get_block(read, object, &index, out);
                }
                Err(_) => self.rest(read, out),
            },
            Stage::Block(object, entry) => {
                let batches = take(&entry, data, read.extent);
                if !batches.is_empty() {
                    out.probe(Probe::ReadFromObject { object });
                    return Some(ReadDone { id: read.id, asker: read.asker, result: Ok(batches) });
                }
                self.rest(read, out);
            }
        }
        None
    }

    fn get_block(&mut self, read: Read, object: ObjectId, index: &Index, out: &mut Outbox<Effect>) {
        match index.find(read.stream, read.extent.from) {
            Some(&entry) => {
                let range = (entry.pos, entry.pos + u64::from(entry.len));
                self.get(read, Stage::Block(object, entry), object, range, out);
            }
            None => self.rest(read, out),
        }
    }

    fn get(
        &mut self,
        mut read: Read,
        stage: Stage,
        object: ObjectId,
        range: (u64, u64),
        out: &mut Outbox<Effect>,
    ) {
        read.stage = stage;
        let op = ObjOp::Get { key: object::object_key(object), range: Some(range) };
        let seq = self.seqs.send(Flow::Read, op, out);
        self.reads.insert(seq, read);
    }

    fn rest(&mut self, mut read: Read, out: &mut Outbox<Effect>) {
        read.stage = Stage::Resting;
        let wait = read.backoff.failed();
        let seq = self.seqs.take();
        out.arm(TimerKey::Read(seq), wait);
        self.reads.insert(seq, read);
    }

    fn keep(&mut self, object: ObjectId, index: &Arc<Index>) {
        if self.indexes.insert(object, Arc::clone(index)).is_none() {
            self.kept.push_back(object);
        }
        while self.kept.len() > INDEXES_MAX {
            let oldest = self.kept.pop_front().expect("more than the maximum");
            self.indexes.remove(&oldest);
        }
    }
}

/// The batches of a block that an extent asks for; none if the block is damaged.
fn take(entry: &BlockEntry, block: &Bytes, extent: Extent) -> Vec<Bytes> {
    let records = object::decode_block(entry, block).unwrap_or_default();
    let mut left = extent.bytes_max;
    let mut first = extent.first_whole;
    let wanted = records.into_iter().filter(|record| record.end > extent.from);
    let fits = wanted.take_while(|record| {
        let bytes = record.batch.len() as u64;
        if record.end > extent.upto || (bytes > left && !first) {
            return false;
        }
        (left, first) = (left.saturating_sub(bytes), false);
        true
    });
    fits.map(|record| record.batch).collect()
}
