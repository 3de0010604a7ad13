//! O3 CommitIdem: a commit that is sent again is found applied, or refused; the log never holds it
//! twice, nor the commit of an object that was never prepared or has expired. Source: AutoMQ #1055,
//! a458623abd.

use broker_core::ids::ObjectId;

use crate::facts::ledger::Object;
use crate::{Check, require};

/// An object is committed; `was` is its state before.
pub(crate) fn committed(object: ObjectId, was: Option<&Object>) -> Check {
    require!(
        matches!(was, Some(Object::Prepared { .. })),
        O3,
        "metadata",
        "object {object} is committed, but it was {was:?}"
    );
    Ok(())
}
