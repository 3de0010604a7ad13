//! What is in flight: unordered, taken out by handle, hashed without regard to the order in which
//! it went in, so that two paths to one situation hash equal.

use std::hash::{Hash, Hasher};

use broker_core::hash::digest;

/// Names something in flight; never mistaken for what stood in the same place before or after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Handle {
    slot: u32,
    generation: u32,
}

/// Things in flight.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Puts something in.
    pub fn insert(&mut self, value: T) -> Handle {
        if let Some(slot) = self.free.pop() {
            let (generation, place) = &mut self.slots[slot as usize];
            *place = Some(value);
            return Handle { slot, generation: *generation };
        }
        self.slots.push((0, Some(value)));
        Handle { slot: self.slots.len() as u32 - 1, generation: 0 }
    }

    /// What the handle names, if it is still in flight.
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let (generation, place) = self.slots.get(handle.slot as usize)?;
        place.as_ref().filter(|_| *generation == handle.generation)
    }

    /// What the handle names, if it is still in flight.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let (generation, place) = self.slots.get_mut(handle.slot as usize)?;
        place.as_mut().filter(|_| *generation == handle.generation)
    }

    /// Takes it out.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let (generation, place) = self.slots.get_mut(handle.slot as usize)?;
        if *generation != handle.generation {
            return None;
        }
        let value = place.take()?;
        *generation += 1;
        self.free.push(handle.slot);
        Some(value)
    }

    /// All that is in flight.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, (generation, place))| {
            let handle = Handle { slot: slot as u32, generation: *generation };
            place.as_ref().map(|value| (handle, value))
        })
    }
}

impl<T: Hash> Hash for Slab<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut sum = 0_u128;
        let mut count = 0_u64;
        for (_, value) in self.iter() {
            sum = sum.wrapping_add(digest(value));
            count += 1;
        }
        state.write_u64(count);
        state.write_u128(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slab_hash_ignores_order_and_gaps_but_not_number() {
        let mut one = Slab::default();
        one.insert(1_u64);
        let gap = one.insert(9);
        one.insert(2);
        one.remove(gap);
        let mut other = Slab::default();
        other.insert(2_u64);
        other.insert(1);
        assert_eq!(digest(&one), digest(&other));
        other.insert(1);
        assert_ne!(digest(&one), digest(&other));
    }

    #[test]
    fn slab_handle_of_a_former_tenant_finds_nothing() {
        let mut slab = Slab::default();
        let old = slab.insert('a');
        assert_eq!(slab.remove(old), Some('a'));
        let new = slab.insert('b');
        assert_eq!((slab.remove(old), slab.get(old), slab.get(new)), (None, None, Some(&'b')));
    }
}
