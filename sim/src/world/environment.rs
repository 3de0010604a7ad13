//! What the environment does in a step: store, devices, broken connections, crashes, weather.

use broker_core::ids::ConnId;
use broker_core::step::{Input, ObjOp, ObjResult};
use invariants::history::SimTime;
use invariants::view::{Evidence, NodeEvent};

use crate::plan::Keep;
use crate::world::layout::Endpoint;
use crate::world::log_device::Loss;
use crate::world::scene::{Asked, Scene, StoreAsk, Ticket};
use crate::world::slab::Handle;
use crate::world::spark::{Of, SparkTicket};
use crate::world::step::{HandOver, Launch, Sink, Step};
use crate::world::weather::FaultId;
use crate::world::{Judged, World};

impl World {
    /// A step of the object store.
    pub(super) fn apply_to_store<S: Sink>(
        &mut self,
        at: SimTime,
        step: &Step,
        sink: &mut S,
    ) -> Judged {
        match *step {
            Step::StoreTake(handle) => self.store_take(at, handle, None, sink),
            Step::StoreDamage(handle, lot) => self.store_take(at, handle, Some(lot), sink),
            Step::StoreRefuse(handle) => self.store_say(at, handle, ObjResult::SlowDown, sink),
            Step::StoreConflict(handle) => {
                self.store_say(at, handle, ObjResult::PreconditionFailed, sink)
            }
            Step::StoreEmptyPage(handle) => {
                let page = ObjResult::Keys { keys: Vec::new(), more: true };
                self.store_say(at, handle, page, sink)
            }
            Step::StoreAnswer(handle) => self.store_answer(at, handle, sink),
            Step::StoreGiveUp(handle) => self.store_give_up(at, handle, sink),
            Step::StoreForget(handle) => {
                self.store_forget(handle);
                Ok(())
            }
            Step::StoreDuplicate(handle) => {
                let mut copy = self.scene.asks.get(handle).expect("enabled").clone();
                copy.orphan = true;
                sink.launched(Launch::Copy(self.scene.asks.insert(copy)));
                Ok(())
            }
            _ => unreachable!("{step:?} is no step of the store"),
        }
    }

    /// A step that only a hostile environment takes, or that ends its hostility.
    pub(super) fn apply_mishap<S: Sink>(
        &mut self,
        at: SimTime,
        step: &Step,
        sink: &mut S,
    ) -> Judged {
        match *step {
            Step::Lose(handle) => drop(self.scene.messages.remove(handle)),
            Step::Duplicate(handle) => {
                let copy = self.scene.messages.get(handle).expect("enabled").clone();
                sink.launched(Launch::Message(self.scene.messages.insert(copy)));
            }
            Step::Break(conn) => self.break_off(conn, sink),
            Step::Crash(node, keep, lot) => return self.bury(at, node, Some((keep, lot)), sink),
            Step::Pause(node) => {
                self.scene.slots[node.index()].paused = true;
                if self.elsewhere.is_some() {
                    sink.handed_over(HandOver::Pause(node));
                }
                return self.node_event(at, node, NodeEvent::Paused, sink);
            }
            Step::Resume(node) => {
                self.scene.slots[node.index()].paused = false;
                if self.elsewhere.is_some() {
                    sink.handed_over(HandOver::Resume(node));
                }
                return self.node_event(at, node, NodeEvent::Resumed, sink);
            }
            Step::ClockStep(who, by_us) => self.scene.clocks[who.index()].step(by_us),
            Step::ClockDrift(who, ppm) => self.scene.clocks[who.index()].set_drift(at, ppm),
            Step::SyncFail(node, fail) => self.scene.devices[node.index()].fail_next_sync(fail),
            Step::DeviceFull(node, full) => {
                if self.scene.devices[node.index()].set_full(full) {
                    sink.launched(Launch::Device(node));
                }
            }
            Step::BitRot(node, rot) => self.scene.devices[node.index()].rot_at_crash(rot),
            Step::Impose(fault, on) => return self.impose(at, fault, on, sink),
            Step::Lift(fault) => {
                return self.change_weather(at, sink, |scene| scene.weather.lift(fault));
            }
            Step::Exile(node) => self.scene.outside.insert(node),
            Step::Outlast(fault) => self.scene.lasting.push(fault),
            Step::Heal => return self.heal(at, sink),
            _ => unreachable!("{step:?} is no mishap"),
        }
        Ok(())
    }

    pub(super) fn break_off<S: Sink>(&mut self, conn: ConnId, sink: &mut S) {
        let (up, down) = self.scene.connection_mut(conn).expect("enabled").break_off();
        if up {
            sink.launched(Launch::Up { conn, end: true });
        }
        if down {
            sink.launched(Launch::Down { conn, end: true });
        }
    }

    pub(super) fn store_take<S: Sink>(
        &mut self,
        at: SimTime,
        handle: Handle,
        damage: Option<u64>,
        sink: &mut S,
    ) -> Judged {
        let ask = self.scene.asks.get(handle).expect("enabled");
        let (of, op) = ((ask.node, ask.ticket, ask.orphan), ask.op.clone());
        let mut result = self.scene.store.perform(&op);
        if let Some(lot) = damage {
            result = damaged(result, lot);
        }
        self.store_shown(at, of, &op, &result, sink)?;
        self.store_settle(handle, result);
        Ok(())
    }

    /// What the store makes of an operation is evidence. Of a query's it is told in its own words.
    fn store_shown<S: Sink>(
        &mut self,
        at: SimTime,
        (node, ticket, late): (Endpoint, Ticket, bool),
        op: &ObjOp,
        result: &ObjResult,
        sink: &mut S,
    ) -> Judged {
        match ticket {
            Ticket::Node(tok) => {
                let node = self.scene.layout.node(node);
                self.show(at, &Evidence::Store { node, tok, op, result, late }, sink)
            }
            Ticket::Spark(SparkTicket { of: Of::Version(number), .. })
                if matches!(result, ObjResult::Done { .. }) =>
            {
                self.table_took(at, number, sink)
            }
            Ticket::Spark(_) => Ok(()),
        }
    }

    /// The store answers without doing anything.
    pub(super) fn store_say<S: Sink>(
        &mut self,
        at: SimTime,
        handle: Handle,
        result: ObjResult,
        sink: &mut S,
    ) -> Judged {
        let ask = self.scene.asks.get(handle).expect("enabled");
        let (of, op) = ((ask.node, ask.ticket, ask.orphan), ask.op.clone());
        self.store_shown(at, of, &op, &result, sink)?;
        self.store_settle(handle, result);
        Ok(())
    }

    pub(super) fn store_settle(&mut self, handle: Handle, result: ObjResult) {
        let ask = self.scene.asks.get_mut(handle).expect("enabled");
        if ask.orphan {
            self.scene.asks.remove(handle);
        } else {
            ask.stage = Asked::Answered(result);
        }
    }

    pub(super) fn store_answer<S: Sink>(
        &mut self,
        at: SimTime,
        handle: Handle,
        sink: &mut S,
    ) -> Judged {
        let mut ask = self.scene.asks.remove(handle).expect("enabled");
        let stage = std::mem::replace(&mut ask.stage, Asked::Lost);
        let Asked::Answered(result) = stage else { unreachable!("enabled") };
        self.store_told(at, &ask, result, sink)
    }

    fn store_told<S: Sink>(
        &mut self,
        at: SimTime,
        ask: &StoreAsk,
        result: ObjResult,
        sink: &mut S,
    ) -> Judged {
        match ask.ticket {
            Ticket::Node(tok) => self.feed(at, ask.node, Input::ObjDone(tok, result), sink),
            Ticket::Spark(ticket) => {
                self.spark_stored(ticket, &ask.op, result, sink);
                Ok(())
            }
        }
    }

    pub(super) fn store_forget(&mut self, handle: Handle) {
        let ask = self.scene.asks.get_mut(handle).expect("enabled");
        ask.stage = Asked::Lost;
        if ask.orphan {
            self.scene.asks.remove(handle);
        }
    }

    pub(super) fn store_give_up<S: Sink>(
        &mut self,
        at: SimTime,
        handle: Handle,
        sink: &mut S,
    ) -> Judged {
        let ask = self.scene.asks.get_mut(handle).expect("enabled");
        let told = ask.clone();
        ask.orphan = true;
        if ask.stage == Asked::OnItsWay && ask.changes_the_store() {
            sink.launched(Launch::Orphan(handle));
        } else {
            self.scene.asks.remove(handle);
        }
        self.store_told(at, &told, ObjResult::Unknown, sink)
    }

    pub(super) fn device<S: Sink>(&mut self, at: SimTime, node: Endpoint, sink: &mut S) -> Judged {
        let device = &mut self.scene.devices[node.index()];
        let (tok, result) = device.work().expect("enabled");
        if device.head().is_some() {
            sink.launched(Launch::Device(node));
        }
        self.feed(at, node, Input::LogDone(tok, result), sink)
    }

    /// A process is gone, with its machine (`keep`) or by itself.
    pub(super) fn bury<S: Sink>(
        &mut self,
        at: SimTime,
        node: Endpoint,
        keep: Option<(Keep, u64)>,
        sink: &mut S,
    ) -> Judged {
        // A process that ends by itself needs nobody to end it.
        if self.elsewhere.is_some() && keep.is_some() {
            sink.handed_over(HandOver::Bury(node));
        }
        let scene = &mut self.scene;
        let slot = &mut scene.slots[node.index()];
        slot.process = None;
        slot.paused = false;
        slot.timers.clear();
        let loss = match (scene.devices.get_mut(node.index()), keep) {
            (Some(device), Some((keep, lot))) => device.crash(keep, lot),
            (Some(device), None) => device.exit(),
            (None, _) => Loss::default(),
        };
        if loss.rotted {
            sink.launched(Launch::Rotted(node));
        }
        for conn in scene.connections_of(node) {
            let connection = scene.connection_mut(conn).expect("listed");
            if connection.close_by_broker() {
                sink.launched(Launch::Down { conn, end: true });
            }
            scene.forget_if_over(conn);
        }
        self.orphan_asks(node, sink);
        self.node_event(at, node, NodeEvent::Crashed { unsynced_lost: loss.lost }, sink)?;
        self.judge_step(at, node)
    }

    /// Nobody waits any more for what this process asked of the store.
    pub(super) fn orphan_asks<S: Sink>(&mut self, asker: Endpoint, sink: &mut S) {
        for handle in self.scene.asks_of(asker) {
            let ask = self.scene.asks.get_mut(handle).expect("listed");
            ask.orphan = true;
            if ask.stage == Asked::OnItsWay && ask.changes_the_store() {
                sink.launched(Launch::Orphan(handle));
            } else {
                self.scene.asks.remove(handle);
            }
        }
    }

    pub(super) fn impose<S: Sink>(
        &mut self,
        at: SimTime,
        fault: FaultId,
        on: Option<Endpoint>,
        sink: &mut S,
    ) -> Judged {
        self.change_weather(at, sink, |scene| {
            let what = &scene.layout.faults[usize::from(fault.0)].what;
            scene.weather.impose(&scene.layout, fault, what, on);
        })
    }

    pub(super) fn heal<S: Sink>(&mut self, at: SimTime, sink: &mut S) -> Judged {
        self.change_weather(at, sink, |scene| {
            scene.weather.heal(&scene.layout, &scene.lasting, scene.outside);
            scene.healed = true;
        })?;
        self.show(at, &Evidence::Healed, sink)
    }

    /// Changes the weather and says whom it cut off or joined again.
    pub(super) fn change_weather<S: Sink>(
        &mut self,
        at: SimTime,
        sink: &mut S,
        change: impl FnOnce(&mut Scene),
    ) -> Judged {
        let before = self.scene.weather.impaired();
        change(&mut self.scene);
        if self.elsewhere.is_some() {
            sink.handed_over(HandOver::Weather);
        }
        let after = self.scene.weather.impaired();
        let steps = [(NodeEvent::Impaired, after.without(before))];
        for (event, whom) in steps.into_iter().chain([(NodeEvent::Restored, before.without(after))])
        {
            for who in whom.iter().filter(|who| self.scene.layout.is_node(*who)).collect::<Vec<_>>()
            {
                self.node_event(at, who, event, sink)?;
            }
        }
        Ok(())
    }
}

/// An answer with the bit flipped that the lot says, if it brings any bytes.
fn damaged(result: ObjResult, lot: u64) -> ObjResult {
    match result {
        ObjResult::Body { etag, data, size } if !data.is_empty() => {
            let mut data = data.to_vec();
            let bit = lot % (data.len() as u64 * 8);
            data[(bit / 8) as usize] ^= 1 << (bit % 8);
            ObjResult::Body { etag, data: data.into(), size }
        }
        other => other,
    }
}
