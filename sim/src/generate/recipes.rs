//! What the profiles weigh: each recipe adds one to three faults that make one kind of trouble.
//!
//! The sessions of brokers expire after 9 s, so what makes zombies lasts longer: a broker that is
//! paused or cut off from the controllers while the store still hears it. Late puts last up to
//! minutes, as a request does that sits in a dead process's socket or a retrying proxy.

use super::draft::{Draft, keep};
use super::draw::Stream;
use crate::plan::{Anchor, Direction, Fate, Keep, What};

/// One kind of trouble.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Its name; also keys its stream of draws.
    pub name: &'static str,
    /// Adds its faults.
    pub draw: fn(&mut Draft, &mut Stream),
}

impl Recipe {
    /// The key of its streams: the name's letters, folded (FNV-1a), so that no order of a table
    /// matters.
    #[must_use]
    pub fn key(&self) -> u64 {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        self.name.bytes().fold(0xcbf2_9ce4_8422_2325, fold) >> 24
    }
}

macro_rules! recipes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $draw:expr;)*) => {
        $($(#[$doc])* pub const $name: Recipe = Recipe { name: $text, draw: $draw };)*

        /// All recipes.
        pub const ALL: &[Recipe] = &[$($name),*];
    };
}

const MS: u64 = 1_000;
const S: u64 = 1_000_000;

recipes! {
    /// A broker dies for less or more than its session.
    CRASH_BROKER = "crash-broker", |draft, stream| {
        let lasting = stream.steps(500 * MS, 20 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting), draft.broker(stream));
        draft.at(at, lasting, What::Crash { node, keep: Keep::All });
    };
    /// A controller dies with some of its unsynced writes.
    CRASH_CONTROLLER = "crash-controller", |draft, stream| {
        let keep = keep(stream);
        draft.crash_controller(stream, keep);
    };
    /// A leader dies with an entry that it has not synced, and bits flip in it.
    BIT_ROT = "bit-rot", |draft, stream| {
        let Some(victim) = draft.victim(stream) else { return };
        let on = anchor("quorum.appended", stream.between(2, 40), Some(victim.clone()));
        let lasting = stream.steps(100 * MS, 5 * S, 100 * MS);
        draft.at(S, 0, What::DeviceBitRot { node: victim });
        draft.on(on, lasting, What::Crash { node: me(), keep: Keep::All });
    };
    /// A node dies and does not come back.
    KILL_FOR_GOOD = "kill-for-good", |draft, stream| {
        let keep = keep(stream);
        draft.kill_for_good(stream, keep);
    };
    /// A broker dies while its puts are under way; they land later.
    CRASH_LATE_PUTS = "crash-late-puts", |draft, stream| {
        let lasting = stream.steps(5 * S, 20 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let node = draft.broker(stream);
        let fate = Fate::Late { by_us_max: stream.steps(2 * S, 40 * S, S) };
        let mine = Some(node.clone());
        let lose = What::StoreLoseAnswer { node: mine, per_mille: 800, fate, times: 0 };
        draft.at(at, 400 * MS, lose);
        draft.at(at + 300 * MS, lasting, What::Crash { node, keep: Keep::All });
    };
    /// A zone goes down.
    ZONE_FAIL = "zone-fail", |draft, stream| draft.fail_zone(stream);
    /// A zone is cut off.
    ZONE_CUT = "zone-cut", |draft, stream| {
        let lasting = stream.steps(S, 20 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let zone = format!("zone-{}", draft.zone(stream));
        let direction = *stream.pick(&[Direction::In, Direction::Out, Direction::Both]);
        draft.at(at, lasting, What::ZoneCut { zone, direction });
    };
    /// A zone loses the store, and nothing else.
    ZONE_STORE_LOST = "zone-store-lost", |draft, stream| {
        let lasting = stream.steps(S, 20 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let zone = format!("zone-{}", draft.zone(stream));
        draft.at(at, lasting, What::ZoneStoreLost { zone });
    };
    /// A broker freezes for less or more than its session.
    PAUSE_BROKER = "pause-broker", |draft, stream| {
        let lasting = stream.steps(300 * MS, 20 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting), draft.broker(stream));
        draft.at(at, lasting, What::Pause { node });
    };
    /// A controller freezes.
    PAUSE_CONTROLLER = "pause-controller", |draft, stream| {
        let lasting = stream.steps(300 * MS, 10 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting), draft.controller(stream));
        draft.at(at, lasting, What::Pause { node });
    };
    /// Short stops, as of a garbage collector.
    PAUSE_SHORT = "pause-short", |draft, stream| {
        for _ in 0..stream.between(1, 3) {
            let lasting = stream.steps(20 * MS, 900 * MS, 10 * MS);
            let (at, node) = (draft.time(stream, lasting), draft.node(stream));
            draft.at(at, lasting, What::Pause { node });
        }
    };
    /// The wall clock of a node or client steps.
    CLOCK_STEP = "clock-step", |draft, stream| {
        let (at, node) = (draft.time(stream, 0), draft.clock(stream));
        let by = stream.steps(10 * MS, 60 * S, 10 * MS) as i64;
        let by_us = if stream.chance(500) { by } else { -by };
        draft.at(at, 0, What::ClockStep { node, by_us });
    };
    /// The clock of a node or client runs fast or slow: quartz gone bad up to a VM's.
    CLOCK_DRIFT = "clock-drift", |draft, stream| {
        let lasting = stream.steps(5 * S, 40 * S, S);
        let (at, node) = (draft.time(stream, lasting), draft.clock(stream));
        let most = *stream.pick(&[200, 2_000, 50_000]);
        let ppm = match stream.between(1, 2 * most) as i32 - most as i32 {
            0 => -(most as i32),
            ppm => ppm,
        };
        draft.at(at, lasting, What::ClockDrift { node, ppm });
    };
    /// A broker is cut off from the controllers and not from the store: the classic zombie.
    ZOMBIE = "zombie", |draft, stream| {
        let lasting = stream.steps(8 * S, 25 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting), draft.broker(stream));
        let controllers = draft.controllers();
        match stream.below(3) {
            0 => draft.at(at, lasting, What::Cut { from: vec![node], to: controllers }),
            1 => draft.at(at, lasting, What::Cut { from: controllers, to: vec![node] }),
            _ => {
                let back = What::Cut { from: controllers.clone(), to: vec![node.clone()] };
                draft.at(at, lasting, What::Cut { from: vec![node], to: controllers });
                draft.at(at, lasting, back);
            }
        }
    };
    /// A broker is cut off from the store.
    CUT_STORE = "cut-store", |draft, stream| {
        let lasting = stream.steps(500 * MS, 15 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting), draft.broker(stream));
        let store = vec!["store".to_owned()];
        let (from, to) =
            if stream.chance(500) { (vec![node], store) } else { (store, vec![node]) };
        draft.at(at, lasting, What::Cut { from, to });
    };
    /// A controller loses sight of the others, one way.
    CUT_CONTROLLER = "cut-controller", |draft, stream| {
        let lasting = stream.steps(500 * MS, 12 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting), draft.controller(stream));
        let others: Vec<_> = draft.controllers().into_iter().filter(|one| *one != node).collect();
        if others.is_empty() {
            return;
        }
        let (from, to) =
            if stream.chance(500) { (vec![node], others) } else { (others, vec![node]) };
        draft.at(at, lasting, What::Cut { from, to });
    };
    /// A client can not reach some brokers: its answers are lost.
    CUT_CLIENT = "cut-client", |draft, stream| {
        let lasting = stream.steps(200 * MS, 8 * S, 100 * MS);
        let (at, client) = (draft.time(stream, lasting), draft.client(stream));
        let broker = draft.broker(stream);
        let (from, to) =
            if stream.chance(700) { (broker, client) } else { (client, broker) };
        draft.at(at, lasting, What::Cut { from: vec![from], to: vec![to] });
    };
    /// The network loses, doubles and holds back.
    LOSSY = "lossy", |draft, stream| {
        let lasting = stream.steps(S, 20 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let (drop_pm, duplicate_pm) = (stream.below(150) as u32, stream.below(100) as u32);
        let hold_pm = match stream.below(200) as u32 {
            0 if drop_pm + duplicate_pm == 0 => 1,
            hold_pm => hold_pm,
        };
        let hold_us_max = stream.steps(10 * MS, 2 * S, 10 * MS);
        draft.at(at, lasting, What::Lossy { drop_pm, duplicate_pm, hold_pm, hold_us_max });
    };
    /// A node's links are slow.
    SLOW_LINK = "slow-link", |draft, stream| {
        let lasting = stream.steps(2 * S, 25 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting), draft.node(stream));
        let mut others = draft.controllers();
        others.extend(draft.brokers());
        others.retain(|one| *one != node);
        let by_us = stream.steps(20 * MS, 1_500 * MS, 10 * MS);
        let (from, to) =
            if stream.chance(500) { (vec![node], others) } else { (others, vec![node]) };
        draft.at(at, lasting, What::SlowLink { from, to, by_us });
    };
    /// Requests of clients are held back, some for longer than their clients wait.
    STALL = "stall", |draft, stream| {
        let lasting = stream.steps(2 * S, 20 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let per_mille = *stream.pick(&[20, 100, 300]);
        let by_us_max = stream.steps(S, 12 * S, 100 * MS);
        draft.at(at, lasting, What::Stall { per_mille, by_us_max });
    };
    /// The store throttles.
    SLOW_DOWN = "slow-down", |draft, stream| {
        let lasting = stream.steps(500 * MS, 12 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let per_mille = *stream.pick(&[100, 300, 600, 900]);
        draft.at(at, lasting, What::StoreSlowDown { per_mille });
    };
    /// The store's lists have empty pages, or what it gives comes damaged.
    SPOILED = "spoiled", |draft, stream| {
        let lasting = stream.steps(S, 15 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        draft.at(at, lasting, spoiled(stream));
    };
    /// The same, while a dead broker's WAL is recovered.
    ON_RECOVERY_SPOIL = "on-recovery-spoil", |draft, stream| {
        let on = anchor("recovery.started", stream.between(1, 6), None);
        let lasting = stream.steps(200 * MS, 5 * S, 100 * MS);
        draft.on(on, lasting, spoiled(stream));
    };
    /// The store is slow.
    BROWN_OUT = "brown-out", |draft, stream| {
        let lasting = stream.steps(S, 15 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let factor = *stream.pick(&[3, 10, 30, 100]);
        draft.at(at, lasting, What::StoreBrownOut { factor });
    };
    /// Answers of the store are lost.
    LOSE_ANSWER = "lose-answer", |draft, stream| {
        let lasting = stream.steps(500 * MS, 10 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let node = stream.chance(600).then(|| draft.broker(stream));
        let per_mille = *stream.pick(&[50, 200, 500, 1_000]);
        let times = if stream.chance(500) { stream.between(1, 10) as u32 } else { 0 };
        let fate = draft.fate(stream);
        draft.at(at, lasting, What::StoreLoseAnswer { node, per_mille, fate, times });
    };
    /// Hedged puts land twice.
    DUPLICATE = "duplicate", |draft, stream| {
        let lasting = stream.steps(2 * S, 20 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let node = stream.chance(300).then(|| draft.broker(stream));
        draft.at(at, lasting, What::StoreDuplicate {
            node,
            per_mille: *stream.pick(&[50, 200, 500]),
            later_us_max: stream.steps(100 * MS, 30 * S, 100 * MS),
        });
    };
    /// A controller's device fails a sync: the device is given up.
    SYNC_FAIL = "sync-fail", |draft, stream| {
        let at = draft.time(stream, 0);
        let which = stream.below(draft.controller_count());
        if draft.spoil_controller(which as usize, at) {
            draft.at(at, 0, What::DeviceSyncFail { node: format!("controller-{which}") });
        }
    };
    /// A controller's device is full for a while.
    DEVICE_FULL = "device-full", |draft, stream| {
        let lasting = stream.steps(S, 10 * S, 100 * MS);
        let at = draft.time(stream, lasting);
        let which = stream.below(draft.controller_count());
        if draft.spoil_controller(which as usize, at) {
            draft.at(at, lasting, What::DeviceFull { node: format!("controller-{which}") });
        }
    };
    /// A broker is shut down in order.
    DRAIN = "drain", |draft, stream| {
        let lasting = stream.steps(2 * S, 12 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting), draft.broker(stream));
        draft.at(at, lasting, What::Drain { node });
    };
    /// A broker is shut down in order while a lookup by timestamp reads an object.
    ON_SEARCH_DRAIN = "on-search-drain", |draft, stream| {
        let on = anchor("search.beyond_cache", stream.between(1, 8), None);
        let lasting = stream.steps(2 * S, 12 * S, 100 * MS);
        draft.on(on, lasting, What::Drain { node: me() });
    };
    /// A broker dies between sending a WAL put and hearing of it; the put lands late.
    ON_PUT_CRASH = "on-put-crash", |draft, stream| {
        let on = anchor("wal.put.sent", stream.between(3, 120), None);
        let lasting = stream.steps(8 * S, 20 * S, 100 * MS);
        let fate = Fate::Late { by_us_max: stream.steps(5 * S, 40 * S, S) };
        draft.on(on.clone(), 100 * MS, lose_one(fate));
        let after_us = stream.steps(0, 20 * MS, MS);
        draft.on(Anchor { after_us, ..on }, lasting, What::Crash { node: me(), keep: Keep::All });
    };
    /// A broker freezes, for longer than its session, with a WAL put under way.
    ON_PUT_PAUSE = "on-put-pause", |draft, stream| {
        let on = anchor("wal.put.sent", stream.between(3, 120), None);
        let lasting = stream.steps(9_500 * MS, 20 * S, 100 * MS);
        draft.on(on, lasting, What::Pause { node: me() });
    };
    /// The answer to a WAL put is lost.
    ON_PUT_LOSE = "on-put-lose", |draft, stream| {
        let on = anchor("wal.put.sent", stream.between(1, 150), None);
        let fate = draft.fate(stream);
        draft.on(on, S, lose_one(fate));
    };
    /// A broker freezes between knowing that its put is durable and having checked its claim.
    ON_VERIFY_PAUSE = "on-verify-pause", |draft, stream| {
        let on = anchor("wal.verify.sent", stream.between(3, 120), None);
        let lasting = stream.steps(9_500 * MS, 20 * S, 100 * MS);
        draft.on(on, lasting, What::Pause { node: me() });
    };
    /// The answer to a claim is lost.
    ON_CLAIM_LOSE = "on-claim-lose", |draft, stream| {
        let on = anchor("claim.sent", stream.between(1, 6), None);
        let fate = draft.fate(stream);
        draft.on(on, 2 * S, lose_one(fate));
    };
    /// A broker dies, and the one that takes over its WAL dies or freezes in the middle of it.
    DOUBLE_FAILURE = "double-failure", |draft, stream| {
        let lasting = stream.steps(11 * S, 22 * S, 100 * MS);
        let (at, node) = (draft.time(stream, lasting + 10 * S), draft.broker(stream));
        draft.at(at, lasting, What::Crash { node, keep: Keep::All });
        let probe = *stream.pick(&["recovery.started", "recovery.listed", "recovery.took"]);
        let on = Anchor { after_us: stream.steps(0, 60 * MS, MS), ..anchor(probe, 1, None) };
        let lasting = stream.steps(S, 15 * S, 100 * MS);
        if stream.chance(700) {
            draft.on(on, lasting, What::Crash { node: me(), keep: Keep::All });
        } else {
            draft.on(on, lasting, What::Pause { node: me() });
        }
    };
    /// The recoverer dies whenever somebody starts to recover.
    ON_RECOVERY_CRASH = "on-recovery-crash", |draft, stream| {
        let on = anchor("recovery.listed", stream.between(1, 3), None);
        let lasting = stream.steps(S, 12 * S, 100 * MS);
        draft.on(on, lasting, What::Crash { node: me(), keep: Keep::All });
    };
    /// The answer to a commit is cut off.
    ON_COMMIT_CUT = "on-commit-cut", |draft, stream| {
        let on = anchor("upload.commit.sent", stream.between(1, 20), None);
        let lasting = stream.steps(100 * MS, 12 * S, 100 * MS);
        let controllers = draft.controllers();
        draft.on(on, lasting, What::Cut { from: controllers, to: vec![me()] });
    };
    /// A broker dies between upload and commit, or between commit and trim.
    ON_UPLOAD_CRASH = "on-upload-crash", |draft, stream| {
        let probe = *stream.pick(&["upload.put.sent", "upload.commit.sent", "upload.committed"]);
        let on = Anchor {
            after_us: stream.steps(0, 10 * MS, MS),
            ..anchor(probe, stream.between(1, 20), None)
        };
        let lasting = stream.steps(S, 20 * S, 100 * MS);
        draft.on(on, lasting, What::Crash { node: me(), keep: Keep::All });
    };
    /// A leader dies with an entry that it has not synced.
    ON_APPEND_CRASH = "on-append-crash", |draft, stream| {
        let Some(victim) = draft.victim(stream) else { return };
        let on = anchor("quorum.appended", stream.between(2, 60), Some(victim));
        let keep = *stream.pick(&[Keep::None, Keep::None, Keep::Torn, Keep::Prefix, Keep::Subset]);
        let lasting = stream.steps(100 * MS, 8 * S, 100 * MS);
        draft.on(on, lasting, What::Crash { node: me(), keep });
    };
    /// A voter dies as it grants a vote, or a leader as it wins.
    ON_VOTE_CRASH = "on-vote-crash", |draft, stream| {
        let Some(victim) = draft.victim(stream) else { return };
        let probe = *stream.pick(&["quorum.voted", "quorum.became_leader"]);
        let on = anchor(probe, stream.between(1, 3), Some(victim));
        let lasting = stream.steps(100 * MS, 3 * S, 100 * MS);
        draft.on(on, lasting, What::Crash { node: me(), keep: Keep::None });
    };
    /// A leader freezes for as long as the others need to stand against each other; awake again,
    /// and asked by both, it votes, and dies before its answer has left the machine.
    SPLIT_VOTE = "split-vote", |draft, stream| {
        let Some(victim) = draft.victim(stream) else { return };
        let led = Anchor {
            after_us: stream.steps(S, 15 * S, 100 * MS),
            ..anchor("quorum.became_leader", 1, Some(victim.clone()))
        };
        let lasting = stream.steps(1_900 * MS, 2_150 * MS, 50 * MS);
        draft.on(led, lasting, What::Pause { node: me() });
        // Its first vote was its own.
        let voted = anchor("quorum.voted", 2, Some(victim));
        let controllers = draft.controllers();
        draft.on(voted.clone(), 100 * MS, What::Cut { from: vec![me()], to: controllers });
        draft.on(voted, 10 * MS, What::Crash { node: me(), keep: Keep::None });
    };
    /// A broker dies with puts under way, comes back while they are still out, gets partitions from
    /// one that is shut down in order, and dies again: whoever recovers it finds in its WAL what
    /// landed for the epoch that was sealed before.
    ON_PUT_CRASH_TWICE = "on-put-crash-twice", |draft, stream| {
        let node = draft.broker(stream);
        let others: Vec<_> = draft.brokers().into_iter().filter(|one| *one != node).collect();
        let other = stream.pick(&others).clone();
        let sent = anchor("wal.put.sent", stream.between(3, 80), Some(node.clone()));
        let fate = Fate::Late { by_us_max: stream.steps(18 * S, 30 * S, S) };
        let lose = What::StoreLoseAnswer { node: Some(me()), per_mille: 1_000, fate, times: 0 };
        draft.on(sent.clone(), S, lose);
        let crash = || What::Crash { node: node.clone(), keep: Keep::All };
        let after_us = stream.steps(100 * MS, 900 * MS, 100 * MS);
        let lasting = stream.steps(500 * MS, 8 * S, 100 * MS);
        draft.on(Anchor { after_us, ..sent }, lasting, crash());
        let back = anchor("broker.unfenced", 2, Some(node.clone()));
        let rests = stream.steps(4 * S, 10 * S, 100 * MS);
        draft.on(back.clone(), rests, What::Drain { node: other });
        // Before its first upload: then what it wrote since is still needed.
        let after_us = stream.steps(300 * MS, 2_500 * MS, 100 * MS);
        draft.on(Anchor { after_us, ..back }, stream.steps(S, 15 * S, 100 * MS), crash());
    };
    /// While transactions end, requests are held back for longer than their clients wait: a marker
    /// comes when its producer's next transaction is under way.
    ON_MARKER_STALL = "on-marker-stall", |draft, stream| {
        let on = anchor("txn.marker_appended", stream.between(1, 120), None);
        let lasting = stream.steps(50 * MS, 1_500 * MS, 50 * MS);
        let by_us_max = stream.steps(5 * S, 12 * S, 100 * MS);
        draft.on(on, lasting, What::Stall { per_mille: 400, by_us_max });
    };
    /// A coordinator dies or freezes as soon as a decision is durable: its successor has to carry
    /// it out.
    ON_DECIDED = "on-decided", |draft, stream| {
        let on = Anchor {
            after_us: stream.steps(0, 20 * MS, MS),
            ..anchor("txn.decided", stream.between(1, 60), None)
        };
        let lasting = stream.steps(2 * S, 15 * S, 100 * MS);
        if stream.chance(500) {
            draft.on(on, lasting, What::Pause { node: me() });
        } else {
            draft.on(on, lasting, What::Crash { node: me(), keep: Keep::All });
        }
    };
    /// While a transaction is written down, what brokers say to one another is held back: an answer
    /// of the coordinator comes when the transaction is over.
    ON_TXN_HOLD = "on-txn-hold", |draft, stream| {
        let on = anchor("txn.recorded", stream.between(1, 120), None);
        let lasting = stream.steps(50 * MS, 1_500 * MS, 50 * MS);
        let hold_us_max = stream.steps(500 * MS, 3 * S, 100 * MS);
        let (drop_pm, duplicate_pm, hold_pm) = (20, 200, 400);
        draft.on(on, lasting, What::Lossy { drop_pm, duplicate_pm, hold_pm, hold_us_max });
    };
    /// A leader that has just served a fetch loses the other controllers.
    ON_FETCH_CUT = "on-fetch-cut", |draft, stream| {
        let on = anchor("quorum.fetch_served", stream.between(10, 400), None);
        let lasting = stream.steps(S, 10 * S, 100 * MS);
        let controllers = draft.controllers();
        if controllers.len() == 1 {
            return;
        }
        let (from, to) = match stream.below(3) {
            0 => (vec![me()], controllers),
            1 => (controllers, vec![me()]),
            _ => {
                let back = What::Cut { from: controllers.clone(), to: vec![me()] };
                draft.on(on.clone(), lasting, back);
                (vec![me()], controllers)
            }
        };
        draft.on(on, lasting, What::Cut { from, to });
    };
    /// A new leader freezes for longer than the others wait.
    ON_LEADER_PAUSE = "on-leader-pause", |draft, stream| {
        let on = Anchor {
            after_us: stream.steps(0, 5 * S, 10 * MS),
            ..anchor("quorum.became_leader", stream.between(1, 3), None)
        };
        let lasting = stream.steps(2 * S, 9 * S, 100 * MS);
        draft.on(on, lasting, What::Pause { node: me() });
    };
    /// A partition's new leader dies or freezes as it opens.
    ON_OPEN_PAUSE = "on-open-pause", |draft, stream| {
        let on = anchor("partition.opened", stream.between(1, 15), None);
        let lasting = stream.steps(2 * S, 15 * S, 100 * MS);
        if stream.chance(500) {
            draft.on(on, lasting, What::Pause { node: me() });
        } else {
            draft.on(on, lasting, What::Crash { node: me(), keep: Keep::All });
        }
    };
}

fn me() -> String {
    "self".to_owned()
}

fn anchor(probe: &str, nth: u64, node: Option<String>) -> Anchor {
    let nth = u32::try_from(nth).expect("recipes draw small numbers");
    Anchor { probe: probe.to_owned(), node, nth, after_us: 0 }
}

fn spoiled(stream: &mut Stream) -> What {
    let per_mille = *stream.pick(&[200, 500, 900]);
    if stream.chance(500) {
        What::StoreEmptyPage { per_mille }
    } else {
        What::StoreDamage { per_mille }
    }
}

fn lose_one(fate: Fate) -> What {
    What::StoreLoseAnswer { node: Some(me()), per_mille: 1_000, fate, times: 1 }
}
