//! T9 CoordEpochMonotone: the markers of a producer in a partition carry coordinator epochs that
//! never fall: a coordinator that was replaced ends nothing. Source: KIP-98,
//! `ProducerAppendInfo.checkCoordinatorEpoch`.

use broker_core::ids::TopicPartition;

use crate::facts::folded::Deposed;
use crate::{Check, require};

/// The markers of the final log; `deposed`: the first whose coordinator was replaced before.
pub(crate) fn markers(partition: TopicPartition, deposed: Option<&Deposed>) -> Check {
    let Some((producer, offset, epoch, known)) = deposed else { return Ok(()) };
    require!(
        false,
        T9,
        partition,
        "the marker of producer {producer} at offset {offset} is of coordinator epoch {epoch}, \
         behind one of epoch {known}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, P, Txn};

    fn with(epochs: [u32; 2]) -> Case {
        let mut case = Case::cluster("T9");
        case.begins();
        case.log(P, &epochs.map(Txn::EndBy)).finish();
        case
    }

    #[test]
    fn marker_of_an_older_coordinator_breaks() {
        assert!(with([2, 1]).breaks("T9"));
    }

    #[test]
    fn markers_of_one_coordinator_and_its_successor_hold() {
        assert!(with([1, 1]).holds());
        assert!(with([1, 2]).holds());
    }
}
