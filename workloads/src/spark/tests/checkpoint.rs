//! Calls on a checkpoint, over a store that loses answers.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;

use broker_core::step::{Etag, Key, ObjOp, ObjResult};
use bytes::Bytes;

use super::store::{Fate, Store};
use crate::spark::checkpoint::{
    ATTEMPTS_MAX, BatchId, Call, Checkpoint, Log, MANAGERS, Manager, MissingBatches, Next, Outcome,
    purge_targets, verify_batch_ids,
};

const BODY: Bytes = Bytes::from_static(b"v1\n{}");
const OTHER: Bytes = Bytes::from_static(b"v1\n{\"nextBatchWatermarkMs\":9}");

fn checkpoint(manager: Manager) -> Checkpoint {
    Checkpoint { root: "ckpt".into(), manager }
}

/// Runs a call to its end as a driver does; `None`: the store's client gave up.
fn run(call: &mut Call, store: &mut Store) -> Option<Outcome> {
    let mut op = call.ask();
    let mut attempts = 1;
    loop {
        match call.answered(store.ask(op)) {
            Next::Done(outcome) => return Some(outcome),
            Next::Ask(next) | Next::TemporaryWritten(next) => (op, attempts) = (next, 1),
            Next::Again { .. } if attempts == ATTEMPTS_MAX => return call.given_up(),
            Next::Again { .. } => (op, attempts) = (call.ask(), attempts + 1),
        }
    }
}

fn create(manager: Manager, body: Bytes) -> Call {
    let checkpoint = checkpoint(manager);
    checkpoint.create(checkpoint.entry(Log::Commits, BatchId(7)), body, 1)
}

fn names(store: &Store) -> Vec<&str> {
    store.objects.keys().map(|key| &*key.0).collect()
}

#[test]
fn checkpoint_entry_created_is_there_once_and_alone() {
    for manager in MANAGERS {
        let mut store = Store::default();
        assert_eq!(run(&mut create(*manager, BODY), &mut store), Some(Outcome::Done));
        assert_eq!(names(&store), ["ckpt/commits/7"], "{manager:?}");
        // A second one sees it before it writes anything.
        assert_eq!(run(&mut create(*manager, OTHER), &mut store), Some(Outcome::Exists));
        let key = Key("ckpt/commits/7".into());
        assert_eq!(store.objects[&key].1, BODY, "{manager:?}");
    }
}

/// Two creations, each answer of the one before the same answer of the other.
fn race(manager: Manager) -> (Option<Outcome>, Option<Outcome>, Store) {
    let mut store = Store::default();
    let mut calls = [create(manager, BODY), create(manager, OTHER)];
    let mut ops: Vec<Option<ObjOp>> = calls.iter().map(|call| Some(call.ask())).collect();
    let mut ends = [None, None];
    while ops.iter().any(Option::is_some) {
        for turn in 0..2 {
            let Some(op) = ops[turn].take() else { continue };
            match calls[turn].answered(store.ask(op)) {
                Next::Done(outcome) => ends[turn] = Some(outcome),
                Next::Ask(next) | Next::TemporaryWritten(next) => ops[turn] = Some(next),
                Next::Again { .. } => panic!("nothing is lost here"),
            }
        }
    }
    let [first, second] = ends;
    (first, second, store)
}

#[test]
fn checkpoint_entry_created_twice_at_once_has_one_winner_only_if_the_store_decides() {
    let (done, exists) = (Some(Outcome::Done), Some(Outcome::Exists));
    for manager in [Manager::AtomicRename, Manager::ConditionalPut] {
        let (first, second, store) = race(manager);
        assert_eq!((first, second), (done.clone(), exists.clone()), "{manager:?}");
        assert_eq!(store.objects[&Key("ckpt/commits/7".into())].1, BODY);
    }
    for manager in [Manager::CopyRename, Manager::AbortableStream] {
        let (first, second, store) = race(manager);
        assert_eq!((first, second), (done.clone(), done.clone()), "{manager:?}");
        assert_eq!(store.objects[&Key("ckpt/commits/7".into())].1, OTHER, "the last one stays");
    }
}

#[test]
fn checkpoint_put_whose_answer_was_lost_finds_itself_where_the_store_decides() {
    let answered = |looks: usize| (0..looks).map(|_| Fate::Answered);
    let lost = |looks| answered(looks).chain([Fate::AnswerLost]).collect();
    // Before the put: a look; a look and a temporary file; and one more look.
    for (manager, before, expected) in [
        (Manager::ConditionalPut, 1, Outcome::Exists),
        (Manager::AtomicRename, 2, Outcome::Exists),
        (Manager::CopyRename, 3, Outcome::Done),
        (Manager::AbortableStream, 2, Outcome::Done),
    ] {
        let mut store = Store { fates: lost(before), ..Store::default() };
        let outcome = run(&mut create(manager, BODY), &mut store);
        assert_eq!(outcome, Some(expected), "{manager:?}");
        assert_eq!(names(&store), ["ckpt/commits/7"], "{manager:?}");
    }
}

#[test]
fn checkpoint_put_never_done_ends_the_call_or_is_hidden() {
    let never = |before: usize| {
        let looks = (0..before).map(|_| Fate::Answered);
        looks.chain((0..ATTEMPTS_MAX).map(|_| Fate::RequestLost)).collect()
    };
    let mut store = Store { fates: never(1), ..Store::default() };
    assert_eq!(run(&mut create(Manager::ConditionalPut, BODY), &mut store), None);
    // The exception is logged, and the batch goes on as if its entry were there.
    let mut store = Store { fates: never(2), ..Store::default() };
    let outcome = run(&mut create(Manager::AbortableStream, BODY), &mut store);
    assert_eq!(outcome, Some(Outcome::Done));
    assert_eq!(names(&store), [""; 0]);
}

#[test]
fn checkpoint_log_listed_page_by_page_holds_numbers_only() {
    let checkpoint = checkpoint(Manager::CopyRename);
    let mut store = Store::default();
    let files =
        [".7.00000000-0000-4000-8000-000000000000.tmp", "10", "2", "9", "9.crc", "x", "sub/3"];
    for name in files {
        store.objects.insert(Key(alloc::format!("ckpt/offsets/{name}").into()), (Etag(0), BODY));
    }
    // One page is throttled, one lost: they are asked for again.
    store.fates = [Fate::Answered, Fate::Throttled, Fate::RequestLost].into();
    let listed = run(&mut checkpoint.list(Log::Offsets), &mut store);
    let expected = BTreeSet::from([BatchId(2), BatchId(9), BatchId(10)]);
    assert_eq!(listed, Some(Outcome::Listed(expected)));
}

/// S3 may answer a list with an empty page, and say that there is more.
#[test]
fn checkpoint_log_listed_goes_on_behind_an_empty_page() {
    let page = |keys: &[&str], more| ObjResult::Keys {
        keys: keys.iter().map(|key| Key((*key).into())).collect(),
        more,
    };
    let mut call = checkpoint(Manager::ConditionalPut).list(Log::Offsets);
    let first = call.ask();
    assert_eq!(call.answered(page(&[], true)), Next::Ask(first));
    let Next::Ask(second) = call.answered(page(&["ckpt/offsets/0"], true)) else { panic!() };
    assert_eq!(call.answered(page(&[], true)), Next::Ask(second));
    let found = BTreeSet::from([BatchId(0), BatchId(1)]);
    let last = call.answered(page(&["ckpt/offsets/1"], false));
    assert_eq!(last, Next::Done(Outcome::Listed(found)));
}

#[test]
fn checkpoint_file_read_or_deleted_that_is_not_there_is_no_error() {
    let mut store = Store::default();
    let key = Key("ckpt/offsets/3".into());
    assert_eq!(run(&mut Call::Read(key.clone()), &mut store), Some(Outcome::Content(None)));
    assert_eq!(run(&mut Call::Delete(key), &mut store), Some(Outcome::Done));
}

#[test]
fn checkpoint_purge_of_few_batches_lists_nothing() {
    let batches = |numbers: &[u64]| Some(numbers.iter().copied().map(BatchId).collect::<Vec<_>>());
    assert_eq!(purge_targets(BatchId(4), BatchId(7)), batches(&[4, 5, 6]));
    assert_eq!(purge_targets(BatchId(4), BatchId(4)), batches(&[]));
    assert_eq!(purge_targets(BatchId(0), BatchId(4)), None);
}

#[test]
fn checkpoint_batch_missing_in_between_is_named() {
    let found: BTreeSet<_> = [3, 4, 6].into_iter().map(BatchId).collect();
    let missing =
        |numbers: &[u64]| Err(MissingBatches(numbers.iter().copied().map(BatchId).collect()));
    assert_eq!(verify_batch_ids(&found, None, None), missing(&[5]));
    assert_eq!(verify_batch_ids(&found, Some(BatchId(2)), None), missing(&[2, 5]));
    assert_eq!(verify_batch_ids(&found, None, Some(BatchId(7))), missing(&[5, 7]));
    assert_eq!(verify_batch_ids(&found, Some(BatchId(3)), Some(BatchId(4))), Ok(()));
    assert_eq!(verify_batch_ids(&BTreeSet::new(), None, Some(BatchId(1))), missing(&[1]));
    assert_eq!(verify_batch_ids(&BTreeSet::new(), None, None), Ok(()));
    let message = verify_batch_ids(&found, None, None).unwrap_err().to_string();
    assert_eq!(message, "batches (5) don't exist; allowed: numbers without a gap");
}
