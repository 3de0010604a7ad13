//! Copies: what was read is written to another topic, and the offset committed with it, in one
//! transaction (consume, transform, produce).
//!
//! One producer per membership; the group's generation keeps a replaced member's transaction from
//! being committed. After a transaction that is not known to be committed the member goes back to
//! where the group is. Source: KIP-447.

use alloc::format;

use broker_core::ids::{TopicId, TopicPartition};
use broker_core::protocol::TransactionResult;
use broker_core::time::Dur;

use super::super::transaction::{End, GroupOffsets, Transaction};
use super::super::transactional::Producers;
use super::super::values;
use super::Member;

impl Member {
    /// Its transaction, while there is one.
    pub(in crate::client) fn transaction(&mut self) -> Option<&mut Transaction> {
        self.copying.as_mut()
    }

    /// Whether its transaction wrote to another topic of the same name, which is gone.
    pub(in crate::client) fn was_for_another(&self, topic: Option<TopicId>) -> bool {
        self.copying.as_ref().is_some_and(|transaction| transaction.was_for_another(topic))
    }

    /// The number of its transaction: an operation has at most 2^15 of them, and a run at most 2^16
    /// operations.
    pub(in crate::client) fn transaction_number(&self) -> Option<u32> {
        self.copying.as_ref().map(|_| 1 << 31 | u32::from(self.copied) << 16 | self.op)
    }

    /// Its transaction is over.
    pub(in crate::client) fn copy_over(&mut self, producers: &mut Producers) {
        let mut transaction = self.copying.take().expect("one was under way");
        let (at, _, upto) = transaction.read().expect("it was made of something");
        if let Some(claim) = self.claims.get_mut(&at) {
            match transaction.is_committed() {
                true => claim.since = Some(upto),
                // Whether it counts, only the coordinator knows.
                false => (claim.sought, claim.since) = (false, None),
            }
        }
        transaction.give_back(producers, self.op);
    }

    /// What was read is to be copied, in a transaction of its own.
    pub(super) fn copy(&mut self, at: TopicPartition, records: usize) {
        let Some(topic) = self.charge.copies_to.clone() else { return };
        let Some((_, since, upto)) = self.uncommitted(&at).filter(|_| records > 0) else { return };
        let instance = self.charge.instance.as_deref();
        let id = match instance {
            Some(instance) => format!("copy-{}-{instance}", self.charge.group),
            None => format!("copy-{}-{}-{}", self.charge.group, self.client, self.op),
        };
        let records = u32::try_from(records).expect("an answer is small");
        let size = (records, values::NUMBER_BYTES);
        let end = End::Decide(TransactionResult::Commit);
        let transaction = Transaction::new((topic, Some(id)), &[at.index.0], size, (Dur(0), end));
        self.copied += 1;
        assert!(self.copied < 1 << 15, "operation {} has too many transactions", self.op);
        self.copying = Some(transaction.with_offsets(GroupOffsets {
            group: self.charge.group.clone(),
            who: self.who.clone(),
            generation: self.generation(),
            coordinator: self.coordinator,
            read: (at, since, upto),
            added: false,
        }));
    }
}
