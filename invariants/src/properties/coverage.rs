//! O2 Coverage: every offset of a stream's committed part is in the object that the metadata names,
//! under the right stream and epoch, in whole, sound batches without gaps; with the values
//! acknowledged (which L3 and L4 compare on the log that this check reads back). Source: AutoMQ
//! StreamReader.continuousCheck, #2653.

use broker_core::ids::{LeaderEpoch, ObjectId, Offset, StreamId};

use crate::facts::ledger::Stream;
use crate::{Check, Violation, require};
use crate::table::Code;

/// A batch of an object's block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) object: ObjectId,
    pub(crate) stream: StreamId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
}

/// An object could not be read.
pub(crate) fn unreadable(object: ObjectId, why: &str) -> Violation {
    Violation::of(
        Code::O2,
        "store",
        alloc::format!("object {object} can not be read: {why}"),
    )
}

/// A batch follows where `at` is next in its stream.
pub(crate) fn block(block: Block, at: Offset, stream: &Stream) -> Check {
    let Block { object, stream: id, epoch, base, end } = block;
    require!(
        base == at && end > base,
        O2,
        "store",
        "object {object}, stream {id}: a batch [{base}, {end}) where {at} is next"
    );
    let place = stream.ranges.partition_point(|range| range.start <= base).wrapping_sub(1);
    let within = stream
        .ranges
        .get(place)
        .is_some_and(|range| range.epoch == epoch && end <= stream.range_end(place));
    require!(
        within,
        O2,
        "store",
        "object {object}, stream {id}: a batch [{base}, {end}) of epoch {epoch}, ranges {:?}",
        stream.ranges
    );
    Ok(())
}

/// The batch inside a block says where it lies itself.
pub(crate) fn stamped(
    block: Block,
    offsets: (Offset, Offset),
    epoch: Option<LeaderEpoch>,
) -> Check {
    let Block { object, stream, epoch: named, base, end } = block;
    require!(
        offsets == (base, end) && epoch == Some(named),
        O2,
        "store",
        "object {object}, stream {stream}: the batch at [{base}, {end}) of epoch {named} says \
         {offsets:?} of {epoch:?}"
    );
    Ok(())
}

/// An object's piece of a stream ended at `at`.
pub(crate) fn piece_ends(object: ObjectId, stream: StreamId, at: Offset, end: Offset) -> Check {
    require!(
        at == end,
        O2,
        "store",
        "object {object}, stream {stream}: the data ends at {at}, the metadata says {end}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{A, A_EPOCH, Case};

    #[test]
    fn object_with_a_gap_breaks() {
        let mut case = Case::cluster("O2");
        case.produce(100, 4);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100), (2, 4, 102)]);
        case.upload(0, A, 0, &[(0, 2, 100)]).finish();
        assert!(case.breaks("O2"));
    }

    #[test]
    fn object_that_covers_its_range_holds() {
        let mut case = Case::cluster("O2");
        case.produce(100, 4);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100), (2, 4, 102)]).finish();
        assert!(case.holds());
    }

    #[test]
    fn object_under_another_epoch_breaks() {
        let mut case = Case::cluster("O2");
        case.produce(100, 4);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.upload(0, A, 1, &[(0, 2, 100)]).finish();
        assert!(case.breaks("O2"));
    }

    #[test]
    fn object_cut_short_breaks() {
        let mut case = Case::cluster("O2");
        case.produce(100, 4);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        for body in case.fake.objects.values_mut() {
            *body = body.slice(..body.len().saturating_sub(1));
        }
        case.finish();
        assert!(case.breaks("O2"));
    }
}
