//! Clients in every zone write to every partition at a steady pace, before, during and after the
//! middle of the run, where a profile takes a zone away.
//!
//! Tempts the broker to lose what a dead zone acknowledged, to let a zombie acknowledge more, and
//! to leave partitions without a leader.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::time::Dur;

use crate::op::ListSpec;
use crate::schedule::{LOAD, Schedule, Topic, catch_up, create_first, tail, usual_produce};
use crate::{Draw, Op, PlannedOp, Shape, Workload};

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "zone-outage",
    what: "steady load from every zone to every partition across the loss of a zone",
    plan,
};

/// Most partitions: every pair of zone and partition must come round several times.
const PARTITIONS_MAX: u32 = 6;

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    let topic = Topic { name: String::from("steady"), partitions: s.size(3, PARTITIONS_MAX) };
    create_first(s, core::slice::from_ref(&topic));
    read_from_every_zone(s, &topic);
    let beats = s.between(280, 480);
    let pairs = u64::from(topic.partitions) * u64::from(s.zones());
    for beat in 0..beats {
        // Round-robin over zones and partitions, so that no stretch of the run leaves a pair out.
        let pair = beat % pairs;
        let zone = u8::try_from(pair % u64::from(s.zones())).expect("a zone");
        let partition = u32::try_from(pair / u64::from(s.zones())).expect("a partition");
        let at = beat_at(s, beat, beats);
        let client = s.client_of(zone);
        let op = usual_produce(s, &topic, partition);
        s.add(at, client, op);
    }
    // A burst shortly before the middle, so that the outage finds much in flight, and one after it.
    for moment in [490, 700] {
        let begin = s.moment(moment);
        for _ in 0..s.between(5, 15) {
            let at = Dur(begin.0 + s.between(0, 20_000));
            let (client, partition) = (s.client(), s.size(0, topic.partitions - 1));
            let op = usual_produce(s, &topic, partition);
            s.add(at, client, op);
        }
    }
    schedule.finish()
}

/// Load time is cut into equal beats; each operation comes somewhere within its own.
fn beat_at(s: &mut Schedule<'_>, beat: u64, beats: u64) -> Dur {
    let (begin, end) = (s.moment(LOAD.start).0, s.moment(LOAD.end).0);
    let length = (end - begin) / beats;
    Dur(begin + beat * length + s.between(0, length.max(1) - 1))
}

fn read_from_every_zone(s: &mut Schedule<'_>, topic: &Topic) {
    for partition in 0..topic.partitions {
        for zone in 0..s.zones().min(2) {
            // Not the same two zones for every partition.
            let zones = u32::from(s.zones());
            let zone = u8::try_from((u32::from(zone) + partition) % zones).expect("a zone");
            let (client, at) = (s.client_of(zone), s.sometime(20, 150));
            s.add(at, client, tail(topic, partition, true));
        }
        // Who comes later reads what was written before, during and after.
        for (from, to) in [(300, 480), (520, 650), (700, 880)] {
            let (client, at) = (s.client(), s.sometime(from, to));
            s.add(at, client, catch_up(topic, partition));
            let (client, at) = (s.client(), s.sometime(from, to));
            let name = topic.name.clone();
            let op = match s.between(0, 2) {
                0 => Op::EpochEnd { topic: name, partition, back: s.size(0, 2) },
                1 => Op::ListOffsets {
                    topic: name,
                    partition,
                    spec: ListSpec::Latest,
                    committed: false,
                },
                _ => {
                    let spec = ListSpec::AgoMs(s.between(0, 30_000));
                    Op::ListOffsets { topic: name, partition, spec, committed: false }
                }
            };
            s.add(at, client, op);
        }
    }
}
