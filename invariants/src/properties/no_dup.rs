//! P1 NoDup: a batch of an idempotent producer is in the log once at most, however often it was
//! sent: no (producer id, epoch, sequence number) twice in a partition, and no value of such a send
//! twice, be it under another number. Nor is a producer id given to two producers, where all that
//! have one transactional id are one. Source: KIP-98 (exactly-once delivery per partition),
//! KIP-730.

use broker_core::ids::{Offset, ProducerId, TopicPartition};

use crate::bytes::Numbered;
use crate::facts::clients::Send;
use crate::{Check, require};

/// A batch with these numbers is in the log; `known`: the same numbers were there before.
pub(crate) fn stored(partition: TopicPartition, batch: &Numbered, known: Option<Offset>) -> Check {
    let Numbered { id, epoch, first, base, .. } = *batch;
    let Some(known) = known else { return Ok(()) };
    require!(
        false,
        P1,
        partition,
        "the batches at offsets {known} and {base} have the same sequence number {} of producer \
         {id}, epoch {epoch}",
        first.0
    );
    Ok(())
}

/// The batch of an idempotent `send` was observed to begin at `base`.
pub(crate) fn placed(partition: TopicPartition, value: u64, send: &Send, base: Offset) -> Check {
    let known = send.base.unwrap_or(base);
    require!(
        known == base,
        P1,
        (partition, base),
        "the idempotent batch with value {value} is at offset {known} and at offset {base}"
    );
    Ok(())
}

/// A client was given a producer id; `sole`: it may be that producer's, or transactional id's,
/// alone.
pub(crate) fn given(id: ProducerId, sole: bool) -> Check {
    require!(sole, P1, "producer ids", "producer id {id} was given out twice");
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{ProducerEpoch, ProducerId};

    use crate::history::{Answer, Call};
    use crate::testing::Case;

    #[test]
    fn idempotent_value_at_two_offsets_breaks() {
        let mut case = Case::cluster("P1");
        case.idempotent(100, 1, 0).reads(0, 0, 2, &[(0, 100, 0), (1, 100, 0)]);
        assert!(case.breaks("P1"));
    }

    #[test]
    fn value_of_another_send_at_the_next_offset_holds() {
        let mut case = Case::cluster("P1");
        case.idempotent(100, 1, 0).idempotent(101, 1, 1);
        case.reads(0, 0, 2, &[(0, 100, 0), (1, 101, 0)]);
        assert!(case.holds());
    }

    #[test]
    fn sequence_number_twice_in_the_final_log_breaks() {
        let mut case = Case::cluster("P1");
        case.commit_numbered(&[(0, 1, 100, 0), (1, 2, 101, 0)]).finish();
        assert!(case.breaks("P1"));
    }

    #[test]
    fn sequence_numbers_that_count_on_in_the_final_log_hold() {
        let mut case = Case::cluster("P1");
        case.commit_numbered(&[(0, 1, 100, 0), (1, 2, 101, 1)]).finish();
        assert!(case.holds());
    }

    fn given(ids: [u64; 2]) -> Case {
        let mut case = Case::cluster("P1");
        for id in ids {
            let asked = case.invoke(1, Call::InitProducerId {
                transactional: false,
                id: None,
                timeout: None,
                expected: None,
            });
            case.ok(asked, Answer::ProducerId(ProducerId(id), ProducerEpoch(0)));
        }
        case
    }

    #[test]
    fn producer_id_given_twice_breaks() {
        assert!(given([7, 7]).breaks("P1"));
    }

    #[test]
    fn producer_ids_given_once_hold() {
        assert!(given([7, 8]).holds());
    }
}
