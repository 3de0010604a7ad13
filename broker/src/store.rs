//! The object store: one operation, one attempt, and how it ended. When to try again is the core's
//! affair, for only the core knows that a refusal may be the answer to its own first attempt.
//!
//! What the operations promise is in `broker_core::step`; `conformance` asks every store for it.
//! Sources: AWS S3 API reference (PutObject, GetObject, ListObjectsV2, DeleteObject), AWS S3 user
//! guide, "Conditional writes"; `object_store` 0.14.

mod folder;
#[cfg(feature = "s3")]
mod s3;

use std::error::Error as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker_core::step::{Cond, Etag, Key, ObjOp, ObjResult};
use bytes::Bytes;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion,
};

use folder::Folder;

/// Keys in a page of a list, as S3's maximum.
const PAGE_KEYS_MAX: usize = 1_000;

/// How long an operation without its body may take before its answer is given up. More than five
/// times the slowest of 5,000 small puts, as the simulator fits the published figures; short enough
/// that an ownership check whose answer was lost is tried again within a client's 30 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The slowest transfer of a body that is waited for: about a hundredth of what a connection to S3
/// does.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// The size that is taken for granted of an object that is read whole: none of those is larger than
/// a WAL object.
const WHOLE_BYTES: u64 = 16 << 20;

/// An object store. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Memory,
    Folder(Arc<Folder>),
    /// A store that lists by pages itself, and can tell "busy" from "failed".
    #[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "only a cloud's store is one"))]
    Paged(Arc<dyn PaginatedListStore>),
}

/// Told by a store's answer, not by its absence: the operation was not done, try again later.
#[derive(Debug)]
struct Busy(u16);

impl std::error::Error for Busy {}

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}: not done, try again later", self.0)
    }
}

impl Store {
    /// A store that is gone with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self { objects: Arc::new(InMemory::new()), kind: Kind::Memory }
    }

    /// A folder as a store, created if it is not there. Several processes may use it at once.
    ///
    /// What is answered survives a loss of power: a put's bytes and name are on the disk before it
    /// is done, and before another put is refused because of it; so is a name's end before a delete
    /// is done. But a get or list may show what is not durable yet, as the store of a cloud never
    /// does: who stores elsewhere what it read here may be ahead of this disk after it lost power.
    ///
    /// A process that was killed may leave a file `key#n`, which is never listed.
    ///
    /// It has no conditional overwrite, and no key may be a folder of another.
    ///
    /// # Errors
    /// The folder can not be created, or the disk failed.
    pub fn folder(path: &Path) -> io::Result<Self> {
        let (folder, objects) = Folder::open(path)?;
        Ok(Self { objects: Arc::new(objects), kind: Kind::Folder(Arc::new(folder)) })
    }

    /// A bucket of S3 or of a store that speaks as it does, by its URL (`s3://bucket`); region,
    /// endpoint, credentials and the like come from the usual variables of AWS (`AWS_REGION`,
    /// `AWS_ENDPOINT_URL`, `AWS_VIRTUAL_HOSTED_STYLE_REQUEST`, …). A URL with a path is refused:
    /// the bucket is the store.
    ///
    /// # Errors
    /// The URL or a variable makes no sense, or the bucket is a directory bucket (S3 Express): its
    /// lists have no order.
    #[cfg(feature = "s3")]
    pub fn s3(url: &str) -> io::Result<Self> {
        let objects = Arc::new(s3::open(url)?);
        Ok(Self { objects: objects.clone(), kind: Kind::Paged(objects) })
    }

    /// Whether [`Cond::IfMatch`] works here. Where it does not, it is always refused.
    #[must_use]
    pub fn has_if_match(&self) -> bool {
        match self.kind {
            Kind::Memory | Kind::Paged(_) => true,
            Kind::Folder(_) => false,
        }
    }

    /// Does an operation, once. A caller that stops waiting has [`ObjResult::Unknown`].
    pub async fn perform(&self, op: ObjOp) -> ObjResult {
        let attempt = async {
            match &op {
                ObjOp::Put { key, body, cond } => self.put(key, body, *cond).await,
                ObjOp::Get { key, range } => self.get(key, *range).await,
                ObjOp::List { prefix, after } => self.list(prefix, after.as_ref()).await,
                ObjOp::Delete { key } => self.delete(key).await,
            }
        };
        match tokio::time::timeout(answer_within(&op), attempt).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => failed(&op, &error),
            Err(_) => {
                tracing::warn!("{}: no answer in time", name(&op));
                ObjResult::Unknown
            }
        }
    }

    async fn put(&self, key: &Key, body: &Bytes, cond: Cond) -> Result<ObjResult, Error> {
        let path = ObjectPath::parse(&key.0)?;
        let mode = match cond {
            Cond::None => PutMode::Overwrite,
            Cond::IfAbsent => PutMode::Create,
            Cond::IfMatch(_) if !self.has_if_match() => {
                tracing::error!("put {key}: this store has no conditional overwrite");
                return Ok(ObjResult::PreconditionFailed);
            }
            Cond::IfMatch(asked) => match self.objects.head(&path).await {
                Ok(meta) if etag_of(meta.e_tag.as_deref()) == asked => {
                    PutMode::Update(UpdateVersion { e_tag: meta.e_tag, version: None })
                }
                Ok(_) => return Ok(ObjResult::PreconditionFailed),
                Err(Error::NotFound { .. }) => return Ok(ObjResult::NotFound),
                Err(e) => return Err(e),
            },
        };
        let put = self.objects.put_opts(&path, PutPayload::from(body.clone()), mode.into()).await;
        let result = put_result(put.map(|put| etag_of(put.e_tag.as_deref())))?;
        if let Kind::Folder(folder) = &self.kind {
            folder.settle(&path, result != ObjResult::PreconditionFailed).await?;
        }
        Ok(result)
    }

    async fn get(&self, key: &Key, range: Option<(u64, u64)>) -> Result<ObjResult, Error> {
        let path = ObjectPath::parse(&key.0)?;
        if range.is_some_and(|(start, end)| start >= end) {
            // No store answers a range of nothing.
            return self.get_nothing(&path).await;
        }
        let bounds = range.map(|(start, end)| GetRange::Bounded(start..end));
        let options = GetOptions { range: bounds, ..GetOptions::default() };
        let got = match (self.objects.get_opts(&path, options).await, range) {
            (Ok(got), _) => got,
            (Err(Error::NotFound { .. }), _) => return Ok(ObjResult::NotFound),
            // Perhaps a range that begins at the end or behind it, which every store refuses in its
            // own words.
            (Err(e), Some((start, _))) if !is_busy(&e) => {
                return match self.get_nothing(&path).await? {
                    ObjResult::Body { size, .. } if start < size => Err(e),
                    nothing => Ok(nothing),
                };
            }
            (Err(e), _) => return Err(e),
        };
        let (etag, size) = (etag_of(got.meta.e_tag.as_deref()), got.meta.size);
        Ok(ObjResult::Body { etag, data: got.bytes().await?, size })
    }

    async fn get_nothing(&self, path: &ObjectPath) -> Result<ObjResult, Error> {
        match self.objects.head(path).await {
            Ok(meta) => {
                let etag = etag_of(meta.e_tag.as_deref());
                Ok(ObjResult::Body { etag, data: Bytes::new(), size: meta.size })
            }
            Err(Error::NotFound { .. }) => Ok(ObjResult::NotFound),
            Err(e) => Err(e),
        }
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<ObjResult, Error> {
        let Kind::Paged(pages) = &self.kind else { return self.list_all(prefix, after).await };
        let options = PaginatedListOptions {
            offset: after.map(Key::to_string),
            max_keys: Some(PAGE_KEYS_MAX),
            ..PaginatedListOptions::default()
        };
        let page = pages.list_paginated(Some(&prefix.0), options).await?;
        let keys = page.result.objects.iter().map(|object| key_of(&object.location)).collect();
        Ok(ObjResult::Keys { keys, more: page.page_token.is_some() })
    }

    /// The page of a store that lists folders only, and in no order.
    async fn list_all(&self, prefix: &Key, after: Option<&Key>) -> Result<ObjResult, Error> {
        let above = prefix.0.rfind('/').map_or("", |slash| &prefix.0[..slash]);
        let (mut folders, mut keys) = (vec![ObjectPath::parse(above)?], Vec::new());
        while let Some(folder) = folders.pop() {
            let found = self.objects.list_with_delimiter(Some(&folder)).await?;
            let may_hold = |folder: &ObjectPath| format!("{folder}/").starts_with(&*prefix.0);
            folders.extend(found.common_prefixes.into_iter().filter(may_hold));
            let found = found.objects.iter().map(|object| key_of(&object.location));
            keys.extend(found.filter(|key| {
                key.0.starts_with(&*prefix.0) && after.is_none_or(|after| key > after)
            }));
        }
        keys.sort_unstable();
        let more = keys.len() > PAGE_KEYS_MAX;
        keys.truncate(PAGE_KEYS_MAX);
        Ok(ObjResult::Keys { keys, more })
    }

    async fn delete(&self, key: &Key) -> Result<ObjResult, Error> {
        let path = ObjectPath::parse(&key.0)?;
        match self.objects.delete(&path).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
        if let Kind::Folder(folder) = &self.kind {
            folder.settle(&path, false).await?;
        }
        Ok(ObjResult::Done { etag: Etag(0) })
    }
}

/// How a put ended, if the store said so.
fn put_result(put: Result<Etag, Error>) -> Result<ObjResult, Error> {
    match put {
        Ok(etag) => Ok(ObjResult::Done { etag }),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
            Ok(ObjResult::PreconditionFailed)
        }
        Err(e) => Err(e),
    }
}

/// How an operation ended that no answer tells more about.
fn failed(op: &ObjOp, error: &Error) -> ObjResult {
    if is_busy(error) {
        return ObjResult::SlowDown;
    }
    tracing::warn!("{}: {error}", name(op));
    ObjResult::Unknown
}

fn is_busy(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<Busy>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn answer_within(op: &ObjOp) -> Duration {
    let bytes = match op {
        ObjOp::Put { body, .. } => body.len() as u64,
        ObjOp::Get { range: Some((start, end)), .. } => end.saturating_sub(*start),
        ObjOp::Get { range: None, .. } => WHOLE_BYTES,
        ObjOp::List { .. } | ObjOp::Delete { .. } => 0,
    };
    ANSWER_WITHIN + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

fn name(op: &ObjOp) -> String {
    match op {
        ObjOp::Put { key, body, cond } => format!("put {key} of {} bytes, {cond:?}", body.len()),
        ObjOp::Get { key, range } => format!("get {key} {range:?}"),
        ObjOp::List { prefix, .. } => format!("list {prefix}"),
        ObjOp::Delete { key } => format!("delete {key}"),
    }
}

fn key_of(path: &ObjectPath) -> Key {
    Key(Arc::from(path.as_ref()))
}

/// The store's own name of a version is a text; nobody looks into it.
fn etag_of(text: Option<&str>) -> Etag {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Etag(hasher.finish())
}

#[cfg(test)]
mod tests {
    use object_store::throttle::{ThrottleConfig, ThrottledStore};

    use super::*;

    fn put() -> ObjOp {
        let (key, body) = (Key("k".into()), Bytes::new());
        ObjOp::Put { key, body, cond: Cond::IfAbsent }
    }

    #[test]
    fn store_refusal_is_a_refusal_and_any_other_error_is_in_doubt() {
        let (path, source) = (|| String::from("k"), || "why".into());
        for error in [
            Error::AlreadyExists { path: path(), source: source() },
            Error::Precondition { path: path(), source: source() },
        ] {
            let put = put_result(Err(error)).expect("an answer");
            assert_eq!(put, ObjResult::PreconditionFailed);
        }
        for error in [
            Error::NotFound { path: path(), source: source() },
            Error::NotModified { path: path(), source: source() },
            Error::PermissionDenied { path: path(), source: source() },
            Error::Unauthenticated { path: path(), source: source() },
            Error::Generic { store: "any", source: source() },
            Error::NotImplemented { operation: path(), implementer: path() },
        ] {
            let error = put_result(Err(error)).expect_err("no answer");
            assert_eq!(failed(&put(), &error), ObjResult::Unknown, "{error}");
        }
    }

    #[test]
    fn store_busy_is_found_below_other_errors() {
        let below = Error::Generic { store: "below", source: Busy(503).into() };
        let error = Error::Generic { store: "any", source: below.into() };
        assert_eq!(failed(&put(), &error), ObjResult::SlowDown);
    }

    /// A store that answers after an hour.
    fn asleep() -> Store {
        let hour = Duration::from_secs(3_600);
        let config = ThrottleConfig {
            wait_delete_per_call: hour,
            wait_get_per_call: hour,
            wait_list_with_delimiter_per_call: hour,
            wait_put_per_call: hour,
            ..ThrottleConfig::default()
        };
        let objects = Arc::new(ThrottledStore::new(InMemory::new(), config));
        Store { objects, kind: Kind::Memory }
    }

    #[tokio::test(start_paused = true)]
    async fn store_that_does_not_answer_in_time_leaves_doubt() {
        let (store, key) = (asleep(), || Key("k".into()));
        for op in [
            put(),
            ObjOp::Get { key: key(), range: Some((0, 3 << 20)) },
            ObjOp::Get { key: key(), range: Some((3, 3)) },
            ObjOp::List { prefix: key(), after: None },
            ObjOp::Delete { key: key() },
        ] {
            let begun = tokio::time::Instant::now();
            assert_eq!(store.perform(op.clone()).await, ObjResult::Unknown, "{op:?}");
            let (waited, limit) = (begun.elapsed(), answer_within(&op));
            assert!(limit <= waited && waited < limit + Duration::from_millis(5), "{waited:?}");
        }
    }

    #[test]
    fn store_waits_longer_for_a_longer_body() {
        let get = |range| ObjOp::Get { key: Key("k".into()), range };
        let ranged = |bytes: u64| answer_within(&get(Some((9, 9 + bytes)))) - ANSWER_WITHIN;
        assert_eq!(ranged(0), Duration::ZERO);
        assert_eq!(ranged(64 << 20), Duration::from_secs(64));
        assert_eq!(answer_within(&get(Some((9, 0)))), ANSWER_WITHIN);
        assert_eq!(answer_within(&get(None)) - ANSWER_WITHIN, Duration::from_secs(16));
        let body = Bytes::from(vec![0; 8 << 20]);
        let put = ObjOp::Put { key: Key("k".into()), body, cond: Cond::IfAbsent };
        assert_eq!(answer_within(&put) - ANSWER_WITHIN, Duration::from_secs(8));
    }
}
