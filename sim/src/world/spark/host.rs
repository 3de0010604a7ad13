//! What happens to a query's processes in a step, and what their driver asks of its host.

use std::mem;

use broker_core::step::{Key, ObjOp, ObjResult, Outbox};
use invariants::handoff::{Handoff, RunNumber};
use invariants::history::SimTime;
use invariants::view::Evidence;
use workloads::spark::driver::Driver;
use workloads::spark::step::{
    Answer, AskTok, Event, ExecutorId, RunId, SinkAnswer, SparkIn, SparkOut,
};

use super::{Of, Place, Spark, SparkLaunch, SparkStep, SparkTicket, told};
use crate::world::scene::{Asked, StoreAsk, Ticket};
use crate::world::step::{Launch, Sink};
use crate::world::{Judged, World};

impl World {
    /// A step of the query.
    pub(in crate::world) fn apply_to_spark<S: Sink>(
        &mut self,
        at: SimTime,
        place: Place,
        step: SparkStep,
        sink: &mut S,
    ) -> Judged {
        let spark = self.spark();
        let it = spark.at_mut(place);
        match step {
            SparkStep::Start => return self.start_driver(at, place, sink),
            SparkStep::GoOn => it.at_mark = false,
            SparkStep::Timer(key) => {
                it.timers.disarm(key);
                it.inbox.push_back(SparkIn::Timer(key));
            }
            SparkStep::Kill => return self.bury_driver(at, place, sink),
            SparkStep::Stop => it.inbox.push_front(SparkIn::Stop),
            SparkStep::Freeze => it.frozen = true,
            SparkStep::Thaw => {
                it.frozen = false;
                if it.at_mark {
                    sink.launched(Launch::Spark(place, SparkLaunch::GoOn));
                }
            }
            SparkStep::LoseExecutor(which) => return self.lose_executor(at, place, which, sink),
            SparkStep::RaiseExecutor(which) => {
                it.up[usize::from(which)] = true;
                it.inbox.push_back(SparkIn::ExecutorUp(ExecutorId(which)));
            }
            SparkStep::FailTask => it.failing += 1,
            SparkStep::LoseEntry => self.lose_entry(),
            SparkStep::LoseCommits => self.lose_files("/commits/", |_, _| true),
        }
        Ok(())
    }

    /// Lets drivers and errands go on as far as they can now.
    pub(in crate::world) fn run_spark<S: Sink>(&mut self, at: SimTime, sink: &mut S) -> Judged {
        loop {
            self.settle_errands(at, sink)?;
            let processes = self.scene.spark.as_ref().map(|spark| &spark.processes);
            let ready = |at: &usize| processes.is_some_and(|all| all[*at].is_ready());
            let Some(number) = (0..2).find(ready) else { return Ok(()) };
            let place = Place(number as u8);
            let it = self.spark().at_mut(place);
            match it.asked.pop_front() {
                Some(asked) => self.carry_out_spark(at, place, asked, sink)?,
                None => {
                    let input = it.inbox.pop_front().expect("it is ready");
                    self.tell_driver(at, place, input, sink);
                }
            }
        }
    }

    pub(super) fn spark(&mut self) -> &mut Spark {
        self.scene.spark.as_mut().expect("a world with a query")
    }

    fn tell_driver<S: Sink>(&mut self, at: SimTime, place: Place, input: SparkIn, sink: &mut S) {
        let endpoint = self.spark().driver_at(place);
        let cx = self.cx(at, endpoint, sink);
        let it = self.spark().at_mut(place);
        let mut out = Outbox::default();
        it.driver.as_mut().expect("it is ready").step(&cx, input, &mut out);
        for effect in out.drain() {
            sink.spark_effect(endpoint, &effect);
            it.asked.push_back(effect);
        }
    }

    fn carry_out_spark<S: Sink>(
        &mut self,
        at: SimTime,
        place: Place,
        asked: SparkOut,
        sink: &mut S,
    ) -> Judged {
        match asked {
            SparkOut::Store(tok, op) => {
                self.ask_store_for((place, tok), Of::Checkpoint, op, sink);
                Ok(())
            }
            SparkOut::Kafka(tok, ask) => self.ask_kafka(at, place, tok, ask, sink),
            SparkOut::Sink(tok, ask) => self.ask_sink(at, place, tok, ask, sink),
            SparkOut::Arm { key, after } => {
                self.spark().at_mut(place).timers.arm(key);
                sink.launched(Launch::Spark(place, SparkLaunch::Timer(key, after)));
                Ok(())
            }
            SparkOut::Disarm(key) => {
                self.spark().at_mut(place).timers.disarm(key);
                Ok(())
            }
            SparkOut::Observe(event) => self.noticed(at, place, event, sink),
        }
    }

    fn noticed<S: Sink>(
        &mut self,
        at: SimTime,
        place: Place,
        event: Event,
        sink: &mut S,
    ) -> Judged {
        let it = self.spark().at_mut(place);
        match &event {
            Event::Running { batch, .. } | Event::Skipped(batch) => it.batch = *batch,
            Event::Idle => it.idle += 1,
            Event::Reached(point) => {
                // Whatever is asked behind the mark waits, so that a driver can die at it.
                it.at_mark = true;
                let driver = it.clients[0];
                sink.spark_mark(driver, *point);
                sink.launched(Launch::Spark(place, SparkLaunch::GoOn));
            }
            Event::Ended(_) => {
                self.bury_driver(at, place, sink)?;
                sink.launched(Launch::Spark(place, SparkLaunch::Over));
                return Ok(());
            }
            _ => {}
        }
        if !matches!(event, Event::Idle) {
            it.idle = 0;
        }
        match told::event(RunNumber(it.run), it.batch, event) {
            Some(handoff) => self.hand(at, &handoff, sink),
            None => Ok(()),
        }
    }

    /// Shows something of the handoff.
    pub(super) fn hand<S: Sink>(&mut self, at: SimTime, handoff: &Handoff, sink: &mut S) -> Judged {
        self.show(at, &Evidence::Handoff(handoff), sink)
    }

    fn start_driver<S: Sink>(&mut self, at: SimTime, place: Place, sink: &mut S) -> Judged {
        let spark = self.spark();
        spark.runs += 1;
        let (run, config) = (spark.runs, spark.query.config(spark.mutants));
        let terms = told::terms(&spark.query);
        let it = spark.at_mut(place);
        it.driver = Some(Driver::new(config, RunId(run)));
        it.inbox.push_back(SparkIn::Boot);
        it.up.fill(true);
        it.run = run;
        self.hand(at, &Handoff::Started(RunNumber(run), terms), sink)
    }

    /// The processes of a place are gone: what they asked for may still happen.
    fn bury_driver<S: Sink>(&mut self, at: SimTime, place: Place, sink: &mut S) -> Judged {
        let it = self.spark().at_mut(place);
        it.driver = None;
        it.inbox.clear();
        it.asked.clear();
        it.timers.clear();
        it.errands.clear();
        (it.at_mark, it.frozen, it.transaction, it.failing, it.idle) = (false, false, None, 0, 0);
        (it.listing, it.listing_failed, it.broken) = (None, false, false);
        it.up.fill(false);
        let (run, clients) = (RunNumber(it.run), it.clients.clone());
        for client in &clients {
            self.bury_client(at, *client, sink)?;
        }
        self.orphan_asks(clients[0], sink);
        sink.launched(Launch::Spark(place, SparkLaunch::Gone));
        self.hand(at, &Handoff::Gone(run), sink)
    }

    fn lose_executor<S: Sink>(
        &mut self,
        at: SimTime,
        place: Place,
        which: u16,
        sink: &mut S,
    ) -> Judged {
        let it = self.spark().at_mut(place);
        it.up[usize::from(which)] = false;
        it.inbox.push_back(SparkIn::ExecutorLost(ExecutorId(which)));
        let client = it.clients[1 + usize::from(which)];
        it.errands.retain(|_, errand| errand.client != client);
        self.bury_client(at, client, sink)
    }

    fn bury_client<S: Sink>(
        &mut self,
        at: SimTime,
        client: crate::world::layout::Endpoint,
        sink: &mut S,
    ) -> Judged {
        let number = self.scene.layout.client_number(client);
        let config = self.scene.layout.client_config(number.into());
        let slot = self.scene.client_mut(client);
        slot.timers.clear();
        slot.client.reborn(config, &mut self.client_effects);
        let mut effects = mem::take(&mut self.client_effects);
        let mut judged = Ok(());
        for effect in effects.drain() {
            if judged.is_ok() {
                sink.client_effect(client, &effect);
                judged = self.carry_out_client(at, client, effect, sink);
            }
        }
        self.client_effects = effects;
        judged
    }

    pub(super) fn ask_store_for<S: Sink>(
        &mut self,
        (place, tok): (Place, AskTok),
        of: Of,
        op: ObjOp,
        sink: &mut S,
    ) {
        let node = self.spark().driver_at(place);
        let ticket = Ticket::Spark(SparkTicket { place, tok, of });
        let ask = StoreAsk { node, ticket, op, stage: Asked::OnItsWay, orphan: false };
        sink.launched(Launch::Store(self.scene.asks.insert(ask)));
    }

    /// The store has answered, or was given up waiting for.
    pub(in crate::world) fn spark_stored<S: Sink>(
        &mut self,
        ticket: SparkTicket,
        op: &ObjOp,
        result: ObjResult,
        sink: &mut S,
    ) {
        let SparkTicket { place, tok, of } = ticket;
        let answer = match of {
            Of::Checkpoint => Answer::Store(result),
            Of::TableVersions => match self.versions_listed((place, tok), op, result, sink) {
                Some(answer) => Answer::Sink(answer),
                None => return,
            },
            Of::NewestVersion => Answer::Sink(self.version_read(&result)),
            Of::Version(_) => Answer::Sink(match result {
                ObjResult::Done { .. } => {
                    self.spark().at_mut(place).table_version += 1;
                    SinkAnswer::Done
                }
                ObjResult::PreconditionFailed | ObjResult::NotFound => SinkAnswer::Conflict,
                ObjResult::SlowDown => SinkAnswer::Refused,
                ObjResult::Unknown | ObjResult::Body { .. } | ObjResult::Keys { .. } => {
                    SinkAnswer::Unknown
                }
            }),
        };
        let it = self.spark().at_mut(place);
        if it.driver.is_some() {
            it.inbox.push_back(SparkIn::Answer(tok, answer));
        }
    }

    /// The checkpoint loses files, as when an old backup is restored.
    fn lose_files(&mut self, folder: &str, fits: impl Fn(usize, usize) -> bool) {
        let root = self.spark().query.config(Default::default()).checkpoint.root;
        let prefix = format!("{root}{folder}");
        let mut keys: Vec<Key> = self.scene.store.keys(&prefix).cloned().collect();
        // Entries are named by number, and sort as text.
        keys.sort_by_key(|key| key.0[prefix.len()..].parse::<u64>().ok());
        let count = keys.len();
        for (number, key) in keys.into_iter().enumerate() {
            if fits(number, count) {
                self.scene.store.perform(&ObjOp::Delete { key });
            }
        }
    }

    fn lose_entry(&mut self) {
        self.lose_files("/offsets/", |number, count| number + 1 == count);
    }
}
