//! The object store's contents and the rules by which one operation, at one instant, reads or
//! changes them. Latency, lost answers, refusals and late landings are decided around it.
//!
//! Sources: AWS S3 user guide: strong read-after-write and list-after-write consistency, atomic
//! single-key puts, conditional writes (`If-None-Match: *` gives 412 if the key exists; `If-Match`
//! gives 412 on another ETag and 404 on no object), idempotent deletes, at most 1,000 keys per list
//! page. Pages are separate operations, so a list of several pages is not one snapshot. S3's 409
//! ConditionalRequestConflict ("a conflicting operation occurs during the upload") means "not done,
//! try again", but some clients report it as a failed precondition; the decider does so.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use broker_core::hash::Rolling;
use broker_core::step::{Cond, Etag, Key, ObjOp, ObjResult};
use bytes::Bytes;

/// What the store holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ObjectStore {
    objects: BTreeMap<Key, Object>,
    page_max: usize,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Object {
    body: Bytes,
    etag: Etag,
}

impl ObjectStore {
    /// An empty store whose list pages hold `page_max` keys.
    #[must_use]
    pub fn new(page_max: usize) -> Self {
        Self { objects: BTreeMap::new(), page_max: page_max.max(1) }
    }

    /// Does an operation, now.
    pub fn perform(&mut self, op: &ObjOp) -> ObjResult {
        match op {
            ObjOp::Put { key, body, cond } => self.put(key, body, *cond),
            ObjOp::Get { key, range } => self.get(key, *range),
            ObjOp::List { prefix, after } => self.list(prefix, after.as_ref()),
            ObjOp::Delete { key } => {
                self.objects.remove(key);
                ObjResult::Done { etag: Etag(0) }
            }
        }
    }

    /// An object's bytes.
    #[must_use]
    pub fn object(&self, key: &Key) -> Option<&Bytes> {
        self.objects.get(key).map(|object| &object.body)
    }

    /// Keys under a prefix, ascending.
    pub fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Key> {
        self.objects
            .range(Key(Arc::from(prefix))..)
            .map(|(key, _)| key)
            .take_while(move |key| key.0.starts_with(prefix))
    }

    fn put(&mut self, key: &Key, body: &Bytes, cond: Cond) -> ObjResult {
        let there = self.objects.get(key).map(|object| object.etag);
        match (cond, there) {
            (Cond::None, _) | (Cond::IfAbsent, None) => {}
            (Cond::IfAbsent, Some(_)) => return ObjResult::PreconditionFailed,
            (Cond::IfMatch(_), None) => return ObjResult::NotFound,
            (Cond::IfMatch(asked), Some(etag)) if asked != etag => {
                return ObjResult::PreconditionFailed;
            }
            (Cond::IfMatch(_), Some(_)) => {}
        }
        let etag = etag_of(body);
        self.objects.insert(key.clone(), Object { body: body.clone(), etag });
        ObjResult::Done { etag }
    }

    fn get(&self, key: &Key, range: Option<(u64, u64)>) -> ObjResult {
        let Some(object) = self.objects.get(key) else { return ObjResult::NotFound };
        let size = object.body.len() as u64;
        let data = match range {
            None => object.body.clone(),
            Some((start, end)) => {
                let end = end.min(size);
                object.body.slice(start.min(end) as usize..end as usize)
            }
        };
        ObjResult::Body { etag: object.etag, data, size }
    }

    fn list(&self, prefix: &Key, after: Option<&Key>) -> ObjResult {
        let start = match after {
            Some(after) if after > prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let mut found = self
            .objects
            .range::<Key, _>((start, Bound::Unbounded))
            .map(|(key, _)| key)
            .skip_while(|key| after.is_some_and(|after| *key <= after))
            .take_while(|key| key.0.starts_with(&*prefix.0));
        let keys: Vec<Key> = found.by_ref().take(self.page_max).cloned().collect();
        ObjResult::Keys { keys, more: found.next().is_some() }
    }
}

/// As S3's for a plain put: a digest of the content, so the same bytes have the same ETag.
fn etag_of(body: &Bytes) -> Etag {
    let mut rolling = Rolling::default();
    rolling.bytes(body);
    Etag(rolling.low())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> Key {
        Key(Arc::from(key))
    }

    fn put(store: &mut ObjectStore, name: &str, body: &'static [u8], cond: Cond) -> ObjResult {
        store.perform(&ObjOp::Put { key: key(name), body: Bytes::from_static(body), cond })
    }

    fn list(store: &mut ObjectStore, prefix: &str, after: Option<&str>) -> (Vec<String>, bool) {
        match store.perform(&ObjOp::List { prefix: key(prefix), after: after.map(key) }) {
            ObjResult::Keys { keys, more } => (keys.iter().map(Key::to_string).collect(), more),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn store_conditional_put_follows_s3() {
        let etag = |body: &'static [u8]| etag_of(&Bytes::from_static(body));
        let one = etag(b"1");
        let two = etag(b"2");
        let done = |etag| ObjResult::Done { etag };
        for (there, cond, result, left) in [
            (false, Cond::None, done(two), &b"2"[..]),
            (true, Cond::None, done(two), b"2"),
            (false, Cond::IfAbsent, done(two), b"2"),
            (true, Cond::IfAbsent, ObjResult::PreconditionFailed, b"1"),
            (false, Cond::IfMatch(one), ObjResult::NotFound, b""),
            (true, Cond::IfMatch(one), done(two), b"2"),
            (true, Cond::IfMatch(two), ObjResult::PreconditionFailed, b"1"),
        ] {
            let mut store = ObjectStore::new(9);
            if there {
                put(&mut store, "k", b"1", Cond::None);
            }
            assert_eq!(put(&mut store, "k", b"2", cond), result, "{there} {cond:?}");
            let body = store.object(&key("k")).cloned().unwrap_or_default();
            assert_eq!(body, left, "{there} {cond:?}");
        }
    }

    #[test]
    fn store_ranged_get_is_cut_to_the_object() {
        let mut store = ObjectStore::new(9);
        put(&mut store, "k", b"0123456789", Cond::None);
        for (range, expected) in [
            (None, &b"0123456789"[..]),
            (Some((2, 5)), b"234"),
            (Some((8, 99)), b"89"),
            (Some((10, 12)), b""),
            (Some((50, 60)), b""),
        ] {
            match store.perform(&ObjOp::Get { key: key("k"), range }) {
                ObjResult::Body { data, size, .. } => assert_eq!((&*data, size), (expected, 10)),
                other => unreachable!("{other:?}"),
            }
        }
        let missing = store.perform(&ObjOp::Get { key: key("x"), range: None });
        assert_eq!(missing, ObjResult::NotFound);
    }

    #[test]
    fn store_list_pages_are_ordered_and_end_with_the_prefix() {
        let mut store = ObjectStore::new(2);
        for name in ["a/3", "b/1", "a/1", "a/2", "a", "a0"] {
            put(&mut store, name, b"", Cond::None);
        }
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(list(&mut store, "a/", None), (names(&["a/1", "a/2"]), true));
        assert_eq!(list(&mut store, "a/", Some("a/2")), (names(&["a/3"]), false));
        assert_eq!(list(&mut store, "a/", Some("a/3")), (names(&[]), false));
        assert_eq!(list(&mut store, "a/", Some("Z")), (names(&["a/1", "a/2"]), true));
        assert_eq!(list(&mut store, "a", Some("a")), (names(&["a/1", "a/2"]), true));
        assert_eq!(list(&mut store, "c", None), (names(&[]), false));
    }

    #[test]
    fn store_list_of_two_pages_sees_what_happens_between_them() {
        let mut store = ObjectStore::new(1);
        put(&mut store, "w/1", b"", Cond::None);
        put(&mut store, "w/3", b"", Cond::None);
        assert_eq!(list(&mut store, "w/", None), (vec!["w/1".into()], true));
        put(&mut store, "w/2", b"", Cond::None);
        store.perform(&ObjOp::Delete { key: key("w/1") });
        assert_eq!(list(&mut store, "w/", Some("w/1")), (vec!["w/2".into()], true));
    }

    #[test]
    fn store_put_landing_after_a_delete_brings_the_object_back() {
        let mut store = ObjectStore::new(9);
        let late = ObjOp::Put { key: key("w/1"), body: Bytes::new(), cond: Cond::IfAbsent };
        store.perform(&late);
        assert_eq!(store.perform(&late), ObjResult::PreconditionFailed);
        let deleted = store.perform(&ObjOp::Delete { key: key("w/1") });
        assert_eq!(deleted, ObjResult::Done { etag: Etag(0) });
        assert!(matches!(store.perform(&late), ObjResult::Done { .. }));
        assert_eq!(store.keys("w/").count(), 1);
    }
}
