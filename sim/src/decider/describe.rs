//! Steps and effects in words, for those who read a trace.

use broker_core::step::Effect;
use invariants::view::Evidence;
use workloads::client::ClientOut;
use workloads::spark::step::SparkOut;

use crate::trace::TraceEffect;
use crate::world::connection::{Down, Up};
use crate::world::layout::Endpoint;
use crate::world::observer::brief;
use crate::world::scene::{Asked, Scene};
use crate::world::slab::Handle;
use crate::world::step::{Step, Told};

/// What a step is: where it happens, its kind, where it comes from, and in words.
pub(crate) struct Words {
    pub node: String,
    pub kind: &'static str,
    pub from: Option<String>,
    pub what: String,
}

impl Words {
    /// ` from X`, or nothing.
    pub(crate) fn origin(&self) -> String {
        self.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default()
    }
}

/// Describes what the host of processes that run elsewhere tells.
pub(super) fn told(scene: &Scene, told: &Told<'_>) -> Words {
    let say = |node: Endpoint, kind, what| Words {
        node: scene.layout().name(node),
        kind,
        from: None,
        what,
    };
    match told {
        Told::Stepped(step) if step.asked.is_empty() => {
            say(step.node, "process", format!("{:?}", step.input))
        }
        Told::Stepped(step) => {
            say(step.node, "process", format!("{:?} asks {:?}", step.input, step.asked))
        }
        Told::Heard(client, input) => say(*client, "hear", format!("{input:?}")),
    }
}

/// Describes a step that is about to be taken.
pub(crate) fn step(scene: &Scene, step: &Step) -> Words {
    let name = |who: Endpoint| scene.layout().name(who);
    let say = |node: String, kind, what| Words { node, kind, from: None, what };
    match *step {
        Step::Boot(who) => say(name(who), "boot", String::new()),
        Step::Timer(node, key) => say(name(node), "timer", format!("{key:?}")),
        Step::ClientTimer(client, key) => say(name(client), "timer", format!("{key:?}")),
        Step::Op(number) => {
            let op = &scene.layout().ops[number as usize];
            let client = scene.layout().client(op.client.into());
            say(name(client), "op", format!("{number}: {:?}", op.op))
        }
        Step::Deliver(handle) => message(scene, handle, "deliver"),
        Step::Lose(handle) => message(scene, handle, "lose"),
        Step::Duplicate(handle) => message(scene, handle, "duplicate"),
        Step::Up(_) | Step::Down(_) | Step::Break(_) => travel(scene, step),
        Step::StoreTake(handle) => store(scene, handle, "store.take"),
        Step::StoreRefuse(handle) => store(scene, handle, "store.refuse"),
        Step::StoreConflict(handle) => store(scene, handle, "store.conflict"),
        Step::StoreEmptyPage(handle) => store(scene, handle, "store.empty-page"),
        Step::StoreDamage(handle, _) => store(scene, handle, "store.damage"),
        Step::StoreAnswer(handle) => store(scene, handle, "store.answer"),
        Step::StoreForget(handle) => store(scene, handle, "store.forget"),
        Step::StoreGiveUp(handle) => store(scene, handle, "store.give-up"),
        Step::StoreDuplicate(handle) => store(scene, handle, "store.duplicate"),
        Step::Device(node, _) => {
            let head = scene.device(node).and_then(|device| device.head());
            let what = head.map_or_else(String::new, |(tok, op)| format!("{op:?} {tok:?}"));
            say(name(node), "device", what)
        }
        Step::Crash(node, keep, _) => say(name(node), "crash", format!("keeps {keep:?}")),
        Step::Pause(node) => say(name(node), "pause", String::new()),
        Step::Resume(node) => say(name(node), "resume", String::new()),
        Step::ClockStep(who, by_us) => say(name(who), "clock-step", format!("{by_us} µs")),
        Step::ClockDrift(who, ppm) => say(name(who), "clock-drift", format!("{ppm} ppm")),
        Step::Drain(node) => say(name(node), "drain", String::new()),
        Step::SyncFail(node, fail) => say(name(node), "sync-fail", format!("{fail}")),
        Step::DeviceFull(node, full) => say(name(node), "device-full", format!("{full}")),
        Step::BitRot(node, rot) => say(name(node), "bit-rot", format!("{rot}")),
        Step::Impose(fault, on) => {
            let what = &scene.layout().faults[usize::from(fault.0)].what;
            let on = on.map(|on| format!(" on {}", name(on))).unwrap_or_default();
            say("world".to_owned(), "impose", format!("{}: {what:?}{on}", fault.0))
        }
        Step::Lift(fault) => say("world".to_owned(), "lift", fault.0.to_string()),
        Step::Exile(node) => say(name(node), "exile", String::new()),
        Step::Outlast(fault) => say("world".to_owned(), "outlast", fault.0.to_string()),
        Step::Heal => say("world".to_owned(), "heal", String::new()),
        Step::Spark(place, step) => {
            let driver = scene.spark().map(|query| query.driver_at(place));
            say(driver.map(name).unwrap_or_default(), "query", format!("{step:?}"))
        }
        Step::Tick => say("world".to_owned(), "tick", String::new()),
    }
}

fn message(scene: &Scene, handle: Handle, kind: &'static str) -> Words {
    let Some(message) = scene.messages().get(handle) else { return nothing(kind) };
    Words {
        node: scene.layout().name(message.to),
        kind,
        from: Some(scene.layout().name(message.from)),
        what: format!("{:?}", message.msg),
    }
}

fn travel(scene: &Scene, step: &Step) -> Words {
    let (conn, kind) = match *step {
        Step::Up(conn) => (conn, "request"),
        Step::Down(conn) => (conn, "response"),
        Step::Break(conn) => (conn, "break"),
        _ => return nothing("travel"),
    };
    let Some(connection) = scene.connection(conn) else { return nothing(kind) };
    let client = scene.layout().name(connection.client);
    let broker = scene.layout().name(connection.broker);
    let what = match (kind, connection.first_up(), connection.first_down()) {
        ("request", Some(Up::Request(corr, req)), _) => format!("{corr}: {req:?}"),
        ("response", _, Some(Down::Response(corr, resp))) => format!("{corr}: {resp:?}"),
        ("break", _, _) => format!("{conn:?}"),
        _ => format!("{conn:?} gone"),
    };
    let (node, from) = if kind == "response" { (client, broker) } else { (broker, client) };
    Words { node, kind, from: Some(from), what }
}

fn store(scene: &Scene, handle: Handle, kind: &'static str) -> Words {
    let Some(ask) = scene.asks().get(handle) else { return nothing(kind) };
    let asker = scene.layout().name(ask.node);
    let orphan = if ask.orphan { ", nobody waits" } else { "" };
    let op = brief(&ask.op);
    match kind {
        "store.answer" | "store.give-up" => {
            let what = match &ask.stage {
                Asked::Answered(result) if kind == "store.answer" => format!("{op}: {result:?}"),
                _ => format!("{op}: Unknown"),
            };
            Words { node: asker, kind, from: Some("store".to_owned()), what }
        }
        _ => {
            let what = format!("{op}{orphan}");
            Words { node: "store".to_owned(), kind, from: Some(asker), what }
        }
    }
}

fn nothing(kind: &'static str) -> Words {
    Words { node: "world".to_owned(), kind, from: None, what: String::new() }
}

/// Describes an effect of a node.
pub(super) fn effect(effect: &Effect) -> TraceEffect {
    let plain = |kind, what| TraceEffect { kind, probe: None, what };
    match effect {
        Effect::Reply { conn, corr, resp } => plain("reply", format!("{conn:?} {corr}: {resp:?}")),
        Effect::Close(conn) => plain("close", format!("{conn:?}")),
        Effect::Send { to, msg } => plain("send", format!("to {to:?}: {msg:?}")),
        Effect::Log(tok, op) => plain("log", format!("{op:?} {tok:?}")),
        Effect::Obj(tok, op) => plain("store", format!("{} {tok:?}", brief(op))),
        Effect::Arm { key, after } => plain("arm", format!("{key:?} after {} µs", after.0)),
        Effect::Disarm(key) => plain("disarm", format!("{key:?}")),
        Effect::Probe(probe) => {
            TraceEffect { kind: "probe", probe: Some(probe.name()), what: format!("{probe:?}") }
        }
        Effect::Halt(reason) => plain("halt", format!("{reason:?}")),
    }
}

/// Describes an effect of a client.
pub(super) fn client_effect(effect: &ClientOut) -> TraceEffect {
    let plain = |kind, what| TraceEffect { kind, probe: None, what };
    match effect {
        ClientOut::Open { conn, to } => plain("open", format!("{conn:?} to {to:?}")),
        ClientOut::Send { conn, corr, req } => plain("send", format!("{conn:?} {corr}: {req:?}")),
        ClientOut::Close(conn) => plain("close", format!("{conn:?}")),
        ClientOut::Arm { key, after } => plain("arm", format!("{key:?} after {} µs", after.0)),
        ClientOut::Disarm(key) => plain("disarm", format!("{key:?}")),
        ClientOut::Observe(seen) => plain("history", format!("{seen:?}")),
    }
}

/// Describes an effect of a query's driver.
pub(super) fn spark_effect(effect: &SparkOut) -> TraceEffect {
    let plain = |kind, what| TraceEffect { kind, probe: None, what };
    match effect {
        SparkOut::Store(tok, op) => plain("store", format!("{} {tok:?}", brief(op))),
        SparkOut::Kafka(tok, ask) => plain("kafka", format!("{ask:?} {tok:?}")),
        SparkOut::Sink(tok, ask) => plain("sink", format!("{ask:?} {tok:?}")),
        SparkOut::Arm { key, after } => plain("arm", format!("{key:?} after {} µs", after.0)),
        SparkOut::Disarm(key) => plain("disarm", format!("{key:?}")),
        SparkOut::Observe(event) => plain("query", format!("{event:?}")),
    }
}

/// Describes what the judge was shown beyond effects.
pub(super) fn evidence(evidence: &Evidence<'_>) -> TraceEffect {
    let plain = |kind, what| TraceEffect { kind, probe: None, what };
    match evidence {
        Evidence::Store { op, result, late, .. } => {
            let late = if *late { " late" } else { "" };
            plain("store", format!("{}{late}: {result:?}", brief(op)))
        }
        Evidence::Node { node, event } => plain("node", format!("{node:?} {event:?}")),
        Evidence::Healed => plain("healed", String::new()),
        Evidence::Probe { probe, .. } => plain("probe", format!("{probe:?}")),
        Evidence::History(event) => plain("history", format!("{event:?}")),
        Evidence::Handoff(handoff) => plain("handoff", format!("{handoff:?}")),
    }
}
