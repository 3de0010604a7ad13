//! Whose each producer id is: a transactional id keeps its own from producer to producer, every
//! other one is given out once. Source: KIP-98, `ProducerIdManager.java`.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

use broker_core::ids::ProducerId;

/// Who was given a producer id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Owner {
    /// An idempotent producer.
    Idempotent,
    /// A transactional id, by its place, if it is told.
    Transactional(Option<u32>),
}

impl Owner {
    /// Whether both may be one transactional id.
    fn may_be(self, other: Self) -> bool {
        match (self, other) {
            (Self::Idempotent, _) | (_, Self::Idempotent) => false,
            (Self::Transactional(one), Self::Transactional(other)) => {
                one.zip(other).is_none_or(|(one, other)| one == other)
            }
        }
    }
}

/// All that clients were given.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ProducerIds(BTreeMap<ProducerId, Owner>);

impl ProducerIds {
    /// An id was given to somebody: whether it can be theirs alone; `None`: there was none before
    /// that it could have been somebody else's.
    pub(crate) fn given(&mut self, id: ProducerId, owner: Owner) -> Option<bool> {
        let others = self.0.len();
        match self.0.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(owner);
                (others > 0).then_some(true)
            }
            Entry::Occupied(mut entry) => {
                let before = *entry.get();
                let sole = before.may_be(owner);
                if before == Owner::Transactional(None) {
                    entry.insert(owner);
                }
                (others > 1 || !sole).then_some(sole)
            }
        }
    }
}
