//! Where clients live that speak to real brokers: one loop, which feeds each machine with answers,
//! timers and operations, and writes down what it saw in the order in which it happened.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::client::{Refusal, UNTOLD_EPOCH};
use broker_core::ids::{ConnId, NodeId, TopicId, ZoneId};
use broker_core::mutants::Mutants;
use broker_core::protocol::TransactionVersion;
use broker_core::step::{Cx, Outbox};
use broker_core::time::{Mono, Wall};
use invariants::history::{Answer, EventKind, HistoryEvent, SimTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use workloads::Op;
use workloads::client::{Client, ClientConfig, ClientIn, ClientOut, ClientTimer, Membership};

use super::connection::{self, Connection, Event, Shared};
use super::probe::connect;
use crate::draws::{Draws, Purpose, StreamKey};
use crate::wallclock;
use crate::world::observer::history_event;

/// Clients, their connections and timers, and their history.
#[derive(Debug)]
pub struct Host {
    started: Instant,
    bootstrap: Vec<(String, u16)>,
    protocol: TransactionVersion,
    draws: Draws,
    slots: BTreeMap<u16, Slot>,
    timers: BTreeMap<(Instant, u64), (u16, ClientTimer)>,
    armed: u64,
    sender: mpsc::UnboundedSender<(ConnId, Event)>,
    events: mpsc::UnboundedReceiver<(ConnId, Event)>,
    /// What the clients saw.
    pub history: Vec<HistoryEvent>,
    /// What happened beside it.
    pub seen: Seen,
    /// When a batch was last acknowledged.
    pub acknowledged: Instant,
}

/// What happened that a history does not tell.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    /// Connections that were lost or never came to be.
    pub lost: u64,
    /// What a broker said and Kafka's protocol does not allow, and how often.
    pub broken: BTreeMap<String, u64>,
    /// Requests that could not be said to the broker, by why.
    pub refused: BTreeMap<String, u64>,
    /// Error codes without a name, and how often they came.
    pub unnamed: BTreeMap<i16, u64>,
    /// Topics by their ids.
    pub topics: BTreeMap<TopicId, String>,
    /// Answers out of order, or to something else than was asked.
    pub disorders: u64,
}

#[derive(Debug)]
struct Slot {
    client: Client,
    shared: Shared,
    connections: BTreeMap<ConnId, Connection>,
    timers: BTreeMap<ClientTimer, (Instant, u64)>,
}

impl Host {
    /// A host without clients.
    #[must_use]
    pub fn new(seed: u64, bootstrap: Vec<(String, u16)>, protocol: TransactionVersion) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            started: now,
            bootstrap,
            protocol,
            draws: Draws::new(seed),
            slots: BTreeMap::new(),
            timers: BTreeMap::new(),
            armed: 0,
            sender,
            events,
            history: Vec::new(),
            seen: Seen::default(),
            acknowledged: now,
        }
    }

    /// A client begins.
    pub fn add(&mut self, client: u16) {
        let shared = Shared::default();
        let first = |(host, port): &(String, u16)| shared.lock().brokers.bootstrap(host, *port);
        let bootstrap: Vec<NodeId> = self.bootstrap.iter().map(first).collect();
        let (zone, protocol) = (ZoneId(0), self.protocol);
        let machine = Client::new(ClientConfig { client, zone, bootstrap, protocol });
        let (connections, timers) = (BTreeMap::new(), BTreeMap::new());
        self.slots.insert(client, Slot { client: machine, shared, connections, timers });
        self.step(client, ClientIn::Boot);
    }

    /// A client is told to do something. Operations are numbered over all clients.
    pub fn give(&mut self, client: u16, number: u32, op: Op) {
        self.step(client, ClientIn::Op(number, op));
    }

    /// The clients end that have no operation under way that ends by itself, as if their processes
    /// did. The others live on.
    pub fn end_idle(&mut self) {
        let (idle, busy) = std::mem::take(&mut self.slots)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, slot)| slot.client.is_idle());
        self.slots = busy;
        idle.values().for_each(|slot| self.seen.take_in(slot));
        self.timers.retain(|_, (client, _)| self.slots.contains_key(client));
    }

    /// No client has an operation that ends by itself and has not ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.slots.values().all(|slot| slot.client.is_idle())
    }

    /// As [`Self::is_idle`], of one client.
    #[must_use]
    pub fn is_client_idle(&self, client: u16) -> bool {
        self.slots.get(&client).is_none_or(|slot| slot.client.is_idle())
    }

    /// What each unfinished operation waits for.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        let of = |(number, slot): (&u16, &Slot)| {
            let number = *number;
            slot.client.blocked().into_iter().map(move |what| format!("client {number}: {what}"))
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// The members who stay, of topics that are there, and are not yet who they are meant to be.
    #[must_use]
    pub fn unsettled(&self) -> Vec<String> {
        let of = |(number, slot): (&u16, &Slot)| {
            let number = *number;
            let waits = |it: &Membership<'_>| it.stays && it.topic.is_some() && !it.settled;
            let all = slot.client.memberships().map(|(_, it)| it).filter(waits);
            let say = |it: Membership<'_>| {
                format!("client {number}: its membership in group {} does not settle", it.group)
            };
            all.map(say).collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// What happened, with what the clients know that are still there.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let mut seen = self.seen.clone();
        self.slots.values().for_each(|slot| seen.take_in(slot));
        seen
    }

    /// Since the beginning.
    #[must_use]
    pub fn now(&self) -> SimTime {
        SimTime(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Lets the clients live until then, or until `done` says so.
    pub async fn run(&mut self, until: Instant, mut done: impl FnMut(&Self) -> bool) {
        loop {
            self.fire();
            if done(self) || Instant::now() >= until {
                return;
            }
            let next = self.timers.first_key_value().map_or(until, |((at, _), _)| *at);
            tokio::select! { biased;
                Some((conn, event)) = self.events.recv() => self.heard(conn, event),
                () = sleep_until(next.min(until)) => {}
            }
        }
    }

    /// Fires the timers that are due.
    fn fire(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let (client, timer) = entry.remove();
            if let Some(slot) = self.slots.get_mut(&client) {
                slot.timers.remove(&timer);
                self.step(client, ClientIn::Timer(timer));
            }
        }
    }

    fn heard(&mut self, conn: ConnId, event: Event) {
        let Ok(client) = u16::try_from(conn.0 >> 32) else { return };
        let Some(slot) = self.slots.get_mut(&client) else { return };
        // Closed from this side meanwhile: nobody waits for it.
        if !slot.connections.contains_key(&conn) {
            return;
        }
        match event {
            Event::Response { corr, response: resp } => {
                self.step(client, ClientIn::Response { conn, corr, resp });
            }
            Event::Refused(refusal) => {
                // That a topic has gone is no more than news.
                if !matches!(refusal, Refusal::UnknownTopic { .. }) {
                    *self.seen.refused.entry(refusal.to_string()).or_default() += 1;
                }
            }
            Event::Gone { why, broken } => {
                if broken {
                    *self.seen.broken.entry(why).or_default() += 1;
                }
                slot.connections.remove(&conn);
                self.seen.lost += 1;
                self.step(client, ClientIn::Gone(conn));
            }
        }
    }

    fn step(&mut self, client: u16, input: ClientIn) {
        let now = self.now();
        let cx = Cx {
            mono: Mono(now.0),
            wall: Wall(wallclock::now_us()),
            entropy: self.draws.bits(StreamKey::new(Purpose::Entropy, client.into())),
            mutants: Mutants::NONE,
        };
        let mut out = Outbox::default();
        let slot = self.slots.get_mut(&client).expect("whoever steps is here");
        slot.client.step(&cx, input, &mut out);
        for effect in out.drain() {
            self.begin(now, client, effect);
        }
    }

    fn begin(&mut self, now: SimTime, client: u16, effect: ClientOut) {
        let slot = self.slots.get_mut(&client).expect("whoever steps is here");
        match effect {
            ClientOut::Open { conn, to } => {
                let address = slot.shared.lock().brokers.address(to).cloned();
                let stream = async move {
                    let unknown = || std::io::Error::other(format!("nobody knows where {to} is"));
                    connect(address.ok_or_else(unknown)?).await
                };
                let name = format!("seedbed-{client}");
                let (shared, events) = (slot.shared.clone(), self.sender.clone());
                let opened = connection::spawn(conn, name, shared, stream, events);
                slot.connections.insert(conn, opened);
            }
            ClientOut::Send { conn, corr, req } => {
                if let Some(connection) = slot.connections.get(&conn) {
                    connection.send(corr, req);
                }
            }
            ClientOut::Close(conn) => drop(slot.connections.remove(&conn)),
            ClientOut::Arm { key, after } => {
                self.armed += 1;
                let at = (Instant::now() + Duration::from_micros(after.0), self.armed);
                if let Some(before) = slot.timers.insert(key, at) {
                    self.timers.remove(&before);
                }
                self.timers.insert(at, (client, key));
            }
            ClientOut::Disarm(key) => {
                if let Some(before) = slot.timers.remove(&key) {
                    self.timers.remove(&before);
                }
            }
            ClientOut::Observe(observation) => {
                let event = told_only(history_event(now, client, observation));
                if matches!(event.kind, EventKind::Ok(Answer::Produced { .. })) {
                    self.acknowledged = Instant::now();
                }
                self.history.push(event);
            }
        }
    }
}

/// Without what the broker did not tell.
fn told_only(mut event: HistoryEvent) -> HistoryEvent {
    if let EventKind::Ok(Answer::Listed(Some((.., epoch)))) = &mut event.kind {
        *epoch = epoch.filter(|epoch| *epoch != UNTOLD_EPOCH);
    }
    event
}

impl Seen {
    fn take_in(&mut self, slot: &Slot) {
        let directory = slot.shared.lock();
        for (code, times) in directory.unnamed() {
            *self.unnamed.entry(*code).or_default() += times;
        }
        let topics = directory.names.all().map(|(topic, name)| (topic, name.to_owned()));
        self.topics.extend(topics);
        self.disorders += u64::from(slot.client.disorders());
    }
}

#[cfg(test)]
mod tests {
    use workloads::op::ListSpec;

    use super::*;

    #[tokio::test]
    async fn host_keeps_the_clients_that_have_something_under_way() {
        let nobody = vec![("127.0.0.1".to_owned(), 1)];
        let mut host = Host::new(1, nobody, TransactionVersion::V2);
        host.add(0);
        host.add(1);
        let topic = "topic".to_owned();
        let (spec, committed) = (ListSpec::Latest, false);
        host.give(1, 0, Op::ListOffsets { topic, partition: 0, spec, committed });
        host.end_idle();
        let blocked = host.blocked();
        assert!(matches!(&blocked[..], [one] if one.starts_with("client 1: ")), "{blocked:?}");
        assert_eq!(host.slots.len(), 1);
        assert!(host.timers.values().all(|(client, _)| *client == 1));
        host.run(Instant::now() + Duration::from_millis(50), |_| false).await;
        assert_eq!(host.blocked().len(), 1, "it lives on");
    }
}
