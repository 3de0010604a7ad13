//! O7 NoDangling: a committed object is in the store from its commit on, and nobody deletes it.
//! Source: Inkless isSafeToDeleteFile; AutoMQ #2653.

use broker_core::ids::ObjectId;

use crate::facts::ledger::Object;
use crate::{Check, require};

/// A deletion took effect.
pub(crate) fn deleted(object: ObjectId, state: Option<&Object>) -> Check {
    require!(
        state != Some(&Object::Committed),
        O7,
        "store",
        "object {object} was deleted, and it is committed"
    );
    Ok(())
}

/// An object is committed, or the run ends and it still is.
pub(crate) fn committed(object: ObjectId, there: bool) -> Check {
    require!(there, O7, "store", "object {object} is committed, and not in the store");
    Ok(())
}
