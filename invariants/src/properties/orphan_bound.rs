//! O6 OrphanBound, as far as WAL objects go: of a live node's WAL no object stays that lies wholly
//! before the trim position written in its newest object, but such as landed after the second
//! deletion (a hedged put may land behind the first, which is why there is a second). Source: AutoMQ
//! feaf4f0248.

use alloc::string::String;

use broker_core::ids::{BrokerEpoch, Lsn, NodeId};

use crate::facts::wals::WalObject;
use crate::{Check, require};

/// What is owed for an object `[start, end)` that is in the store, if anything.
pub(crate) fn owed(
    (node, epoch): (NodeId, BrokerEpoch),
    (start, end): (Lsn, Lsn),
    trim: Lsn,
    object: &WalObject,
) -> Option<String> {
    (end <= trim && !object.deleted_again).then(|| {
        alloc::format!(
            "O6: object {start}-{end} of the WAL {epoch} of node {node} lies before its trim {trim}"
        )
    })
}

/// The run ends, and this is still owed.
pub(crate) fn left(owed: String) -> Check {
    require!(false, O6, "wal", "{owed}");
    Ok(())
}
