//! What the coordinator's log says of a transactional id.

use alloc::collections::BTreeSet;

use super::{Epoch, Place, Producer};

/// By the first one, of KIP-98, a producer keeps its epoch from transaction to transaction; by the
/// second one, of KIP-890, each end raises it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Protocol {
    First,
    Second,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) enum State {
    #[default]
    Empty,
    Ongoing,
    /// Whether it is to be committed.
    Decided(bool),
    Complete(bool),
}

/// How a transactional id stands.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Txn {
    pub(crate) producer: Producer,
    pub(crate) epoch: Epoch,
    pub(crate) state: State,
    /// Follows when the transaction is complete: the producer's epochs are used up.
    pub(crate) next: Option<Producer>,
    pub(crate) partitions: BTreeSet<Place>,
    /// Those that have the marker.
    pub(crate) marked: BTreeSet<Place>,
    /// The epoch of the transaction's appends.
    pub(crate) under: Epoch,
    /// The epoch was raised to shut its producer out.
    pub(crate) fenced: bool,
}
