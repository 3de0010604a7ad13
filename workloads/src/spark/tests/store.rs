//! An object store that answers at once, loses answers when it is told to, and can hide its newest
//! keys from a list.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use broker_core::step::{Cond, Etag, Key, ObjOp, ObjResult};
use bytes::Bytes;

/// Keys in one page of a list.
const PAGE: usize = 2;

/// What happens to an operation on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Answered,
    /// It is done, and nobody hears of it.
    AnswerLost,
    /// It is not done, and nobody hears of it.
    RequestLost,
    Throttled,
}

#[derive(Clone, Default, Debug)]
pub(super) struct Store {
    pub(super) objects: BTreeMap<Key, (Etag, Bytes)>,
    pub(super) writes: u64,
    pub(super) asked: u32,
    /// Fates of the next operations; the rest is answered.
    pub(super) fates: VecDeque<Fate>,
    /// Keys that lists do not show.
    pub(super) unlisted: Vec<Key>,
}

impl Store {
    pub(super) fn ask(&mut self, op: ObjOp) -> ObjResult {
        self.asked += 1;
        match self.fates.pop_front().unwrap_or(Fate::Answered) {
            Fate::Answered => self.apply(op),
            Fate::AnswerLost => {
                self.apply(op);
                ObjResult::Unknown
            }
            Fate::RequestLost => ObjResult::Unknown,
            Fate::Throttled => ObjResult::SlowDown,
        }
    }

    fn apply(&mut self, op: ObjOp) -> ObjResult {
        match op {
            ObjOp::Put { key, body, cond } => {
                let there = self.objects.get(&key).map(|(etag, _)| *etag);
                match (cond, there) {
                    (Cond::IfAbsent, Some(_)) => return ObjResult::PreconditionFailed,
                    (Cond::IfMatch(_), _) => panic!("no checkpoint manager puts with IfMatch"),
                    _ => {}
                }
                self.writes += 1;
                let etag = Etag(self.writes);
                self.objects.insert(key, (etag, body));
                ObjResult::Done { etag }
            }
            ObjOp::Get { key, range: None } => match self.objects.get(&key) {
                Some((etag, data)) => {
                    let size = data.len() as u64;
                    ObjResult::Body { etag: *etag, data: data.clone(), size }
                }
                None => ObjResult::NotFound,
            },
            ObjOp::Get { .. } => panic!("files are read whole"),
            ObjOp::List { prefix, after } => {
                let behind = |key: &&Key| after.as_ref().is_none_or(|after| *key > after);
                let listed = self.objects.keys().filter(|key| key.0.starts_with(&*prefix.0));
                let shown = listed.filter(|key| !self.unlisted.contains(key)).filter(behind);
                let mut keys: Vec<Key> = shown.take(PAGE + 1).cloned().collect();
                let more = keys.len() > PAGE;
                keys.truncate(PAGE);
                ObjResult::Keys { keys, more }
            }
            ObjOp::Delete { key } => {
                self.objects.remove(&key);
                ObjResult::Done { etag: Etag(0) }
            }
        }
    }
}
