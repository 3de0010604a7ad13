//! The models under which the core is tested and the adapters it runs on keep the same promises;
//! and the cases find out who does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use broker::conformance::{
    Broken, Devices, Objects, Verdict, check_broken_devices, check_devices, check_objects,
};
use broker::device::Device;
use broker::store::Store;
use broker_core::ids::Incarnation;
use broker_core::step::{Cond, Flow, Key, LogOp, LogResult, ObjOp, ObjResult, Tok};
use bytes::Bytes;
use sim::plan::Keep;
use sim::world::log_device::LogDevice;
use sim::world::object_store::ObjectStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_model_conforms() {
    all_hold(check_objects(&Model::new(1_000, ObjectStore::perform), "model").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_memory_conforms() {
    all_hold(check_objects(&Store::memory(), "memory").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_folder_conforms() {
    let folder = fresh("store-folder");
    all_hold(check_objects(&Store::folder(&folder).expect("a folder"), "folder").await);
}

/// Set `SEEDBED_S3_URL` to `s3://bucket` and AWS's own variables to what leads there.
#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a bucket: SEEDBED_S3_URL=s3://bucket, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …"]
async fn store_s3_at_the_endpoint_given_conforms() {
    #[expect(clippy::disallowed_methods, reason = "where the bucket is, only its owner knows")]
    let url = std::env::var("SEEDBED_S3_URL").expect("SEEDBED_S3_URL");
    let base = format!("conformance-{}", std::process::id());
    all_hold(check_objects(&Store::s3(&url).expect("a bucket"), &base).await);
}

#[tokio::test]
async fn store_that_checks_then_writes_is_found_out() {
    let verdicts = check_objects(&ChecksThenWrites(Store::memory()), "check").await;
    let wrong: Vec<_> = verdicts.iter().filter(|verdict| verdict.result.is_err()).collect();
    let [race] = wrong[..] else { panic!("{wrong:?}") };
    assert_eq!(race.case, "create_race_has_one_winner");
    let what = race.result.as_ref().expect_err("it is wrong");
    assert!(what.contains("[0, 1, 2, 3, 4, 5, 6, 7] of 8 created one key"), "{what}");
}

/// A store that breaks one promise.
type Lie = fn(&mut ObjectStore, &ObjOp) -> ObjResult;

#[tokio::test(start_paused = true)]
async fn store_that_breaks_a_promise_is_found_out() {
    let lies: [(&str, Lie); 12] = [
        ("refused_create_changes_nothing", |store, op| match store.perform(op) {
            ObjResult::PreconditionFailed => ObjResult::Done { etag: broker_core::step::Etag(0) },
            honest => honest,
        }),
        ("refused_create_changes_nothing", |store, op| match op {
            ObjOp::Put { key, body, .. } => {
                let refused = store.perform(op) == ObjResult::PreconditionFailed;
                let put = store.perform(&put(key, body, Cond::None));
                if refused { ObjResult::PreconditionFailed } else { put }
            }
            _ => store.perform(op),
        }),
        ("list_is_in_order_and_its_prefix_literal", |store, op| match store.perform(op) {
            ObjResult::Keys { mut keys, more } => {
                keys.reverse();
                ObjResult::Keys { keys, more }
            }
            honest => honest,
        }),
        ("list_is_in_order_and_its_prefix_literal", |store, op| match (op, store.perform(op)) {
            (ObjOp::List { prefix, .. }, ObjResult::Keys { mut keys, more }) => {
                let segments = format!("{}/", prefix.0.trim_end_matches('/'));
                keys.retain(|key| key.0.starts_with(&segments));
                ObjResult::Keys { keys, more }
            }
            (_, honest) => honest,
        }),
        ("list_begins_behind_a_key", |store, op| match op {
            ObjOp::List { prefix, .. } => {
                store.perform(&ObjOp::List { prefix: prefix.clone(), after: None })
            }
            _ => store.perform(op),
        }),
        ("list_of_many_has_pages", |store, op| match store.perform(op) {
            ObjResult::Keys { keys, .. } => ObjResult::Keys { keys, more: false },
            honest => honest,
        }),
        ("get_is_cut_to_the_object", |store, op| match (op, store.perform(op)) {
            (ObjOp::Get { range: Some((start, _)), .. }, ObjResult::Body { size, .. })
                if *start >= size =>
            {
                ObjResult::NotFound
            }
            (_, honest) => honest,
        }),
        ("get_is_cut_to_the_object", |store, op| match store.perform(op) {
            ObjResult::Body { etag, data, .. } => {
                ObjResult::Body { etag, size: data.len() as u64, data }
            }
            honest => honest,
        }),
        ("get_is_cut_to_the_object", |store, op| match op {
            ObjOp::Get { range: Some((start, end)), .. } if start == end => ObjResult::Unknown,
            _ => store.perform(op),
        }),
        ("delete_is_idempotent", |store, op| match op {
            ObjOp::Delete { key } if store.object(key).is_none() => ObjResult::NotFound,
            _ => store.perform(op),
        }),
        ("write_is_seen_at_once_by_all", |store, op| match op {
            ObjOp::Delete { .. } => ObjResult::Done { etag: broker_core::step::Etag(0) },
            _ => store.perform(op),
        }),
        ("if_match_compares_and_swaps_or_is_refused", |store, op| match op {
            ObjOp::Put { key, body, cond: Cond::IfMatch(_) } => {
                store.perform(&put(key, body, Cond::None))
            }
            _ => store.perform(op),
        }),
    ];
    for (number, (case, lie)) in lies.into_iter().enumerate() {
        let verdicts = check_objects(&Model::new(1_000, lie), "lie").await;
        let found = verdicts.iter().any(|verdict| verdict.case == case && verdict.result.is_err());
        assert!(found, "lie {number}, {case}: {verdicts:?}");
    }
}

#[tokio::test]
async fn store_folder_does_not_list_what_a_killed_process_left() {
    let folder = fresh("store-left-over");
    let store = Store::folder(&folder).expect("a folder");
    let key = Key("wal/1/a".into());
    store.perform(put(&key, &Bytes::from("a"), Cond::IfAbsent)).await;
    fs::write(folder.join("wal/1/b#1"), "half a b").expect("written");
    fs::hard_link(folder.join("wal/1/a"), folder.join("wal/1/a#1")).expect("linked");
    let list = ObjOp::List { prefix: Key("wal/".into()), after: None };
    let listed = store.perform(list).await;
    assert_eq!(listed, ObjResult::Keys { keys: vec![key.clone()], more: false });
    let again = store.perform(put(&key, &Bytes::from("other"), Cond::IfAbsent)).await;
    assert_eq!(again, ObjResult::PreconditionFailed);
    store.perform(put(&key, &Bytes::from("over"), Cond::None)).await;
    match store.perform(ObjOp::Get { key, range: None }).await {
        ObjResult::Body { data, .. } => assert_eq!(data, "over"),
        other => panic!("{other:?}"),
    }
}

/// Keys that are none, or can not be in a folder, are not told to be absent, done or refused.
#[tokio::test]
async fn store_key_that_can_not_be_ends_in_doubt() {
    let store = Store::folder(&fresh("store-bad-keys")).expect("a folder");
    store.perform(put(&Key("a/b".into()), &Bytes::new(), Cond::IfAbsent)).await;
    for name in ["a//b", "../a", "a/b/c"] {
        let put = put(&Key(name.into()), &Bytes::new(), Cond::IfAbsent);
        assert_eq!(store.perform(put).await, ObjResult::Unknown, "{name}");
    }
}

#[test]
fn device_model_conforms() {
    all_hold(check_devices(ModelDevice::default));
    all_hold(check_broken_devices(ModelDevice::default));
}

#[test]
fn device_folder_conforms() {
    let mut number = 0;
    all_hold(check_devices(|| {
        number += 1;
        FolderDevice::new(fresh(&format!("device-{number}")))
    }));
}

#[test]
fn device_of_another_is_not_opened() {
    let folder = fresh("device-of-another");
    let first = Device::open(&folder).expect("nobody has it");
    let refused = Device::open(&folder).err().map(|e| e.kind());
    assert_eq!(refused, Some(std::io::ErrorKind::WouldBlock));
    drop(first);
    assert!(Device::open(&folder).is_ok());
}

fn all_hold(verdicts: impl IntoIterator<Item = Verdict>) {
    let wrong = verdicts.into_iter().filter(|verdict| verdict.result.is_err());
    let wrong: Vec<String> = wrong.map(|verdict| verdict.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn fresh(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("an old run's");
    }
    folder
}

fn put(key: &Key, body: &Bytes, cond: Cond) -> ObjOp {
    ObjOp::Put { key: key.clone(), body: body.clone(), cond }
}

/// The World's store, or one that lies.
#[derive(Clone)]
struct Model {
    store: Arc<Mutex<ObjectStore>>,
    perform: Lie,
}

impl Model {
    fn new(page_max: usize, perform: Lie) -> Self {
        Self { store: Arc::new(Mutex::new(ObjectStore::new(page_max))), perform }
    }
}

impl Objects for Model {
    async fn perform(&self, op: ObjOp) -> ObjResult {
        (self.perform)(&mut self.store.lock().expect("no panic"), &op)
    }

    fn has_if_match(&self) -> bool {
        true
    }
}

/// A store whose conditional put is a check and then a write, as that of s3s-fs 0.14.
#[derive(Clone)]
struct ChecksThenWrites(Store);

impl Objects for ChecksThenWrites {
    async fn perform(&self, op: ObjOp) -> ObjResult {
        let ObjOp::Put { key, body, cond: Cond::IfAbsent } = op else {
            return self.0.perform(op).await;
        };
        let there = self.0.perform(ObjOp::Get { key: key.clone(), range: None }).await;
        if there != ObjResult::NotFound {
            return ObjResult::PreconditionFailed;
        }
        tokio::task::yield_now().await;
        self.0.perform(put(&key, &body, Cond::None)).await
    }

    fn has_if_match(&self) -> bool {
        true
    }
}

/// The World's device, one operation at a time.
#[derive(Default)]
struct ModelDevice(LogDevice);

impl Devices for ModelDevice {
    fn perform(&mut self, op: LogOp) -> Option<LogResult> {
        let tok = Tok { incarnation: Incarnation(1), flow: Flow::Quorum, seq: 0 };
        self.0.submit(tok, op);
        self.0.work().map(|(_, result)| result)
    }

    fn reopen(&mut self) {
        self.0.exit();
    }

    fn tear(&mut self, bytes: u64) {
        self.0.crash(Keep::Torn, bytes - 1);
    }
}

impl Broken for ModelDevice {
    fn set_full(&mut self, full: bool) {
        self.0.set_full(full);
    }

    fn fail_next_sync(&mut self) {
        self.0.fail_next_sync(true);
    }
}

struct FolderDevice {
    folder: PathBuf,
    device: Option<Device>,
}

impl FolderDevice {
    fn new(folder: PathBuf) -> Self {
        let device = Some(Device::open(&folder).expect("a folder"));
        Self { folder, device }
    }
}

impl Devices for FolderDevice {
    fn perform(&mut self, op: LogOp) -> Option<LogResult> {
        self.device.as_mut().expect("open").perform(op)
    }

    fn reopen(&mut self) {
        self.device = None;
        self.device = Some(Device::open(&self.folder).expect("closed before"));
    }

    fn tear(&mut self, bytes: u64) {
        self.device = None;
        let log = fs::OpenOptions::new().write(true).open(self.folder.join("log")).expect("a log");
        let end = log.metadata().expect("a file").len();
        log.set_len(end - bytes).expect("cut");
        self.reopen();
    }
}
