//! The part of the world that the judge looks at: everything but the judge itself. Plain state and
//! questions about it; what a step does to it is in the parent module.

use std::sync::Arc;

use broker_core::ids::ConnId;
use broker_core::peer::PeerMsg;
use broker_core::step::{ObjOp, ObjResult, Tok};
use workloads::client::Client;

use crate::plan::Plan;
use crate::world::clock::Clock;
use crate::world::connection::Connection;
use crate::world::layout::{BadPlan, Endpoint, Layout, Set};
use crate::world::log_device::LogDevice;
use crate::world::node::{Armed, ClientSlot, Slot};
use crate::world::object_store::ObjectStore;
use crate::world::slab::{Handle, Slab};
use crate::world::spark::{PLACES, Spark, SparkStep, SparkTicket};
use crate::world::step::Step;
use crate::world::weather::{FaultId, Weather};

/// Everything but the judge.
#[derive(Clone, Debug)]
pub struct Scene {
    pub(super) layout: Arc<Layout>,
    pub(super) slots: Vec<Slot>,
    pub(super) clients: Vec<ClientSlot>,
    pub(super) messages: Slab<Message>,
    pub(super) asks: Slab<StoreAsk>,
    pub(super) store: ObjectStore,
    /// One per controller.
    pub(super) devices: Vec<LogDevice>,
    /// One per node and client.
    pub(super) clocks: Vec<Clock>,
    pub(super) weather: Weather,
    /// Nodes that do not belong to the core once it is healed.
    pub(super) outside: Set,
    /// Faults whose cuts outlast the safety phase.
    pub(super) lasting: Vec<FaultId>,
    pub(super) healed: bool,
    /// The query, if the plan has one.
    pub(super) spark: Option<Box<Spark>>,
}

impl std::hash::Hash for Scene {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // The layout is the same for all worlds that are ever compared.
        let Self { layout: _, slots, clients, messages, asks, store, devices, .. } = self;
        (slots, clients, messages, asks, store, devices).hash(state);
        (&self.clocks, &self.weather, self.outside, &self.lasting, self.healed).hash(state);
        self.spark.hash(state);
    }
}

/// A message between nodes, on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Message {
    /// The sender.
    pub from: Endpoint,
    /// The receiver.
    pub to: Endpoint,
    /// What it says.
    pub msg: PeerMsg,
}

/// A store operation that was asked and is not over.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StoreAsk {
    /// Who asked.
    pub node: Endpoint,
    /// Under which token.
    pub ticket: Ticket,
    /// What.
    pub op: ObjOp,
    /// How far it came.
    pub stage: Asked,
    /// Nobody waits for its answer: the asker died or gave up, or it is a second copy.
    pub orphan: bool,
}

/// Under which token an operation of the store was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ticket {
    /// By a node.
    Node(Tok),
    /// By a query.
    Spark(SparkTicket),
}

/// How far a store operation came.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Asked {
    /// It has not been done yet.
    OnItsWay,
    /// It was done or refused; the answer is on its way.
    Answered(ObjResult),
    /// It never reaches the store, or its answer never arrives.
    Lost,
}

impl StoreAsk {
    /// Whether the operation changes what the store holds.
    #[must_use]
    pub fn changes_the_store(&self) -> bool {
        match self.op {
            ObjOp::Put { .. } | ObjOp::Delete { .. } => true,
            ObjOp::Get { .. } | ObjOp::List { .. } => false,
        }
    }
}

impl Scene {
    /// The scene of a plan before its first step: nothing runs.
    ///
    /// # Errors
    /// If the plan can not be run.
    pub fn new(plan: &Plan) -> Result<Self, BadPlan> {
        let layout = Layout::new(plan)?;
        let clients = (0..layout.clients()).map(|client| ClientSlot {
            client: Client::new(layout.client_config(client)),
            booted: false,
            connections: Vec::new(),
            ops: ops_of(&layout, client),
            timers: Armed::default(),
        });
        Ok(Self {
            slots: vec![Slot::default(); layout.nodes()],
            clients: clients.collect(),
            messages: Slab::default(),
            asks: Slab::default(),
            store: ObjectStore::new(layout.list_page_max),
            devices: vec![LogDevice::default(); layout.controllers().len()],
            clocks: vec![Clock::new(0, 0); layout.nodes() + layout.clients()],
            weather: Weather::default(),
            outside: Set::default(),
            lasting: Vec::new(),
            healed: false,
            spark: Spark::new(&layout).map(Box::new),
            layout: Arc::new(layout),
        })
    }

    /// Who takes part.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The rules in force.
    #[must_use]
    pub fn weather(&self) -> &Weather {
        &self.weather
    }

    /// A node.
    #[must_use]
    pub fn slot(&self, node: Endpoint) -> &Slot {
        &self.slots[node.index()]
    }

    /// A client.
    #[must_use]
    pub fn client(&self, client: Endpoint) -> &ClientSlot {
        &self.clients[client.index() - self.slots.len()]
    }

    /// All clients.
    #[must_use]
    pub fn clients(&self) -> &[ClientSlot] {
        &self.clients
    }

    /// The query, if the plan has one.
    #[must_use]
    pub fn spark(&self) -> Option<&Spark> {
        self.spark.as_deref()
    }

    /// Whether the process that asked the store for something, or will, runs.
    #[must_use]
    pub fn runs(&self, who: Endpoint) -> bool {
        match self.layout.is_node(who) {
            true => self.slot(who).process.is_some(),
            false => self
                .spark()
                .is_some_and(|spark| spark.place_of(who).is_some_and(|place| spark.runs_at(place))),
        }
    }

    /// The clock of a node or client.
    #[must_use]
    pub fn clock(&self, who: Endpoint) -> &Clock {
        &self.clocks[who.index()]
    }

    /// A controller's device.
    #[must_use]
    pub fn device(&self, node: Endpoint) -> Option<&LogDevice> {
        self.devices.get(node.index())
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &ObjectStore {
        &self.store
    }

    /// Messages between nodes, on their way.
    #[must_use]
    pub fn messages(&self) -> &Slab<Message> {
        &self.messages
    }

    /// Store operations that are not over.
    #[must_use]
    pub fn asks(&self) -> &Slab<StoreAsk> {
        &self.asks
    }

    /// A connection, unless both sides know that it is gone.
    #[must_use]
    pub fn connection(&self, conn: ConnId) -> Option<&Connection> {
        let client = self.clients.get((conn.0 >> 32) as usize)?;
        client.connections.iter().rev().find(|one| one.id == conn)
    }

    /// Whether the safety phase is over.
    #[must_use]
    pub fn is_healed(&self) -> bool {
        self.healed
    }

    /// Nodes that do not belong to the core.
    #[must_use]
    pub fn outside(&self) -> Set {
        self.outside
    }

    /// The node or client whose process a step is for, if it needs one.
    #[must_use]
    pub fn target(&self, step: &Step) -> Option<Endpoint> {
        match *step {
            Step::Timer(node, _)
            | Step::Device(node, _)
            | Step::Drain(node)
            | Step::ClientTimer(node, _)
            | Step::Boot(node) => Some(node),
            Step::Deliver(handle) => self.messages.get(handle).map(|message| message.to),
            Step::StoreAnswer(handle) | Step::StoreGiveUp(handle) => {
                self.asks.get(handle).map(|ask| ask.node)
            }
            Step::Up(conn) => self.connection(conn).map(|conn| conn.broker),
            Step::Down(conn) => self.connection(conn).map(|conn| conn.client),
            Step::Op(number) => {
                let op = self.layout.ops.get(number as usize)?;
                Some(self.layout.client(op.client.into()))
            }
            Step::Lose(_)
            | Step::Duplicate(_)
            | Step::Break(_)
            | Step::StoreTake(_)
            | Step::StoreRefuse(_)
            | Step::StoreConflict(_)
            | Step::StoreEmptyPage(_)
            | Step::StoreDamage(..)
            | Step::StoreForget(_)
            | Step::StoreDuplicate(_)
            | Step::Crash(..)
            | Step::Pause(_)
            | Step::Resume(_)
            | Step::ClockStep(..)
            | Step::ClockDrift(..)
            | Step::SyncFail(..)
            | Step::DeviceFull(..)
            | Step::BitRot(..)
            | Step::Impose(..)
            | Step::Lift(_)
            | Step::Exile(_)
            | Step::Outlast(_)
            | Step::Heal
            | Step::Spark(..)
            | Step::Tick => None,
        }
    }

    pub(super) fn client_mut(&mut self, client: Endpoint) -> &mut ClientSlot {
        &mut self.clients[client.index() - self.slots.len()]
    }

    pub(super) fn connection_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        let client = self.clients.get_mut((conn.0 >> 32) as usize)?;
        client.connections.iter_mut().rev().find(|one| one.id == conn)
    }

    pub(super) fn forget_if_over(&mut self, conn: ConnId) {
        if let Some(client) = self.clients.get_mut((conn.0 >> 32) as usize) {
            client.connections.retain(|one| one.id != conn || !one.is_over());
        }
    }

    /// The connections of a broker.
    #[must_use]
    pub fn connections_of(&self, broker: Endpoint) -> Vec<ConnId> {
        let all = self.clients.iter().flat_map(|client| &client.connections);
        all.filter(|conn| conn.broker == broker).map(|conn| conn.id).collect()
    }

    /// The store operations that a node waits for.
    #[must_use]
    pub fn asks_of(&self, node: Endpoint) -> Vec<Handle> {
        let waiting = self.asks.iter().filter(|(_, ask)| ask.node == node && !ask.orphan);
        waiting.map(|(handle, _)| handle).collect()
    }

    pub(super) fn enabled(&self, steps: &mut Vec<Step>) {
        let start = steps.len();
        let nodes = (0..self.slots.len()).map(|index| Endpoint(index as u8));
        for (node, slot) in nodes.zip(&self.slots) {
            steps.push(Step::Boot(node));
            steps.extend(slot.timers.iter().map(|key| Step::Timer(node, key)));
            steps.push(Step::Device(node, slot.incarnation));
        }
        for (number, slot) in self.clients.iter().enumerate() {
            let client = self.layout.client(number);
            steps.push(Step::Boot(client));
            steps.extend(slot.timers.iter().map(|key| Step::ClientTimer(client, key)));
            steps.extend(slot.ops.front().map(|op| Step::Op(*op)));
            for conn in &slot.connections {
                steps.extend([Step::Up(conn.id), Step::Down(conn.id)]);
            }
        }
        if let Some(spark) = self.spark() {
            for place in PLACES {
                steps.push(Step::Spark(place, SparkStep::GoOn));
            }
            steps.push(Step::Spark(PLACES[0], SparkStep::Start));
            let timers = spark.timers();
            steps.extend(timers.map(|(at, key)| Step::Spark(at, SparkStep::Timer(key))));
        }
        steps.extend(self.messages.iter().map(|(handle, _)| Step::Deliver(handle)));
        for (handle, _) in self.asks.iter() {
            steps.extend([Step::StoreTake(handle), Step::StoreAnswer(handle)]);
        }
        let mut place = start;
        while place < steps.len() {
            if self.is_enabled(&steps[place]) {
                place += 1;
            } else {
                steps.swap_remove(place);
            }
        }
        steps[start..].sort_by_key(order);
    }

    pub(super) fn is_enabled(&self, step: &Step) -> bool {
        let ask = |handle| self.asks.get(handle);
        let on_its_way = |handle| ask(handle).filter(|ask| ask.stage == Asked::OnItsWay);
        let waits = |handle| ask(handle).filter(|ask| !ask.orphan && self.can_be_told(ask.node));
        match *step {
            Step::Boot(who) if self.layout.is_node(who) => self.slot(who).process.is_none(),
            Step::Boot(who) => !self.client(who).booted,
            Step::Timer(node, key) => self.is_ready(node) && self.slot(node).timers.holds(key),
            Step::ClientTimer(client, key) => self.client(client).timers.holds(key),
            Step::Op(number) => {
                let Some(client) = self.target(step) else { return false };
                let slot = self.client(client);
                slot.booted && slot.ops.contains(&number)
            }
            Step::Deliver(handle) => {
                let Some(message) = self.messages.get(handle) else { return false };
                !self.slot(message.to).paused
            }
            Step::Lose(handle) | Step::Duplicate(handle) => self.messages.get(handle).is_some(),
            Step::Up(conn) => {
                let Some(conn) = self.connection(conn) else { return false };
                conn.has_up() && !self.slot(conn.broker).paused
            }
            Step::Down(conn) => self.connection(conn).is_some_and(Connection::has_down),
            Step::Break(conn) => self.connection(conn).is_some(),
            Step::StoreTake(handle) | Step::StoreRefuse(handle) => on_its_way(handle).is_some(),
            Step::StoreForget(handle) => ask(handle).is_some_and(|ask| ask.stage != Asked::Lost),
            Step::StoreDuplicate(handle) | Step::StoreConflict(handle) => {
                on_its_way(handle).is_some_and(|ask| matches!(ask.op, ObjOp::Put { .. }))
            }
            Step::StoreEmptyPage(handle) => {
                on_its_way(handle).is_some_and(|ask| matches!(ask.op, ObjOp::List { .. }))
            }
            Step::StoreDamage(handle, _) => {
                on_its_way(handle).is_some_and(|ask| matches!(ask.op, ObjOp::Get { .. }))
            }
            Step::StoreAnswer(handle) => {
                waits(handle).is_some_and(|ask| matches!(ask.stage, Asked::Answered(_)))
            }
            Step::StoreGiveUp(handle) => waits(handle).is_some(),
            Step::Device(node, incarnation) => {
                let device = self.device(node).is_some_and(|device| device.head().is_some());
                device && self.is_ready(node) && self.slot(node).incarnation == incarnation
            }
            Step::Crash(node, ..) => self.slot(node).process.is_some(),
            Step::Drain(node) | Step::Pause(node) => self.is_ready(node),
            Step::Resume(node) => self.slot(node).paused,
            Step::SyncFail(node, _) | Step::DeviceFull(node, _) | Step::BitRot(node, _) => {
                self.device(node).is_some()
            }
            Step::ClockStep(..)
            | Step::ClockDrift(..)
            | Step::Impose(..)
            | Step::Lift(_)
            | Step::Exile(_)
            | Step::Outlast(_)
            | Step::Tick => true,
            Step::Heal => !self.healed,
            Step::Spark(place, step) => {
                self.spark().is_some_and(|spark| spark.is_enabled(place, step))
            }
        }
    }

    /// A query's driver can be told also while it is frozen: it hears of it later.
    fn can_be_told(&self, who: Endpoint) -> bool {
        if self.layout.is_node(who) { self.is_ready(who) } else { self.runs(who) }
    }

    pub(crate) fn is_ready(&self, node: Endpoint) -> bool {
        self.slot(node).is_ready()
    }
}

/// Groups the steps by kind; what is equal stays in the order in which it was found.
fn order(step: &Step) -> u8 {
    match step {
        Step::Boot(_) => 0,
        Step::Op(_) => 1,
        Step::Deliver(_) => 2,
        Step::Up(_) | Step::Down(_) => 3,
        Step::StoreTake(_) => 4,
        Step::StoreAnswer(_) => 5,
        Step::Device(..) => 6,
        Step::Timer(..) | Step::ClientTimer(..) | Step::Spark(..) => 7,
        Step::Lose(_)
        | Step::Duplicate(_)
        | Step::Break(_)
        | Step::StoreRefuse(_)
        | Step::StoreConflict(_)
        | Step::StoreEmptyPage(_)
        | Step::StoreDamage(..)
        | Step::StoreForget(_)
        | Step::StoreGiveUp(_)
        | Step::StoreDuplicate(_)
        | Step::Crash(..)
        | Step::Pause(_)
        | Step::Resume(_)
        | Step::ClockStep(..)
        | Step::ClockDrift(..)
        | Step::Drain(_)
        | Step::SyncFail(..)
        | Step::DeviceFull(..)
        | Step::BitRot(..)
        | Step::Impose(..)
        | Step::Lift(_)
        | Step::Exile(_)
        | Step::Outlast(_)
        | Step::Heal
        | Step::Tick => 8,
    }
}

fn ops_of(layout: &Layout, client: usize) -> std::collections::VecDeque<u32> {
    let numbered = layout.ops.iter().enumerate();
    let mut own: Vec<_> = numbered.filter(|(_, op)| usize::from(op.client) == client).collect();
    own.sort_by_key(|(_, op)| op.at_us);
    own.into_iter().map(|(number, _)| number as u32).collect()
}
