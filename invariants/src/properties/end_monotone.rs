//! O5 EndMonotone: a stream's committed end never goes back. Source: AutoMQ a458623abd.

use broker_core::metadata::record::CommittedRange;

use crate::facts::ledger::Stream;
use crate::{Check, require};

/// A range is committed to `stream`, as it is before.
pub(crate) fn committed(range: &CommittedRange, stream: &Stream) -> Check {
    let CommittedRange { stream: id, end, .. } = *range;
    let was = stream.end;
    require!(end >= was, O5, "metadata", "stream {id} ended at {was} and now ends at {end}");
    Ok(())
}
