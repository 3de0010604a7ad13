use std::collections::BTreeMap;

use super::faults::left_by;
use crate::decider::tests::plan as busy;
use crate::decider::{RunOptions, run};
use crate::generate::{Choice, generate};
use crate::plan::Plan;
use crate::plan::toml::{BadFile, read, write};
use crate::trace::TraceLine;

/// A plan that creates topic `t`, with 2 partitions; nodes, clients and zones are 3 each.
fn small() -> Plan {
    let mut plan = busy(Vec::new());
    plan.profile = super::BY_HAND.to_owned();
    plan.workload = super::BY_HAND.to_owned();
    plan.ops.truncate(1);
    plan
}

/// A plan with a query from `orders` to `bills`.
const QUERY: &str = include_str!("../../../../seeds/regress/replaced-coordinator-refuses.toml");

/// Reads the plan with more behind it.
fn with(plan: &str, more: &str) -> Result<(), BadFile> {
    read("x.toml", &format!("{plan}{more}")).map(|_| ())
}

/// Expects to hear of the line that `line` begins, the last of its kind.
#[track_caller]
fn refused(plan: &str, more: &str, line: &str, parts: &[&str]) {
    let text = format!("{plan}{more}");
    let Err(bad) = read("x.toml", &text) else { panic!("taken: {more}") };
    let at = text.lines().collect::<Vec<_>>().into_iter().rposition(|one| one.starts_with(line));
    assert_eq!(Some(bad.line - 1), at, "{bad}");
    for part in parts {
        assert!(bad.message.contains(part), "`{part}` is not in: {bad}");
    }
}

fn op(kind: &str, topic: &str, keys: &str) -> String {
    let head = "\n[[op]]\nat = \"2s\"\nclient = 0";
    format!("{head}\nop = \"{kind}\"\ntopic = \"{topic}\"\n{keys}\n")
}

fn fault(kind: &str, when: &str, keys: &str) -> String {
    format!("\n[[fault]]\nfault = \"{kind}\"\n{when}\nlasting = \"1s\"\n{keys}\n")
}

const AT: &str = "at = \"1s\"";

#[test]
fn check_names_of_topics_are_those_that_kafka_takes() {
    let plan = write(&small());
    let create = |name: &str| op("create-topic", name, "partitions = 1");
    let long = "x".repeat(249);
    for name in ["...", "a.b_C-9", "_", &long] {
        assert_eq!(with(&plan, &create(name)), Ok(()), "{name}");
    }
    let allowed = "allowed: 1 to 249 letters, digits, ";
    let longer = format!("{long}x");
    for (name, part) in [
        ("", "\"\" is empty"),
        (".", "\".\" is no name"),
        ("..", "\"..\" is no name"),
        ("a b", "has ' ' in it"),
        ("a/b", "has '/' in it"),
        ("größe", "has 'ö' in it"),
        (&longer, "has 250 bytes"),
    ] {
        refused(&plan, &create(name), "topic = ", &["`topic`: ", part, allowed]);
    }
}

#[test]
fn check_operation_is_about_a_topic_that_some_operation_creates() {
    let plan = write(&small());
    let produce = "partition = 0\nrecords = 1\nbytes = 8\nacks = -1";
    let consume = "group = \"g\"\nprotocol = \"eager\"";
    for (kind, keys) in [("produce", produce), ("consume", consume), ("delete-topic", "")] {
        assert_eq!(with(&plan, &op(kind, "t", keys)), Ok(()));
        let nobody = ["`topic`: nobody creates \"u\"", "allowed: a topic of a `create-topic`"];
        refused(&plan, &op(kind, "u", keys), "topic = ", &nobody);
        let later = format!("{}{}", op(kind, "u", keys), op("create-topic", "u", "partitions = 1"));
        assert_eq!(with(&plan, &later), Ok(()), "{kind}");
    }
}

#[test]
fn check_copy_goes_to_a_topic_that_stays() {
    let plan = write(&small()) + &op("create-topic", "u", "partitions = 2");
    let copy =
        |from: &str| op("consume", from, "group = \"g\"\nprotocol = \"eager\"\ncopies_to = \"u\"");
    assert_eq!(with(&plan, &copy("t")), Ok(()));
    let of_source = op("delete-topic", "t", "") + &copy("t");
    assert_eq!(with(&plan, &of_source), Ok(()), "a member lets go of a topic that is gone");
    let of_target = op("delete-topic", "u", "") + &copy("t");
    let parts = ["`copies_to`: \"u\" is deleted at some time", "a topic without a `delete-topic`"];
    refused(&plan, &of_target, "copies_to = ", &parts);
    let again = op("create-topic", "u", "partitions = 2") + &of_target;
    refused(&plan, &again, "copies_to = ", &parts);
}

#[test]
fn check_query_has_topics_that_stay() {
    let other = op("create-topic", "t", "partitions = 1") + &op("delete-topic", "t", "");
    assert_eq!(with(QUERY, &other), Ok(()));
    for (key, topic) in [("source", "orders"), ("target", "bills")] {
        let gone =
            format!("`{key}`: \"{topic}\" is deleted at some time; allowed: a topic without");
        refused(QUERY, &op("delete-topic", topic, ""), &format!("{key} = "), &[&gone]);
    }
}

#[test]
fn check_link_is_between_two() {
    let plan = write(&small());
    let link = |kind: &str, when: &str, from: &str, to: &str| {
        let by = if kind == "cut" { "" } else { "by = \"5ms\"\n" };
        fault(kind, when, &format!("{by}from = {from}\nto = {to}"))
    };
    let on = "on = { probe = \"wal.put.sent\", nth = 1 }";
    let on_0 = "on = { probe = \"wal.put.sent\", nth = 1, node = \"broker-0\" }";
    for kind in ["cut", "slow-link"] {
        for (when, from, to) in [
            (AT, "[\"zone-0\"]", "[\"zone-0\"]"),
            (AT, "[\"broker-0\"]", "[\"broker-0\", \"store\"]"),
            (on, "[\"self\"]", "[\"broker-0\"]"),
            (on_0, "[\"self\"]", "[\"zone-0\"]"),
        ] {
            assert_eq!(with(&plan, &link(kind, when, from, to)), Ok(()), "{from} {to}");
        }
        let nobody = "names nobody; allowed: one end at least";
        refused(&plan, &link(kind, AT, "[]", "[\"store\"]"), "from = ", &["`from`: ", nobody]);
        refused(&plan, &link(kind, AT, "[\"store\"]", "[]"), "to = ", &["`to`: ", nobody]);
        let itself = ["`to`: is nobody but the end in `from`; allowed: another end than that"];
        for (when, from, to) in [
            (AT, "[\"broker-0\"]", "[\"broker-0\"]"),
            (AT, "[\"store\"]", "[\"store\", \"store\"]"),
            (on, "[\"self\"]", "[\"self\"]"),
            (on_0, "[\"self\"]", "[\"broker-0\"]"),
        ] {
            refused(&plan, &link(kind, when, from, to), "to = ", &itself);
        }
        let executor = "[\"executor-0\"]";
        refused(QUERY, &link(kind, AT, executor, executor), "to = ", &itself);
        let mut empty = small();
        empty.topology.zones = 2;
        (empty.topology.controllers, empty.topology.brokers, empty.topology.clients) = (1, 1, 1);
        let of_zone = link(kind, AT, "[\"zone-1\"]", "[\"store\"]");
        refused(&write(&empty), &of_zone, "from = ", &["`from`: ", nobody]);
    }
}

#[test]
fn check_link_of_self_is_to_another_than_where_the_event_is_seen() {
    let mut one = small();
    (one.topology.controllers, one.topology.brokers) = (1, 1);
    let plan = write(&one);
    let cut = |probe: &str, from: &str, to: &str| {
        let on = format!("on = {{ probe = \"{probe}\", nth = 1 }}");
        fault("cut", &on, &format!("from = [\"{from}\"]\nto = [\"{to}\"]"))
    };
    let itself = ["`to`: is nobody but the end in `from`; allowed: another end than that"];
    for (probe, node, other) in
        [("quorum.voted", "controller-0", "broker-0"), ("wal.put.sent", "broker-0", "controller-0")]
    {
        refused(&plan, &cut(probe, "self", node), "to = ", &itself);
        refused(&plan, &cut(probe, node, "self"), "to = ", &itself);
        assert_eq!(with(&plan, &cut(probe, "self", other)), Ok(()), "{probe}");
        assert_eq!(with(&plan, &cut("meta.applied", "self", node)), Ok(()), "seen on both");
    }
}

#[test]
fn check_link_is_between_two_who_talk() {
    let cut =
        |from: &str, to: &str| fault("cut", AT, &format!("from = [\"{from}\"]\nto = [\"{to}\"]"));
    for (one, other, talk) in [
        ("client-0", "client-1", false),
        ("client-0", "controller-0", false),
        ("client-0", "store", false),
        ("controller-0", "store", false),
        ("driver-0", "executor-0", false),
        ("driver-0", "controller-0", false),
        ("executor-0", "store", false),
        ("client-0", "broker-0", true),
        ("broker-0", "store", true),
        ("broker-0", "broker-1", true),
        ("broker-0", "controller-0", true),
        ("controller-0", "controller-1", true),
        ("driver-0", "store", true),
        ("driver-0", "broker-0", true),
        ("executor-0", "broker-0", true),
        ("client-0", "zone-0", true),
    ] {
        for more in [cut(one, other), cut(other, one)] {
            if talk {
                assert_eq!(with(QUERY, &more), Ok(()), "{one} {other}");
            } else {
                let never = "`to`: never hears from `from`; allowed: nodes for nodes, brokers for";
                refused(QUERY, &more, "to = ", &[never]);
            }
        }
    }
}

#[test]
fn check_zone_has_somebody_in_it() {
    let mut few = small();
    (few.topology.brokers, few.topology.clients) = (1, 1);
    let zone = |kind: &str, zone: u8| {
        let keys = if kind == "zone-cut" { "\ndirection = \"both\"" } else { "" };
        fault(kind, AT, &format!("zone = \"zone-{zone}\"{keys}"))
    };
    // Only a controller stands in zone 1, and it keeps nothing in the store.
    let store = "`zone`: nobody in `zone-1` talks to the store; allowed: a zone with such a node";
    refused(&write(&few), &zone("zone-store-lost", 1), "zone = ", &[store]);
    assert_eq!(with(&write(&few), &zone("zone-store-lost", 0)), Ok(()));
    for kind in ["zone-fail", "zone-cut"] {
        few.topology.controllers = 3;
        assert_eq!(with(&write(&few), &zone(kind, 1)), Ok(()));
        few.topology.controllers = 1;
        let nobody = "`zone`: nobody in `zone-1` talks to anybody outside; allowed: a zone with";
        refused(&write(&few), &zone(kind, 1), "zone = ", &[nobody]);
    }
}

#[test]
fn check_what_is_asked_begins_within_the_safety_phase() {
    let plan = write(&small());
    let tail = |at: &str| {
        let keys = "client = 0\nop = \"tail\"\ntopic = \"t\"\npartition = 0";
        format!("\n[[op]]\nat = \"{at}\"\n{keys}\n")
    };
    let pause = |when: &str| fault("pause", when, "node = \"broker-0\"");
    let after =
        |us: &str| format!("on = {{ probe = \"wal.put.sent\", nth = 1, after = \"{us}\" }}");
    let allowed = "is behind the safety phase; allowed: from 0s to less than 30s";
    for (at, good) in [("0s", true), ("29.999999s", true), ("30s", false), ("9999s", false)] {
        let behind = format!("{at} {allowed}");
        let by_time = format!("at = \"{at}\"");
        for (more, line, key) in [
            (tail(at), "at = ", "`at`: "),
            (pause(&by_time), "at = ", "`at`: "),
            (pause(&after(at)), "on = ", "`on`: `after`: "),
        ] {
            if good {
                assert_eq!(with(&plan, &more), Ok(()), "{more}");
            } else {
                refused(&plan, &more, line, &[&format!("{key}{behind}")]);
            }
        }
    }
    let late = QUERY.replacen("start_ms = 3026", "start_ms = 11500", 1);
    let allowed = "`start_ms`: 11.5s is behind the safety phase; allowed: from 0s to less than ";
    refused(&late, "", "start_ms = ", &[allowed]);
    assert_eq!(with(&late.replacen("11500", "11499", 1), ""), Ok(()));
}

#[test]
fn check_fault_by_nothing_is_refused() {
    let plan = write(&small());
    let client = "node = \"client-0\"";
    let ends = "from = [\"broker-0\"]\nto = [\"store\"]";
    let rates = |rates: [u32; 3], hold_max: &str| {
        let [drop, double, hold] = rates;
        let keys = format!("drop_pm = {drop}\nduplicate_pm = {double}\nhold_pm = {hold}");
        format!("{keys}\nhold_max = \"{hold_max}\"")
    };
    let stall = |by_max: &str| fault("stall", AT, &format!("per_mille = 1\nby_max = {by_max:?}"));
    for (bad, line, parts, good) in [
        (
            fault("clock-step", AT, &format!("{client}\nby = \"0s\"")),
            "by = ",
            "`by`: is no step; allowed: any length of time but 0s",
            fault("clock-step", AT, &format!("{client}\nby = \"-1us\"")),
        ),
        (
            fault("clock-drift", AT, &format!("{client}\nppm = 0")),
            "ppm = ",
            "`ppm`: is no drift; allowed: any number but 0",
            fault("clock-drift", AT, &format!("{client}\nppm = -1")),
        ),
        (
            fault("slow-link", AT, &format!("{ends}\nby = \"0s\"")),
            "by = ",
            "`by`: makes nothing slower; allowed: more than 0s",
            fault("slow-link", AT, &format!("{ends}\nby = \"1us\"")),
        ),
        (
            stall("0s"),
            "by_max = ",
            "`by_max`: holds nothing back; allowed: more than 0s",
            stall("1us"),
        ),
        (
            fault("lossy", AT, &rates([0, 0, 0], "1s")),
            "fault = ",
            "`fault`: nothing is lost, doubled or held back; allowed: one of `drop_pm`, ",
            fault("lossy", AT, &rates([0, 1, 0], "0s")),
        ),
        (
            fault("lossy", AT, &rates([1, 0, 1], "0s")),
            "hold_max = ",
            "`hold_max`: holds nothing back; allowed: more than 0s, or no `hold_pm`",
            fault("lossy", AT, &rates([0, 0, 1], "1us")),
        ),
        (
            fault("store-brown-out", AT, "factor = 1"),
            "factor = ",
            "`factor` in [[fault]] number 1 (store-brown-out) must be a whole number from 2 to ",
            fault("store-brown-out", AT, "factor = 2"),
        ),
    ] {
        refused(&plan, &bad, line, &[parts]);
        assert_eq!(with(&plan, &good), Ok(()), "{good}");
    }
}

#[test]
fn check_rate_of_nothing_is_refused() {
    let plan = write(&small());
    let per_mille =
        |kind: &str, n: u32, keys: &str| fault(kind, AT, &format!("per_mille = {n}\n{keys}"));
    for (kind, keys) in [
        ("stall", "by_max = \"1s\""),
        ("store-slow-down", ""),
        ("store-empty-page", ""),
        ("store-damage", ""),
        ("store-lose-answer", "fate = \"applied\""),
        ("store-duplicate", "later_max = \"1s\""),
    ] {
        let from_1 = ["`per_mille` in ", "a whole number from 1 to 1000"];
        refused(&plan, &per_mille(kind, 0, keys), "per_mille = ", &from_1);
        assert_eq!(with(&plan, &per_mille(kind, 1, keys)), Ok(()), "{kind}");
    }
}

#[test]
fn check_answers_of_the_store_are_lost_to_brokers() {
    let plan = write(&small());
    for (kind, keys) in
        [("store-lose-answer", "fate = \"applied\""), ("store-duplicate", "later_max = \"1s\"")]
    {
        let of = |node: &str| fault(kind, AT, &format!("per_mille = 1\nnode = {node:?}\n{keys}"));
        let brokers = "there is no `controller-0` here; allowed: broker-0 to broker-2";
        refused(&plan, &of("controller-0"), "node = ", &[brokers]);
        assert_eq!(with(&plan, &of("broker-0")), Ok(()), "{kind}");
    }
}

#[test]
fn check_fault_that_must_last_lasts() {
    let of = |kind: &str, keys: &str, lasting: &str| {
        format!("\n[[fault]]\nfault = \"{kind}\"\n{AT}\n{lasting}\n{keys}\n")
    };
    let (broker, controller) = ("node = \"broker-0\"", "node = \"controller-0\"");
    let ends = "from = [\"broker-0\"]\nto = [\"store\"]";
    for (kind, keys) in [
        ("zone-cut", "zone = \"zone-0\"\ndirection = \"in\""),
        ("zone-store-lost", "zone = \"zone-0\""),
        ("pause", broker),
        ("clock-drift", "node = \"client-0\"\nppm = 1"),
        ("cut", ends),
        ("slow-link", &format!("{ends}\nby = \"1s\"")),
        ("lossy", "drop_pm = 1\nduplicate_pm = 0\nhold_pm = 0\nhold_max = \"0s\""),
        ("stall", "per_mille = 1\nby_max = \"1s\""),
        ("store-slow-down", "per_mille = 1"),
        ("store-empty-page", "per_mille = 1"),
        ("store-damage", "per_mille = 1"),
        ("store-brown-out", "factor = 2"),
        ("store-duplicate", "per_mille = 1\nlater_max = \"1s\""),
        ("store-lose-answer", "per_mille = 1\nfate = \"applied\""),
        ("device-full", controller),
    ] {
        let no_time = ["`lasting`: lasts no time; allowed: more than 0s"];
        refused(QUERY, &of(kind, keys, "lasting = \"0s\""), "lasting = ", &no_time);
        let Err(bad) = with(QUERY, &of(kind, keys, "")) else { panic!("{kind} is taken") };
        assert!(bad.message.contains(no_time[0]), "{bad}");
        assert_eq!(with(QUERY, &of(kind, keys, "lasting = \"1us\"")), Ok(()), "{kind}");
    }
    for (kind, keys) in [
        ("zone-fail", "zone = \"zone-0\""),
        ("crash", "node = \"broker-0\"\nkeep = \"all\""),
        ("clock-step", "node = \"client-0\"\nby = \"1s\""),
        ("device-sync-fail", controller),
        ("device-bit-rot", controller),
        ("store-lose-answer", "per_mille = 1\nfate = \"applied\"\ntimes = 1"),
        ("drain", broker),
        ("query", "act = \"kill\""),
    ] {
        assert_eq!(with(QUERY, &of(kind, keys, "")), Ok(()), "{kind}: at its beginning");
    }
}

#[test]
fn check_node_that_has_halted_is_down() {
    let plan = write(&small());
    let on = |keys: &str| format!("on = {{ probe = \"node.halted\", nth = 1{keys} }}");
    let of_0 = ", node = \"broker-0\"";
    for (kind, keys) in [("crash", "\nkeep = \"all\""), ("pause", ""), ("drain", "")] {
        let it = |when: &str, node: &str| fault(kind, when, &format!("node = \"{node}\"{keys}"));
        let down = ["`node`: is down when it has halted; allowed: another node, or an `after`"];
        refused(&plan, &it(&on(of_0), "self"), "node = ", &down);
        refused(&plan, &it(&on(of_0), "broker-0"), "node = ", &down);
        assert_eq!(with(&plan, &it(&on(of_0), "broker-1")), Ok(()), "{kind}");
        assert_eq!(with(&plan, &it(&on(", after = \"3s\", node = \"broker-0\""), "self")), Ok(()));
    }
}

#[test]
fn check_self_is_a_node_that_the_fault_can_befall() {
    let plan = write(&small());
    let on = |probe: &str, node: &str| format!("on = {{ probe = \"{probe}\", nth = 1{node} }}");
    let of_controller = ", node = \"controller-0\"";
    let me = "node = \"self\"";
    for (kind, when) in [
        ("device-full", on("quorum.voted", "")),
        ("device-sync-fail", on("quorum.committed", of_controller)),
        ("drain", on("search.beyond_cache", "")),
        ("pause", on("meta.applied", "")),
    ] {
        assert_eq!(with(&plan, &fault(kind, &when, me)), Ok(()), "{kind} {when}");
    }
    let controllers = "allowed: controller-0 to controller-2, or an event of controllers only";
    let brokers = "allowed: broker-0 to broker-2, or an event of brokers only";
    let put = "`self` is where `wal.put.sent` is seen, an event of brokers; ";
    let committed = "`self` is where `quorum.committed` is seen, an event of ";
    for (kind, when, seen, allowed) in [
        ("device-full", on("wal.put.sent", ""), put, controllers),
        ("device-sync-fail", on("wal.put.sent", ""), put, controllers),
        ("device-bit-rot", on("quorum.committed", ""), committed, controllers),
        ("drain", on("quorum.voted", ""), "`quorum.voted` is seen, an event of contr", brokers),
        ("drain", on("quorum.committed", of_controller), committed, brokers),
    ] {
        refused(&plan, &fault(kind, &when, me), "node = ", &["`node`: ", seen, allowed]);
    }
}

#[test]
fn check_event_is_one_of_the_node_that_it_names() {
    let plan = write(&small());
    let pause = |probe: &str, node: &str| {
        let on = format!("on = {{ probe = \"{probe}\", nth = 1, node = \"{node}\" }}");
        fault("pause", &on, "node = \"broker-1\"")
    };
    assert_eq!(with(&plan, &pause("wal.put.sent", "broker-0")), Ok(()));
    assert_eq!(with(&plan, &pause("node.halted", "controller-0")), Ok(()));
    let never = "`wal.put.sent` is an event of brokers, never of `controller-0`; allowed: broker-0";
    refused(&plan, &pause("wal.put.sent", "controller-0"), "on = ", &[never]);
    let never = "`quorum.voted` is an event of controllers, never of `broker-0`; allowed: contr";
    refused(&plan, &pause("quorum.voted", "broker-0"), "on = ", &[never]);
}

/// What runs leave is what [`left_by`] says, no more and no less.
#[test]
fn check_events_are_seen_where_they_are_said_to_be() {
    let mut seen: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    let mut watch = |line: &TraceLine| {
        for probe in line.effects.iter().filter_map(|effect| effect.probe) {
            let (controller, broker) = seen.entry(probe).or_default();
            *controller |= line.node.starts_with("controller-");
            *broker |= line.node.starts_with("broker-");
        }
    };
    for workload in ["append-read", "transactions", "group-rebalance"] {
        let profile = Some("storm".to_owned());
        let choice = Choice { profile, workload: Some(workload.to_owned()), ..Choice::default() };
        run(&generate(3, &choice), RunOptions { trace: Some(&mut watch), ..RunOptions::default() });
    }
    assert!(seen.len() >= 50, "{} probes are too few", seen.len());
    for (probe, nodes) in seen {
        let said = left_by(probe);
        let said = (said.controller, said.broker);
        // Few nodes halt: one run may have seen but one kind.
        assert!(nodes == said || probe == "node.halted", "{probe}: {nodes:?}, not {said:?}");
    }
}
