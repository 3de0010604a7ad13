//! The vocabulary between a world and whoever picks its next step: what can be done next, what a
//! step set going, and what wants to listen.

use std::hash::{Hash, Hasher};

use broker_core::ids::{ConnId, Incarnation};
use broker_core::step::{Cx, Effect, Input, LogOp, ObjOp, TimerKey, Tok};
use broker_core::time::Dur;
use invariants::view::Evidence;
use workloads::client::{ClientIn, ClientOut, ClientTimer};
use workloads::spark::handoff::CrashPoint;
use workloads::spark::step::SparkOut;

use crate::plan::Keep;
use crate::world::layout::{Endpoint, Layout};
use crate::world::slab::Handle;
use crate::world::spark::{Place, SparkLaunch, SparkStep};
use crate::world::weather::FaultId;

/// Everything that can happen to a world. A step that is not enabled changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// A node's or client's process starts.
    Boot(Endpoint),
    /// An armed timer of a node fires.
    Timer(Endpoint, TimerKey),
    /// An armed timer of a client fires.
    ClientTimer(Endpoint, ClientTimer),
    /// A client is told to do the plan's operation of this number.
    Op(u32),
    /// A message between nodes arrives (at a node that is down: is lost).
    Deliver(Handle),
    /// A message between nodes is lost.
    Lose(Handle),
    /// A message between nodes is doubled.
    Duplicate(Handle),
    /// The first thing on its way from client to broker on this connection arrives.
    Up(ConnId),
    /// The first thing on its way from broker to client on this connection arrives.
    Down(ConnId),
    /// A connection breaks; what is on its way on it is lost.
    Break(ConnId),
    /// The store does an operation.
    StoreTake(Handle),
    /// The store refuses an operation with `SlowDown`.
    StoreRefuse(Handle),
    /// The store refuses a put because another copy of it is under way, though nothing is there.
    StoreConflict(Handle),
    /// The store answers a list with an empty page, and says that there is more.
    StoreEmptyPage(Handle),
    /// The store does a get; of the bytes that it gives, the lot says which bit is flipped.
    StoreDamage(Handle, u64),
    /// The store's answer arrives.
    StoreAnswer(Handle),
    /// An operation is lost before it reaches the store, or its answer before it arrives.
    StoreForget(Handle),
    /// The asker gives up waiting; the operation may still be done.
    StoreGiveUp(Handle),
    /// A put is sent a second time by the asker's transport.
    StoreDuplicate(Handle),
    /// A node's log device does the operation at its head, for this process.
    Device(Endpoint, Incarnation),
    /// A node's process and machine die; the device keeps this of what was not synced, and the lot
    /// says how much.
    Crash(Endpoint, Keep, u64),
    /// A node's process is frozen.
    Pause(Endpoint),
    /// A node's process goes on.
    Resume(Endpoint),
    /// A node's or client's wall clock steps by so many µs.
    ClockStep(Endpoint, i64),
    /// A node's or client's clocks drift by so many parts per million from now on.
    ClockDrift(Endpoint, i32),
    /// A broker is asked to shut down in order.
    Drain(Endpoint),
    /// A device's next sync fails, or does not after all.
    SyncFail(Endpoint, bool),
    /// A device has no room, or has room again.
    DeviceFull(Endpoint, bool),
    /// At a device's next crash bits flip in what was not synced, or do not after all.
    BitRot(Endpoint, bool),
    /// The rule of the plan's fault comes into force, for this node where it says `self`.
    Impose(FaultId, Option<Endpoint>),
    /// The rule of the plan's fault ends.
    Lift(FaultId),
    /// This node will not belong to the core that is healed.
    Exile(Endpoint),
    /// The cuts of the plan's fault will outlast the safety phase.
    Outlast(FaultId),
    /// The safety phase ends: all rules are lifted but those that outlast it.
    Heal,
    /// The judge looks at the world although nothing happened.
    Tick,
    /// Something happens to the plan's query.
    Spark(Place, SparkStep),
}

/// Something that a step set going and that will become a step of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Launch {
    /// A message between nodes is on its way.
    Message(Handle),
    /// A store operation is on its way.
    Store(Handle),
    /// A second copy of a put is on its way.
    Copy(Handle),
    /// Nobody waits for this store operation any more, and it has not been done yet.
    Orphan(Handle),
    /// Something is on its way from client to broker.
    Up {
        /// On this connection.
        conn: ConnId,
        /// It is no message but the end of the connection, to be noticed.
        end: bool,
    },
    /// Something is on its way from broker to client.
    Down {
        /// On this connection.
        conn: ConnId,
        /// It is no message but the end of the connection, to be noticed.
        end: bool,
    },
    /// A device has a new operation at its head.
    Device(Endpoint),
    /// A node armed (or moved) a timer.
    Timer(Endpoint, TimerKey, Dur),
    /// A client armed (or moved) a timer.
    ClientTimer(Endpoint, ClientTimer, Dur),
    /// A node's process ended by itself.
    Halted(Endpoint),
    /// A crash flipped bits on a device.
    Rotted(Endpoint),
    /// Something about the plan's query.
    Spark(Place, SparkLaunch),
}

/// Listens to a world, and brings the one thing that a step needs from outside.
pub trait Sink {
    /// 64 fresh random bits for a machine's step.
    fn entropy(&mut self, who: Endpoint) -> u64;
    /// A process of a node begins.
    fn begun(&mut self, layout: &Layout, node: Endpoint, incarnation: Incarnation);
    /// A node's machine is about to take a step.
    fn fed(&mut self, node: Endpoint, cx: &Cx, input: &Input);
    /// It has taken it; these are its effects, none of which is carried out yet.
    fn stepped(&mut self, node: Endpoint, effects: &[Effect]);
    /// A node had this effect.
    fn effect(&mut self, node: Endpoint, effect: &Effect);
    /// A client had this effect.
    fn client_effect(&mut self, client: Endpoint, effect: &ClientOut);
    /// A query's driver had this effect.
    fn spark_effect(&mut self, driver: Endpoint, effect: &SparkOut);
    /// A query's driver is at this mark.
    fn spark_mark(&mut self, driver: Endpoint, point: CrashPoint);
    /// The judge was shown this.
    fn evidence(&mut self, evidence: &Evidence<'_>);
    /// A step set this going.
    fn launched(&mut self, launch: Launch);
    /// This is for processes that run elsewhere; a world that runs its own never says so.
    fn handed_over(&mut self, what: HandOver);
}

/// What a world whose processes run elsewhere has for their host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HandOver {
    /// A node's process starts.
    Boot(Endpoint, Incarnation),
    /// A node's process is gone.
    Bury(Endpoint),
    /// A node's process is frozen.
    Pause(Endpoint),
    /// A node's process goes on.
    Resume(Endpoint),
    /// Something for a node: what its store or device says, or that it shall stop.
    Input(Endpoint, Input),
    /// A client does something about its connections.
    Client(Endpoint, ClientOut),
    /// The cuts between endpoints have changed.
    Weather,
}

/// What the host of processes that run elsewhere has for their world.
#[derive(Debug)]
pub enum Told<'a> {
    /// A node's machine has taken a step.
    Stepped(Stepped<'a>),
    /// A client hears something on its connections.
    Heard(Endpoint, ClientIn),
}

/// A step of a process, and what its host has begun of its effects.
#[derive(Debug)]
pub struct Stepped<'a> {
    /// Whose.
    pub node: Endpoint,
    /// Which process.
    pub incarnation: Incarnation,
    /// What the machine knew.
    pub cx: &'a Cx,
    /// What it was fed.
    pub input: &'a Input,
    /// All that it asked of its host.
    pub effects: &'a [Effect],
    /// What its host has asked of store and device since the step before.
    pub asked: Vec<Asked>,
}

/// What a process asks of the environment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Asked {
    /// Of the store.
    Store(Tok, ObjOp),
    /// Of its device.
    Device(Tok, LogOp),
}

impl Hash for Told<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            // The effects are those of the copy here, which are hashed as they come.
            Self::Stepped(Stepped { node, incarnation, cx, input, asked, effects: _ }) => {
                (node, incarnation, cx.mono, cx.wall, cx.entropy, input, asked).hash(state);
            }
            Self::Heard(client, input) => (client, input).hash(state),
        }
    }
}
