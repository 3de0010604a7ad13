//! Worlds that are searched within bounds: a plan without faults that runs up to a moment, and from
//! there on whatever may happen.

use std::sync::Arc;

use broker_core::mutants::REGISTRY;
use workloads::Op;

use super::Watch;
use super::configurations::{Variant, evaluated};
use super::forward::{Bounds, Forward, Haste};
use crate::decider::until::world_at;
use crate::outcome::Verdict;
use crate::plan::Plan;
use crate::plan::then::Until;
use crate::plan::toml::{Document, read};

/// A world and how often what may happen to it.
#[derive(Debug)]
pub struct Scenario {
    /// The file with the plan, and what is in it.
    pub plan: (&'static str, &'static str),
    /// Where the search begins, as in a plan's `[then]`.
    pub from: &'static str,
    /// How often what may happen.
    pub bounds: Bounds,
    /// Properties that must be asked.
    pub properties: &'static [&'static str],
    /// Marks that must be reached.
    pub marks: &'static [&'static str],
}

type File = (&'static str, &'static str);

macro_rules! plan {
    ($name:literal) => {
        (concat!("sim/src/model/plans/", $name), include_str!(concat!("plans/", $name)))
    };
}

/// A client with two batches, which fill one object or two.
const WAL: File = plan!("wal.toml");
/// The same, of an idempotent producer.
const PRODUCER: File = plan!("producer.toml");
/// Three controllers, a broker, a client with a batch.
const CONTROLLERS: File = plan!("controllers.toml");
/// A committed transaction, and while another is to be committed a second producer takes over its
/// id and aborts one; a reader of what is committed.
const TRANSACTIONS: File = plan!("transactions.toml");
/// The same in two partitions.
const PARTITIONS: File = plan!("transactions-partitions.toml");
/// A transaction that is to be committed, whose batch is acknowledged, and another by the same
/// producer, which is to be aborted.
const LATE_END: File = plan!("transactions-late-end.toml");
/// Two members of a group by the classic protocol; the second one joins.
const CLASSIC: File = plan!("group-classic.toml");
/// The same by the protocol of KIP-848.
const CONSUMER: File = plan!("group-consumer.toml");
/// Steps from a moment of the plan at which nothing is going on.
const fn scenario(plan: File, from: &'static str, bounds: Bounds) -> Scenario {
    Scenario { plan, from, bounds, properties: &[], marks: &[] }
}

/// Objects are not what it is about: none is sealed but by a recovery.
const NO_OBJECTS: Bounds = Bounds { seals: 0, ..Bounds::NONE };

/// The store does not answer, refuses, or is asked twice.
pub const WAL_STORE: Scenario = Scenario {
    properties: &["L1", "L2", "L5", "O1", "O3", "W1", "W2", "LV10", "RF2"],
    marks: &["own-write-refused", "commit-found-applied", "throttled-put"],
    ..scenario(WAL, "2.9s", Bounds { delays: 1, retries: 1, store_faults: 1, ..Bounds::NONE })
};

/// A broker is taken for dead at any moment, and goes on all the same.
pub const WAL_FAILOVER: Scenario = Scenario {
    properties: &["L1", "L2", "L5", "L8", "O1", "O3", "O4", "O7", "W1", "W2", "W3", "W4", "RF2"],
    marks: &[
        "commit-for-dead",
        "leader-moved",
        "wal-sealed",
        "RF2:TakeOver",
        "RF2:Run",
        "RF2:Take",
    ],
    ..scenario(WAL, "2.9s", Bounds { delays: 1, expiries: 1, ..Bounds::NONE })
};

/// As before, with more that is late.
pub const WAL_LATE: Scenario = Scenario {
    marks: &["late-confirm", "zombie-put-after-list", "verify-lost-to-claim"],
    ..scenario(WAL, "2.9s", Bounds { delays: 2, expiries: 1, ..Bounds::NONE })
};

/// A broker dies at any moment, or is taken for dead, and is started again.
pub const WAL_CRASH: Scenario = Scenario {
    properties: &["L1", "L2", "L5", "L8", "O1", "O3", "O4", "W1", "W2", "W3", "W4", "RF2"],
    marks: &["leader-moved", "wal-sealed", "RF2:Open", "RF2:Register", "RF2:Take"],
    ..scenario(WAL, "2.9s", Bounds { expiries: 1, broker_crashes: 1, restarts: 1, ..Bounds::NONE })
};

/// As before, and something is late.
pub const WAL_LATE_CRASH: Scenario = Scenario {
    marks: &["recovery-of-recovery", "zombie-put-after-list"],
    ..scenario(
        WAL,
        "2.9s",
        Bounds { delays: 1, expiries: 1, broker_crashes: 1, restarts: 1, ..Bounds::NONE },
    )
};

/// The controller dies at any moment, and is started again.
pub const WAL_CONTROLLER: Scenario = Scenario {
    properties: &["L1", "L2", "O1", "O3", "R4", "M1"],
    marks: &[],
    ..scenario(
        WAL,
        "2.9s",
        Bounds { delays: 1, retries: 1, controller_crashes: 1, restarts: 1, ..Bounds::NONE },
    )
};

/// A broker is taken for dead at any moment, while the store does not do what it is asked.
pub const WAL_STORE_FAILOVER: Scenario = Scenario {
    properties: &["L1", "W1", "W3", "W4", "O1", "O4"],
    marks: &["own-write-refused", "wal-sealed"],
    ..scenario(WAL, "2.9s", Bounds { delays: 1, expiries: 1, store_faults: 1, ..Bounds::NONE })
};

/// A controller dies at any moment, and is started again.
pub const CONTROLLERS_CRASH: Scenario = Scenario {
    properties: &["R1", "R2", "R3", "R4", "R5", "R6", "R9"],
    marks: &["second-leader", "unflushed-tail-lost", "diverging-truncation", "torn-tail-cut"],
    ..scenario(
        CONTROLLERS,
        "2.9s",
        Bounds { delays: 1, retries: 1, controller_crashes: 1, restarts: 1, ..NO_OBJECTS },
    )
};

/// As before, with more suspicion and nothing late.
pub const CONTROLLERS_DIVERGE: Scenario = Scenario {
    properties: &["R1", "R2", "R3", "R4", "R5", "R6", "R9"],
    marks: &["second-leader", "unflushed-tail-lost", "diverging-truncation", "torn-tail-cut"],
    ..scenario(
        CONTROLLERS,
        "2.9s",
        Bounds { retries: 2, controller_crashes: 1, restarts: 1, ..NO_OBJECTS },
    )
};

/// Controllers suspect each other.
pub const CONTROLLERS_ELECTIONS: Scenario = Scenario {
    properties: &["R1", "R2", "R3", "R4", "R5", "R6", "R9"],
    marks: &["second-leader", "check-quorum-resigned"],
    ..scenario(CONTROLLERS, "2.9s", Bounds { delays: 1, retries: 2, ..NO_OBJECTS })
};

/// A batch is sent again, for its connection broke or its answer is late.
pub const PRODUCER_RETRIES: Scenario = Scenario {
    properties: &["L1", "L2", "C1"],
    marks: &["produce-repeated"],
    ..scenario(PRODUCER, "2.9s", Bounds { delays: 1, waits: 2, link_faults: 1, ..NO_OBJECTS })
};

/// A batch is sent again, to whoever leads now.
pub const PRODUCER_FAILOVER: Scenario = Scenario {
    properties: &["L1", "L2", "C1", "W3", "W4"],
    marks: &["failover-served", "leader-moved", "epoch-moved"],
    ..scenario(PRODUCER, "2.9s", Bounds { delays: 1, expiries: 1, waits: 2, ..NO_OBJECTS })
};

/// Whatever is on its way between nodes, or to and from the store, is late.
pub const TRANSACTIONS_LATE: Scenario = Scenario {
    properties: &["T2", "T3", "T4", "T10", "P1", "RF3"],
    marks: &["transaction-committed", "transaction-aborted", "refused-replaced", "RF3:Fence"],
    ..scenario(TRANSACTIONS, "19s", Bounds { delays: 1, ..NO_OBJECTS })
};

/// A coordinator or a leader is taken for dead at any moment.
pub const TRANSACTIONS_FAILOVER: Scenario = Scenario {
    properties: &["T2", "T3", "T4", "T10", "P1", "W3", "W4", "RF3"],
    marks: &["coordinator-moved", "decision-inherited", "open-across-failover"],
    ..scenario(TRANSACTIONS, "19s", Bounds { expiries: 1, ..NO_OBJECTS })
};

/// A message between nodes is lost or comes twice, a connection breaks.
pub const TRANSACTIONS_LINKS: Scenario = Scenario {
    properties: &["T2", "T3", "T4", "P1", "RF3"],
    marks: &["transaction-committed", "RF3:MarkAgain"],
    ..scenario(TRANSACTIONS, "19s", Bounds { link_faults: 1, ..NO_OBJECTS })
};

/// Whatever is on its way is late, while transactions are in two partitions.
pub const PARTITIONS_LATE: Scenario = Scenario {
    properties: &["T2", "T3", "T4", "P1", "RF3"],
    marks: &["transaction-committed", "transaction-aborted", "RF3:Fence"],
    ..scenario(PARTITIONS, "19s", Bounds { delays: 1, ..NO_OBJECTS })
};

/// A coordinator or a leader is taken for dead at any moment, while transactions are in two
/// partitions.
pub const PARTITIONS_FAILOVER: Scenario = Scenario {
    properties: &["T2", "T3", "T4", "P1", "W3", "W4", "RF3"],
    marks: &["coordinator-moved", "decision-inherited", "open-across-failover"],
    ..scenario(PARTITIONS, "19s", Bounds { expiries: 1, ..NO_OBJECTS })
};

/// An end may be late, so that its client has asked again and begun the next transaction when it
/// comes. By the first protocol it ends that one (KAFKA-17754).
pub const TRANSACTIONS_LATE_END: Scenario = Scenario {
    properties: &["T3", "T4", "RF3"],
    marks: &["transaction-committed", "transaction-aborted"],
    ..scenario(LATE_END, "partition.acked:3", Bounds { delays: 1, waits: 3, ..NO_OBJECTS })
};

/// A coordinator or a leader dies, or is taken for dead, and is started again.
pub const TRANSACTIONS_CRASH: Scenario = Scenario {
    properties: &["T2", "T3", "T4", "T10", "P1", "W3", "W4", "RF3"],
    marks: &["coordinator-moved", "decision-inherited", "open-across-failover"],
    ..scenario(
        TRANSACTIONS,
        "19s",
        Bounds { expiries: 1, broker_crashes: 1, restarts: 1, ..NO_OBJECTS },
    )
};

/// A coordinator is taken for dead, and something is late.
pub const TRANSACTIONS_LATE_FAILOVER: Scenario = Scenario {
    marks: &["coordinator-moved", "decision-inherited", "open-across-failover"],
    ..scenario(TRANSACTIONS, "19s", Bounds { delays: 1, expiries: 1, ..NO_OBJECTS })
};

/// Something is late while a member joins.
pub const CLASSIC_LATE: Scenario = Scenario {
    properties: &["G1", "G5"],
    marks: &["generation-shared"],
    ..scenario(CLASSIC, "19s", Bounds { delays: 1, waits: 4, ..NO_OBJECTS })
};

/// A coordinator is taken for dead, or a member.
pub const CLASSIC_FAILOVER: Scenario = Scenario {
    properties: &["G1", "G4", "G5", "Q2"],
    marks: &["offsets-inherited", "generation-shared"],
    ..scenario(CLASSIC, "19s", Bounds { expiries: 1, waits: 3, ..NO_OBJECTS })
};

/// Something is late while a member joins.
pub const CONSUMER_LATE: Scenario = Scenario {
    properties: &["G5"],
    marks: &[],
    ..scenario(CONSUMER, "19s", Bounds { delays: 1, waits: 3, ..NO_OBJECTS })
};

/// A coordinator is taken for dead, or a member.
pub const CONSUMER_FAILOVER: Scenario = Scenario {
    properties: &["G1", "G4", "G5", "Q2"],
    marks: &["offsets-inherited"],
    ..scenario(CONSUMER, "19s", Bounds { expiries: 1, waits: 3, ..NO_OBJECTS })
};

impl Scenario {
    /// The plan, so changed.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn plan(&self, Variant { mutants, protocol }: Variant) -> Plan {
        let (file, text) = self.plan;
        let Ok(Document::Plan(mut plan)) = read(file, text) else { panic!("{file} is no plan") };
        let on = REGISTRY.iter().filter(|row| mutants.on(row.mutant));
        plan.mutants = on.map(|row| row.id.to_owned()).collect();
        plan.protocol = protocol;
        plan
    }

    /// Whether there are transactions.
    #[must_use]
    pub fn has_transactions(&self) -> bool {
        let ops = self.plan(Variant::RIGHT).ops;
        ops.iter().any(|planned| matches!(planned.op, Op::Transaction { .. }))
    }

    /// The model. `Err`: so changed, a property is violated on the way to where it begins.
    ///
    /// # Errors
    /// With how the run ended.
    ///
    /// # Panics
    /// If the plan never comes there.
    pub fn model(&self, variant: Variant, watch: Arc<Watch>) -> Result<Forward, Verdict> {
        let until = Until::parse(self.from).expect("it can be read");
        let there = world_at(&self.plan(variant), until)?;
        let (world, at) = there.expect("the plan comes there");
        Ok(Forward::new(world, at, Haste::Urgent, self.bounds, watch))
    }

    /// What it must reach, or it shows nothing.
    #[must_use]
    pub fn reaches(&self) -> Vec<&'static str> {
        let bounds = &self.bounds;
        let actions = [
            (true, &["store.take", "store.answer", "op"][..]),
            (bounds.delays > 0, &["delay"]),
            (bounds.expiries > 0, &["expire"]),
            (bounds.broker_crashes + bounds.controller_crashes > 0, &["crash"]),
            (bounds.restarts > 0, &["boot"]),
            (
                bounds.store_faults > 0,
                &["store.forget", "store.give-up", "store.refuse", "store.double"],
            ),
            (bounds.link_faults > 0, &["lose", "double", "break"]),
        ];
        let actions = actions.into_iter().filter(|(may, _)| *may).flat_map(|(_, names)| names);
        evaluated(self.properties)
            .chain(actions.copied())
            .chain(self.marks.iter().copied())
            .collect()
    }
}
