//! The random steps of a schedule: what the processes do, and what the store does to them.

use super::*;

impl Run {
    /// One random step.
    pub(super) fn step(&mut self) {
        match self.rng.below(10) {
            0 | 1 => self.append(),
            2 | 3 => self.timer(),
            4 => self.ask(),
            5 if self.faults && !self.late.is_empty() && self.rng.percent(40) => {
                let op = self.rng.below(self.late.len());
                let op = self.late.swap_remove(op);
                self.apply(&op);
            }
            5 => self.refresh_images(),
            6 | 7 if !self.answers.is_empty() => {
                let pick = self.rng.below(self.answers.len());
                let (actor, tok, result) = self.answers.swap_remove(pick);
                self.answer(actor, tok, result);
            }
            _ => self.object_op(),
        }
    }

    fn append(&mut self) {
        let at = self.rng.below(self.actors.len());
        let (stream, salt) = (StreamId(self.rng.next() % STREAMS), self.rng.next());
        let cx = self.cx();
        let actor = &mut self.actors[at];
        let Machine::Owner(owner) = &mut actor.machine else { return };
        if owner.halted || !owner.upload.has_room() {
            return;
        }
        let Some(next) = owner.next.as_mut().and_then(|next| next.get_mut(&stream)) else { return };
        let record = WalRecord {
            stream,
            epoch: LeaderEpoch(owner.epoch.0 as u32),
            base: *next,
            end: next.next(),
            batch: Bytes::copy_from_slice(&salt.to_be_bytes()),
        };
        if owner.wal.append(&cx, record, &mut actor.desk.out).is_ok() {
            *next = next.next();
        }
        self.collect(at, Vec::new(), Vec::new(), Vec::new());
    }

    fn timer(&mut self) {
        let at = self.rng.below(self.actors.len());
        let cx = self.cx();
        let pick = self.rng.below(64);
        let actor = &mut self.actors[at];
        let armed = actor.desk.timers.len();
        if armed == 0 {
            return;
        }
        let key = *actor.desk.timers.keys().nth(pick % armed).expect("armed");
        actor.desk.timers.remove(&key);
        let out = &mut actor.desk.out;
        let (mut wal, mut upload, mut recovery) = (Vec::new(), Vec::new(), Vec::new());
        match &mut actor.machine {
            Machine::Owner(owner) if owner.halted => {}
            Machine::Owner(owner) => {
                owner.wal.timer(&cx, key, out, &mut wal);
                owner.upload.timer(&cx, key, out, &mut upload);
            }
            Machine::Recoverer(it) => it.recovery.timer(&cx, &it.image, out, &mut recovery),
        }
        self.collect(at, wal, upload, recovery);
    }

    /// A question reaches the controller; the answer may get lost, and copies may come later.
    fn ask(&mut self) {
        if self.faults && self.rng.percent(10) && !self.copies.is_empty() {
            let copy = self.rng.below(self.copies.len());
            let (from, request) = self.copies.swap_remove(copy);
            let _ = self.controller.handle(from, &request);
            return;
        }
        let at = self.rng.below(self.actors.len());
        if self.actors[at].asks.is_empty() {
            return;
        }
        let pick = self.rng.below(self.actors[at].asks.len());
        let (id, request) = self.actors[at].asks[pick].clone();
        let from = match &self.actors[at].machine {
            Machine::Owner(_) => NODE,
            Machine::Recoverer(it) => it.me.0,
        };
        let result = self.controller.handle(from, &request);
        if self.faults && self.rng.percent(30) {
            return;
        }
        if self.faults && self.rng.percent(20) {
            self.copies.push((from, request));
        }
        let cx = self.cx();
        let actor = &mut self.actors[at];
        actor.asks.remove(pick);
        let out = &mut actor.desk.out;
        let (mut upload, mut recovery) = (Vec::new(), Vec::new());
        match &mut actor.machine {
            Machine::Owner(owner) if owner.halted => {}
            Machine::Owner(owner) => owner.upload.answered(&cx, id, result, out, &mut upload),
            Machine::Recoverer(it) => {
                it.recovery.answered(&cx, id, result, &it.image, out, &mut recovery);
            }
        }
        self.collect(at, Vec::new(), upload, recovery);
    }

    /// A recoverer hears of the newest metadata.
    pub(super) fn refresh_images(&mut self) {
        let at = self.rng.below(self.actors.len());
        let cx = self.cx();
        let actor = &mut self.actors[at];
        let Machine::Recoverer(it) = &mut actor.machine else { return };
        it.image = self.controller.image.clone();
        let mut events = Vec::new();
        it.recovery.image_changed(&cx, &it.image, &mut actor.desk.out, &mut events);
        self.collect(at, Vec::new(), Vec::new(), events);
    }

    /// One operation on the store ends, well or badly.
    fn object_op(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let pick = self.rng.below(self.sent.len());
        let Sent { actor, tok, op } = self.sent.swap_remove(pick);
        let fate = if self.faults { self.rng.below(20) } else { 20 };
        let result = match fate {
            0 => ObjResult::Unknown,
            1 => {
                self.apply(&op);
                ObjResult::Unknown
            }
            2 | 3 => {
                self.late.push(op);
                ObjResult::Unknown
            }
            4 => ObjResult::SlowDown,
            5 => {
                self.late.push(op.clone());
                self.apply(&op)
            }
            _ => self.apply(&op),
        };
        self.answers.push((actor, tok, result));
    }

    fn apply(&mut self, op: &ObjOp) -> ObjResult {
        let result = self.store.apply(op);
        if let (ObjOp::Put { key, .. }, ObjResult::Done { .. }) = (op, &result) {
            if let Some(wal) = parse_wal_key(key) {
                let sealed = self.controller.image.wals[&(NODE, wal.epoch)].sealed;
                self.seen.zombie_puts += usize::from(sealed.is_some());
                let starts = self.landed.entry(wal.epoch).or_default();
                starts.extend((wal.start.0..wal.end.0).map(Lsn));
            }
            if parse_claim_key(key).is_some() {
                self.claim_landed(key);
            }
        }
        result
    }

    /// Whoever recovers a WAL has claimed it: what its owner confirms must be there already.
    fn claim_landed(&mut self, key: &crate::step::Key) {
        let (_, body) = &self.store.objects[key];
        let claim = record::decode_claim(body).expect("whole");
        if claim.claimant == NODE {
            return;
        }
        let recovers = |actor: &&Actor| match &actor.machine {
            Machine::Recoverer(it) => it.me == (claim.claimant, claim.epoch),
            Machine::Owner(_) => false,
        };
        if self.actors.iter().any(|actor| recovers(&actor)) {
            self.seen.takeovers += 1;
            let wals = self.controller.image.wals.keys();
            for &(_, epoch) in wals.filter(|(_, epoch)| *epoch < claim.epoch) {
                let landed = self.landed.get(&epoch).cloned().unwrap_or_default();
                self.at_claim.entry(epoch).or_insert(landed);
            }
        }
    }

    fn answer(&mut self, at: usize, tok: Tok, result: ObjResult) {
        let cx = self.cx();
        let actor = &mut self.actors[at];
        let out = &mut actor.desk.out;
        let (mut wal, mut upload, mut recovery) = (Vec::new(), Vec::new(), Vec::new());
        match &mut actor.machine {
            Machine::Owner(owner) if owner.halted => {}
            Machine::Owner(owner) if tok.flow == Flow::Upload => {
                owner.upload.obj_done(&cx, tok, result, out, &mut upload);
            }
            Machine::Owner(owner) => owner.wal.obj_done(&cx, tok, result, out, &mut wal),
            Machine::Recoverer(it) => {
                it.recovery.obj_done(&cx, tok, result, &it.image, out, &mut recovery);
            }
        }
        self.collect(at, wal, upload, recovery);
    }

    /// A process ends; what it has sent may still take effect.
    pub(super) fn crash(&mut self, at: usize) {
        let (gone, sent) = core::mem::take(&mut self.sent).into_iter().partition(|s| s.actor == at);
        self.sent = sent;
        let gone: Vec<Sent> = gone;
        self.late.extend(gone.into_iter().map(|sent| sent.op));
        self.answers.retain(|&(actor, ..)| actor != at);
        let actor = &mut self.actors[at];
        actor.asks.clear();
        actor.desk.timers.clear();
        match &mut actor.machine {
            Machine::Owner(owner) => owner.halted = true,
            Machine::Recoverer(_) => {}
        }
    }

    pub(super) fn steps(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }
}
