//! What an operation is: one task of six kinds, and what its session must know of each.
//!
//! What is asked and what an answer means is in the tasks' own files ([`super::producer`],
//! [`super::transaction`], [`super::reader`], [`super::member`], [`super::queries`]).

use alloc::boxed::Box;

use broker_core::ids::{PartitionIndex, TopicId};
use broker_core::protocol::{Isolation, TransactionResult};
use broker_core::step::Cx;
use broker_core::time::Dur;

use super::connections::Lane;
use super::idempotence::Place;
use super::member::{Charge, Member};
use super::metadata::Route;
use super::mixed;
use super::producer::Produce;
use super::queries::{Admin, Order, Query, Question};
use super::reader::{Kind, Mode, Reader};
use super::transaction::{End, Transaction};
use crate::op::{Op, TxnEnd};

/// An operation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Task {
    Produce(Produce),
    Transaction(Box<Transaction>),
    Query(Query),
    Admin(Admin),
    Reader(Reader),
    Member(Box<Member>),
}

impl Task {
    pub(super) fn new((client, op): (u16, u32), what: Op, cx: &Cx) -> Self {
        let admin = |topic, order| Self::Admin(Admin { topic, order, id: None });
        let lot = mixed(cx.entropy, !u64::from(op));
        let isolation = |committed| match committed {
            true => Isolation::ReadCommitted,
            false => Isolation::ReadUncommitted,
        };
        let reader = |topic, partition, mode, committed| {
            let kind = Kind { mode, isolation: isolation(committed) };
            Self::Reader(Reader::new(topic, PartitionIndex(partition), kind, lot))
        };
        match what {
            Op::CreateTopic { topic, partitions } => admin(topic, Order::Create { partitions }),
            Op::DeleteTopic { topic } => admin(topic, Order::Delete),
            Op::AddPartitions { topic, count } => admin(topic, Order::AddPartitions { count }),
            Op::AlterConfig { topic, key, value } => admin(topic, Order::Alter { key, value }),
            Op::DescribeConfigs { topic } => admin(topic, Order::Describe),
            Op::Produce { topic, partition, records, bytes, acks, damaged, idempotent } => {
                let (size, how) = ((records, bytes), (damaged, idempotent));
                Self::Produce(Produce::new(topic, PartitionIndex(partition), size, acks, how))
            }
            Op::Transaction { topic, id, partitions, records, bytes, think_ms, end } => {
                let (size, think) = ((records, bytes), Dur::ms(think_ms.into()));
                let end = match end {
                    TxnEnd::Commit => End::Decide(TransactionResult::Commit),
                    TxnEnd::Abort => End::Decide(TransactionResult::Abort),
                    TxnEnd::Leave => End::Leave,
                };
                let transaction = Transaction::new((topic, id), &partitions, size, (think, end));
                Self::Transaction(Box::new(transaction))
            }
            Op::Tail { topic, partition, from_start, committed } => {
                reader(topic, partition, Mode::Tail { from_start }, committed)
            }
            Op::Consume { topic, group, protocol, instance, stays_ms, vanishes, copies_to } => {
                let stays = (stays_ms > 0).then(|| Dur::ms(stays_ms.into()));
                let charge =
                    Charge { topic, group, protocol, instance, stays, vanishes, copies_to };
                Self::Member(Box::new(Member::new(charge, (client, op), lot)))
            }
            Op::CatchUp { topic, partition, committed } => {
                reader(topic, partition, Mode::CatchUp { until: None }, committed)
            }
            Op::ListOffsets { topic, partition, spec, committed } => Self::Query(Query {
                topic,
                partition: PartitionIndex(partition),
                question: Question::Offset(spec, isolation(committed)),
            }),
            Op::EpochEnd { topic, partition, back } => Self::Query(Query {
                topic,
                partition: PartitionIndex(partition),
                question: Question::EpochEnd { back },
            }),
        }
    }

    /// Where an idempotent batch waits for its turn.
    pub(super) fn place(&self) -> Option<Place> {
        match self {
            Self::Produce(produce) => produce.place(),
            Self::Transaction(_)
            | Self::Query(_)
            | Self::Admin(_)
            | Self::Reader(_)
            | Self::Member(_) => None,
        }
    }

    /// Whether all attempts are one call.
    pub(super) fn is_standing(&self) -> bool {
        matches!(self, Self::Transaction(_) | Self::Member(_)) || self.place().is_some()
    }

    /// Whether it began in another topic of the same name, which is gone.
    pub(super) fn was_for_another(&self, topic: Option<TopicId>) -> bool {
        match self {
            Self::Produce(produce) => produce.was_for_another(topic),
            Self::Transaction(transaction) => transaction.was_for_another(topic),
            Self::Member(member) => member.was_for_another(topic),
            Self::Query(_) | Self::Admin(_) | Self::Reader(_) => false,
        }
    }

    /// The transaction that it is, or that is under way in it.
    pub(super) fn transaction(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Transaction(transaction) => Some(transaction),
            Self::Member(member) => member.transaction(),
            Self::Produce(_) | Self::Query(_) | Self::Admin(_) | Self::Reader(_) => None,
        }
    }

    /// The topics that it needs to know.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        let (topic, second) = match self {
            Self::Member(member) => (&*member.charge.topic, member.charge.copies_to.as_deref()),
            _ => (self.topic(), None),
        };
        core::iter::once(topic).chain(second)
    }

    /// The topic that it asks about.
    pub(super) fn topic(&self) -> &str {
        match self {
            Self::Produce(produce) => &produce.topic,
            Self::Transaction(transaction) => &transaction.topic,
            Self::Query(query) => &query.topic,
            Self::Admin(admin) => &admin.topic,
            Self::Reader(reader) => &reader.topic,
            Self::Member(member) => member.topic(),
        }
    }

    pub(super) fn route(&self) -> Route {
        match self {
            Self::Produce(produce) => produce.route(),
            Self::Transaction(transaction) => transaction.route(),
            Self::Query(query) => query.route(),
            Self::Admin(admin) => admin.route(),
            Self::Reader(reader) => reader.route(),
            Self::Member(member) => member.route(),
        }
    }

    pub(super) fn lane(&self, op: u32) -> Lane {
        match self {
            Self::Produce(_) | Self::Transaction(_) | Self::Query(_) | Self::Admin(_) => {
                Lane::Calls
            }
            Self::Reader(_) | Self::Member(_) => Lane::Reader(op),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Produce(_) => "produce to",
            Self::Transaction(_) => "transaction in",
            Self::Query(_) => "query of",
            Self::Admin(_) => "admin of",
            Self::Reader(_) => "read of",
            Self::Member(_) => "membership for",
        }
    }
}
