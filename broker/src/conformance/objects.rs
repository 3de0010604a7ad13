//! The object store's cases. Each works under a prefix of its own.
//!
//! Source: AWS S3 user guide: strong read-after-write and list-after-write consistency, atomic puts
//! of single keys, conditional writes, lists in the order of the keys' bytes.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broker_core::ids::{BrokerEpoch, Lsn, NodeId, ObjectId, Offset, StreamId};
use broker_core::object::{self, WalKey};
use broker_core::step::{Cond, Etag, Key, ObjOp, ObjResult};
use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Verdict, expect};
use crate::store::Store;

/// Keys in the longest list: more than a page.
const MANY: usize = 1_005;
/// Tasks that race, and how often.
const RACERS: usize = 8;
const RACES: usize = 20;
/// How long a reader looks for what was written.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// How often an operation is begun that the store puts off, or a read that it does not answer.
const ATTEMPTS: u32 = 10;

/// An object store. Clones are the same store.
pub trait Objects: Clone + Send + Sync + 'static {
    /// Does an operation, once.
    fn perform(&self, op: ObjOp) -> impl Future<Output = ObjResult> + Send;
    /// Whether [`Cond::IfMatch`] works; if not, it must be refused.
    fn has_if_match(&self) -> bool;
}

impl Objects for Store {
    fn perform(&self, op: ObjOp) -> impl Future<Output = ObjResult> + Send {
        Self::perform(self, op)
    }

    fn has_if_match(&self) -> bool {
        Self::has_if_match(self)
    }
}

/// Puts a store to every case, under `base`, and leaves nothing there. Races need a runtime of
/// several threads to be hard.
pub async fn check_objects<O: Objects>(objects: &O, base: &str) -> Vec<Verdict> {
    let room = |case: &str| Room { objects: objects.clone(), base: format!("{base}/{case}") };
    let mut verdicts = Vec::new();
    macro_rules! case {
        ($case:ident) => {
            let room = room(stringify!($case));
            let result = match $case(&room).await {
                Ok(()) => room.clear().await,
                wrong => room.clear().await.and(wrong),
            };
            verdicts.push(Verdict { case: stringify!($case), result });
        };
    }
    case!(create_race_has_one_winner);
    case!(refused_create_changes_nothing);
    case!(overwrite_is_seen_whole);
    case!(create_is_seen_whole);
    case!(get_is_cut_to_the_object);
    case!(list_is_in_order_and_its_prefix_literal);
    case!(list_begins_behind_a_key);
    case!(list_of_many_has_pages);
    case!(write_is_seen_at_once_by_all);
    case!(delete_is_idempotent);
    case!(keys_of_the_core_come_back);
    case!(if_match_compares_and_swaps_or_is_refused);
    verdicts
}

async fn create_race_has_one_winner<O: Objects>(room: &Room<O>) -> Result<(), String> {
    for race in 0..RACES {
        let name = format!("race-{race}");
        let outcomes = room.race(&name, |_| Cond::IfAbsent).await?;
        let mut winners = Vec::new();
        for (racer, outcome) in outcomes {
            match outcome {
                ObjResult::Done { .. } => winners.push(racer),
                ObjResult::PreconditionFailed => {}
                other => return Err(format!("{name}: a create ended with {other:?}")),
            }
        }
        let [winner] = winners[..] else {
            return Err(format!("{name}: {winners:?} of {RACERS} created one key"));
        };
        expect(&name, room.text(&name).await?, body_of(winner))?;
    }
    Ok(())
}

async fn refused_create_changes_nothing<O: Objects>(room: &Room<O>) -> Result<(), String> {
    let first = room.create("k", "first").await?;
    expect("create again", room.put("k", "other", Cond::IfAbsent).await?, refused())?;
    expect("after a refusal", room.body("k", None).await?, (first, "first".into(), 5))?;
    let second = room.etag(room.put("k", "second", Cond::None).await?)?;
    if first == second {
        return Err("two versions have one etag".into());
    }
    expect("after an overwrite", room.body("k", None).await?, (second, "second".into(), 6))?;
    expect("create again", room.put("k", "other", Cond::IfAbsent).await?, refused())
}

/// One writes two bodies in turn, others read: never a mixture, never nothing.
async fn overwrite_is_seen_whole<O: Objects>(room: &Room<O>) -> Result<(), String> {
    let bodies = [vec![b'a'; 200_000], vec![b'b'; 300_000]].map(Bytes::from);
    room.put_bytes("k", bodies[0].clone(), Cond::None).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let (room, bodies) = (room.clone(), bodies.clone());
        tasks.spawn(async move {
            for _ in 0..10 {
                let (_, data, size) = room.body("k", None).await?;
                if !bodies.contains(&data) || size != data.len() as u64 {
                    return Err(format!("a read gave {} of {size} bytes", data.len()));
                }
            }
            Ok(())
        });
    }
    for body in bodies.iter().cycle().take(10) {
        room.put_bytes("k", body.clone(), Cond::None).await?;
    }
    all(tasks).await
}

async fn create_is_seen_whole<O: Objects>(room: &Room<O>) -> Result<(), String> {
    let body = Bytes::from(vec![b'a'; 1_000_000]);
    for round in 0..5 {
        let name = format!("k-{round}");
        let mut tasks = JoinSet::new();
        let (reader, read) = (room.clone(), name.clone());
        tasks.spawn(async move {
            loop {
                match reader.get(&read, None).await? {
                    ObjResult::NotFound => tokio::task::yield_now().await,
                    ObjResult::Body { data, .. } if data.len() == 1_000_000 => return Ok(()),
                    other => return Err(format!("a read gave {}", short(&other))),
                }
            }
        });
        room.put_bytes(&name, body.clone(), Cond::IfAbsent).await?;
        let seen = tokio::time::timeout(SEEN_WITHIN, all(tasks)).await;
        seen.map_err(|_| format!("{name} was created and is never seen"))??;
    }
    Ok(())
}

async fn get_is_cut_to_the_object<O: Objects>(room: &Room<O>) -> Result<(), String> {
    let etag = room.create("k", "0123456789").await?;
    let empty = room.create("empty", "").await?;
    for (range, wanted) in [
        (None, "0123456789"),
        (Some((0, 10)), "0123456789"),
        (Some((2, 5)), "234"),
        (Some((8, 99)), "89"),
        (Some((4, 4)), ""),
        (Some((10, 12)), ""),
        (Some((50, 60)), ""),
    ] {
        let what = format!("range {range:?}");
        expect(&what, room.body("k", range).await?, (etag, wanted.into(), 10))?;
        let what = format!("range {range:?} of nothing there");
        expect(&what, room.get("absent", range).await?, ObjResult::NotFound)?;
        let what = format!("range {range:?} of an empty object");
        expect(&what, room.body("empty", range).await?, (empty, Bytes::new(), 0))?;
    }
    Ok(())
}

async fn list_is_in_order_and_its_prefix_literal<O: Objects>(room: &Room<O>) -> Result<(), String> {
    // In the order of their bytes: '-' and '.' are less than '/', which is less than digits.
    let all = ["1-0", "1.x", "1/a", "1/b", "1/b-", "1/b.c/d", "1/bc", "10/a", "2", "2-/1"];
    for name in all.iter().rev() {
        room.create(name, "").await?;
    }
    for (prefix, wanted) in [
        ("", &all[..]),
        ("1", &all[..8]),
        ("1/", &all[2..7]),
        ("1/b", &all[3..7]),
        ("1/b.", &all[5..6]),
        ("1/b.c/", &all[5..6]),
        ("10", &all[7..8]),
        ("10/a", &all[7..8]),
        ("10/a/", &[]),
        ("2", &all[8..]),
        ("3", &[]),
        ("3/", &[]),
    ] {
        let listed = room.list(prefix, None).await?;
        expect(&format!("list of {prefix:?}"), listed, (owned(wanted), false))?;
    }
    Ok(())
}

async fn list_begins_behind_a_key<O: Objects>(room: &Room<O>) -> Result<(), String> {
    for name in ["a/1", "a/3", "a/4/x", "a/5", "b"] {
        room.create(name, "").await?;
    }
    for (after, wanted) in [
        ("a/0", &["a/1", "a/3", "a/4/x", "a/5"][..]),
        ("a/1", &["a/3", "a/4/x", "a/5"]),
        ("a/2", &["a/3", "a/4/x", "a/5"]),
        ("a/4", &["a/4/x", "a/5"]),
        ("a/4/x", &["a/5"]),
        ("a/5", &[]),
        ("b", &[]),
        ("a", &["a/1", "a/3", "a/4/x", "a/5"]),
    ] {
        let (keys, _) = room.list("a/", Some(after)).await?;
        expect(&format!("list behind {after:?}"), keys, owned(wanted))?;
    }
    Ok(())
}

async fn list_of_many_has_pages<O: Objects>(room: &Room<O>) -> Result<(), String> {
    let names: Vec<String> = (0..MANY).map(|n| format!("{n:020}")).collect();
    room.create_all(&names).await?;
    room.create("z", "").await?;
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let (page, more) = room.list("0", found.last().map(String::as_str)).await?;
        pages += 1;
        expect("a page of more than 1,000 keys", page.len() > 1_000, false)?;
        if page.is_empty() && more && pages > MANY {
            return Err("the list has no end".into());
        }
        found.extend(page);
        if !more {
            break;
        }
    }
    expect("keys in all pages", found.len(), MANY)?;
    expect("the keys", found, names)?;
    expect("pages of a list of more than a page", pages > 1, true)
}

/// Each of several tasks at once writes, and then it and its neighbours see it.
async fn write_is_seen_at_once_by_all<O: Objects>(room: &Room<O>) -> Result<(), String> {
    let mut tasks = JoinSet::new();
    for task in 0..RACERS {
        let room = room.clone();
        tasks.spawn(async move {
            for round in 0..5 {
                let name = format!("{task}-{round}");
                room.create(&name, &name).await?;
                expect("read after write", room.text(&name).await?, name.clone().into())?;
                let (keys, _) = room.list("", None).await?;
                expect("list after write", keys.contains(&name), true)?;
                room.delete(&name).await?;
                expect("read after delete", room.get(&name, None).await?, ObjResult::NotFound)?;
                let (keys, _) = room.list("", None).await?;
                expect("list after delete", keys.contains(&name), false)?;
            }
            Ok(())
        });
    }
    all(tasks).await
}

async fn delete_is_idempotent<O: Objects>(room: &Room<O>) -> Result<(), String> {
    room.delete("never/was").await?;
    room.create("k/1", "one").await?;
    room.create("k/2", "two").await?;
    room.delete("k/1").await?;
    room.delete("k/1").await?;
    expect("the other", room.text("k/2").await?, "two".into())?;
    expect("the list", room.list("k/", None).await?.0, owned(&["k/2"]))?;
    room.create("k/1", "anew").await?;
    expect("created anew", room.text("k/1").await?, "anew".into())
}

async fn keys_of_the_core_come_back<O: Objects>(room: &Room<O>) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    for (node, number) in [(0, 0), (7, 9), (70, 10), (u16::MAX, u64::MAX - 1)] {
        let node = NodeId(node);
        let (epoch, start, end) = (BrokerEpoch(number), Lsn(number), Lsn(number + 1));
        keys.insert(object::wal_key(WalKey { node, epoch, start, end }));
        keys.insert(object::claim_key(node, number));
        keys.insert(object::object_key(ObjectId(number)));
        keys.insert(object::snapshot_key(StreamId(number), Offset(number)));
    }
    for key in &keys {
        room.create(&key.0, &key.0).await?;
    }
    for key in &keys {
        expect(&key.0, room.text(&key.0).await?, Bytes::from(key.0.to_string()))?;
    }
    let all: Vec<String> = keys.iter().map(Key::to_string).collect();
    expect("all keys", room.list("", None).await?.0, all.clone())?;
    let of_seven = object::wal_prefix(NodeId(7));
    let wanted: Vec<String> = all.into_iter().filter(|key| key.starts_with(&*of_seven.0)).collect();
    expect("WALs of node 7", wanted.len(), 1)?;
    expect("a node's WAL", room.list(&of_seven.0, None).await?.0, wanted)
}

async fn if_match_compares_and_swaps_or_is_refused<O: Objects>(
    room: &Room<O>,
) -> Result<(), String> {
    let first = room.create("k", "first").await?;
    if !room.objects.has_if_match() {
        let put = room.put("k", "second", Cond::IfMatch(first)).await?;
        expect("an overwrite that is not supported", put, refused())?;
        return expect("after it", room.text("k").await?, "first".into());
    }
    let second = room.etag(room.put("k", "second", Cond::IfMatch(first)).await?)?;
    expect("a stale etag", room.put("k", "third", Cond::IfMatch(first)).await?, refused())?;
    expect("after it", room.body("k", None).await?, (second, "second".into(), 6))?;
    let absent = room.put("absent", "any", Cond::IfMatch(first)).await?;
    expect("nothing to match", absent, ObjResult::NotFound)?;
    let outcomes = room.race("k", |_| Cond::IfMatch(second)).await?;
    let won = outcomes.iter().filter(|(_, end)| matches!(end, ObjResult::Done { .. })).count();
    expect("winners of a swap", won, 1)
}

/// A store, seen from under a prefix.
#[derive(Clone)]
struct Room<O> {
    objects: O,
    base: String,
}

impl<O: Objects> Room<O> {
    fn key(&self, name: &str) -> Key {
        Key(Arc::from(format!("{}/{name}", self.base)))
    }

    /// Does an operation until there is an answer. What writes and is left in doubt is not begun
    /// again: the case can not go on.
    async fn ask(&self, op: ObjOp) -> Result<ObjResult, String> {
        let reads = matches!(op, ObjOp::Get { .. } | ObjOp::List { .. });
        for attempt in 1..=ATTEMPTS {
            match self.objects.perform(op.clone()).await {
                ObjResult::Unknown if !reads => return Err(format!("{op:?}: no answer")),
                ObjResult::SlowDown | ObjResult::Unknown => {
                    tokio::time::sleep(Duration::from_millis(100) * attempt).await;
                }
                other => return Ok(other),
            }
        }
        Err(format!("{op:?}: put off or not answered {ATTEMPTS} times"))
    }

    async fn put_bytes(&self, name: &str, body: Bytes, cond: Cond) -> Result<ObjResult, String> {
        self.ask(ObjOp::Put { key: self.key(name), body, cond }).await
    }

    async fn put(&self, name: &str, body: &str, cond: Cond) -> Result<ObjResult, String> {
        self.put_bytes(name, Bytes::from(body.to_owned()), cond).await
    }

    async fn create(&self, name: &str, body: &str) -> Result<Etag, String> {
        let put = self.put(name, body, Cond::IfAbsent).await?;
        self.etag(put).map_err(|e| format!("{name}: {e}"))
    }

    async fn create_all(&self, names: &[String]) -> Result<(), String> {
        let mut tasks = JoinSet::new();
        for part in names.chunks(names.len().div_ceil(RACERS)) {
            let (room, part) = (self.clone(), part.to_vec());
            tasks.spawn(async move {
                for name in &part {
                    room.create(name, "").await?;
                }
                Ok(())
            });
        }
        all(tasks).await
    }

    /// All racers put their bodies at once.
    async fn race(
        &self,
        name: &str,
        cond: impl Fn(usize) -> Cond,
    ) -> Result<Vec<(usize, ObjResult)>, String> {
        let (start, mut tasks) = (Arc::new(Barrier::new(RACERS)), JoinSet::new());
        for racer in 0..RACERS {
            let (room, name, start) = (self.clone(), name.to_owned(), Arc::clone(&start));
            let cond = cond(racer);
            tasks.spawn(async move {
                start.wait().await;
                (racer, room.put_bytes(&name, body_of(racer), cond).await)
            });
        }
        let mut ends = tasks.join_all().await;
        ends.sort_by_key(|(racer, _)| *racer);
        ends.into_iter().map(|(racer, end)| Ok((racer, end?))).collect()
    }

    fn etag(&self, put: ObjResult) -> Result<Etag, String> {
        match put {
            ObjResult::Done { etag } => Ok(etag),
            other => Err(format!("a put ended with {other:?}")),
        }
    }

    async fn get(&self, name: &str, range: Option<(u64, u64)>) -> Result<ObjResult, String> {
        self.ask(ObjOp::Get { key: self.key(name), range }).await
    }

    async fn body(
        &self,
        name: &str,
        range: Option<(u64, u64)>,
    ) -> Result<(Etag, Bytes, u64), String> {
        match self.get(name, range).await? {
            ObjResult::Body { etag, data, size } => Ok((etag, data, size)),
            other => Err(format!("get of {name} ended with {other:?}")),
        }
    }

    async fn text(&self, name: &str) -> Result<Bytes, String> {
        Ok(self.body(name, None).await?.1)
    }

    /// A page of names, with what must hold of every page.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<(Vec<String>, bool), String> {
        let after = after.map(|after| self.key(after));
        let op = ObjOp::List { prefix: self.key(prefix), after: after.clone() };
        let (keys, more) = match self.ask(op).await? {
            ObjResult::Keys { keys, more } => (keys, more),
            other => return Err(format!("list of {prefix:?} ended with {other:?}")),
        };
        expect("a list in order, no key twice", keys.is_sorted_by(|a, b| a < b), true)?;
        let behind = after.is_none_or(|after| keys.iter().all(|key| *key > after));
        expect("a list of keys behind the one given", behind, true)?;
        let below = format!("{}/", self.base);
        let names = keys.iter().map(|key| key.0.strip_prefix(&below).map(str::to_owned));
        let names: Option<Vec<_>> = names.collect();
        Ok((names.ok_or_else(|| format!("keys outside of {below}: {keys:?}"))?, more))
    }

    async fn delete(&self, name: &str) -> Result<(), String> {
        match self.ask(ObjOp::Delete { key: self.key(name) }).await? {
            ObjResult::Done { .. } => Ok(()),
            other => Err(format!("delete of {name} ended with {other:?}")),
        }
    }

    async fn clear(&self) -> Result<(), String> {
        let (mut last, mut more) = (None::<String>, true);
        while more {
            let names;
            (names, more) = self.list("", last.as_deref()).await?;
            for name in &names {
                self.delete(name).await?;
            }
            last = names.into_iter().next_back().or(last);
        }
        Ok(())
    }
}

async fn all(tasks: JoinSet<Result<(), String>>) -> Result<(), String> {
    tasks.join_all().await.into_iter().collect()
}

fn body_of(racer: usize) -> Bytes {
    Bytes::from(format!("the body of racer {racer}"))
}

fn refused() -> ObjResult {
    ObjResult::PreconditionFailed
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn short(result: &ObjResult) -> String {
    match result {
        ObjResult::Body { data, size, .. } => format!("{} of {size} bytes", data.len()),
        other => format!("{other:?}"),
    }
}
