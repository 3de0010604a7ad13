//! Random faults against the whole: what was acknowledged is there at the end, once, in its place.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::host::*;
use crate::config::BrokerLimits;
use crate::ids::{ConnId, TopicPartition};
use crate::probe::Probe;
use crate::protocol::*;
use crate::step::Input;
use crate::time::Dur;

const SEEDS: u64 = 60;
const STEPS: u64 = 80;

struct Run {
    host: Host,
    partition: TopicPartition,
    asked: Vec<(ConnId, String)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let limits = BrokerLimits {
            wal_bulk_interval: Dur::ms(20),
            wal_unconfirmed_bytes_max: 600,
            upload_backlog_bytes_max: 2_000,
            upload_block_interval: Dur::ms(500),
            cache_bytes_max: 300,
            ..BrokerLimits::default()
        };
        let mut host = Host::new(limits);
        let partition = host.create_topic(&[]);
        host.seed = seed;
        host.trouble = seed % 3 * 5;
        Self { host, partition, asked: Vec::new() }
    }

    fn step(&mut self) {
        let node = if self.host.draw(2) == 0 { A } else { B };
        match self.host.draw(40) {
            0 => self.host.kill(node),
            1..=3 if !self.host.is_up(node) => self.host.boot(node),
            4 => self.host.cut(node, true),
            5..=6 => self.host.cut(node, false),
            7 => self.host.give(node, Input::Drain),
            8 => {
                let us = self.host.draw(30_000_000);
                self.host.run(us);
            }
            9..=12 => {
                let conn = self.host.conn();
                let from = self.host.draw(20);
                self.host.send(node, conn, 0, fetch(self.partition, from, 1));
            }
            13 if !self.asked.is_empty() => {
                let at = self.host.draw(self.asked.len() as u64) as usize;
                let conn = self.asked[at].0;
                self.host.give(node, Input::Gone(conn));
            }
            _ => {
                let value = format!("{}", self.asked.len());
                let (conn, batch) = (self.host.conn(), self.host.batch(&[&value, "tail"]));
                self.host.send(node, conn, 0, produce(self.partition, batch, Acks::All));
                self.asked.push((conn, value));
            }
        }
        let us = self.host.draw(100_000);
        self.host.run(us);
    }

    /// Ends all trouble and lets everything come to rest.
    fn heal(&mut self) {
        self.host.trouble = 0;
        for node in [A, B] {
            self.host.cut(node, false);
        }
        for _ in 0..4 {
            self.host.run(LONG);
            for node in [A, B] {
                if !self.host.is_up(node) {
                    self.host.boot(node);
                }
            }
        }
        for node in [A, B] {
            let broker = self.host.broker(node);
            assert!(broker.is_settled(), "{node:?}: {:?}", broker.blocked());
        }
    }

    /// Returns how many batches were acknowledged.
    fn judge(&mut self) -> usize {
        let read = self.host.read_all(self.partition);
        let place: BTreeMap<&[u8], u64> =
            read.iter().filter(|(_, v)| v != b"tail").map(|(o, v)| (&v[..], *o)).collect();
        assert_eq!(place.len() * 2, read.len(), "something is there twice, or in part");
        let mut acknowledged = 0;
        for (conn, value) in &self.asked {
            let Some(Response::Produce(results)) = self.host.replies.get(&(*conn, 0)) else {
                continue;
            };
            if let Ok(produced) = results[0].result {
                let found = place.get(value.as_bytes()).copied();
                assert_eq!(found, Some(produced.base_offset.0), "{value}");
                acknowledged += 1;
            }
        }
        acknowledged
    }
}

#[test]
fn broker_under_random_faults_keeps_what_it_acknowledged() {
    let (mut acknowledged, mut recovered, mut closed) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.heal();
        acknowledged += run.judge();
        let saw = |wanted: fn(&Probe) -> bool| run.host.saw(A, wanted) + run.host.saw(B, wanted);
        recovered += saw(|probe| matches!(probe, Probe::RecoveryTook { .. }));
        closed += saw(|probe| matches!(probe, Probe::PartitionClosed { .. }));
    }
    assert!(acknowledged > 500 && recovered > 20 && closed > 20);
}
