//! The generator's random numbers: ChaCha8 streams keyed by seed, purpose and entity.
//!
//! They share no stream with what a run draws from its background, although both begin with the
//! same `u64`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream decides. The number is part of the key: never renumber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// Which profile.
    Profile = 1,
    /// Which workload.
    Workload = 2,
    /// Nodes and zones.
    Topology = 3,
    /// Sizes.
    Limits = 4,
    /// Length of the safety phase.
    Length = 5,
    /// The workload's operations.
    Operations = 6,
    /// How many faults, and which recipes.
    Faults = 7,
    /// One use of one recipe.
    Recipe = 8,
    /// The query of a run that has one.
    Query = 9,
    /// What is done to it.
    QueryFaults = 10,
    /// When a command of the user's breaks a real cluster, and heals it.
    Nemesis = 11,
}

/// One stream of draws.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `purpose` and `entity` for a seed.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose, entity: u64) -> Self {
        let mut key = *b"seedbed generator, plan format 1";
        for (byte, seed) in key.iter_mut().zip(seed.to_le_bytes()) {
            *byte ^= seed;
        }
        key[31] = purpose as u8;
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(entity);
        Self(rng)
    }

    /// A number in `0..bound`; `bound` is at least 1. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `min` to `max`, both included.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max - min + 1)
    }

    /// The same in whole steps, so that plans hold round numbers.
    pub fn steps(&mut self, min: u64, max: u64, step: u64) -> u64 {
        min + self.below((max - min) / step + 1) * step
    }

    /// Yes in `per_mille` of 1,000 draws.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of them; there is at least one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

impl workloads::Draw for Stream {
    fn below(&mut self, bound: u64) -> u64 {
        Self::below(self, bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draw_streams_differ_by_seed_purpose_and_entity() {
        let first = |seed, purpose, entity| Stream::new(seed, purpose, entity).0.next_u64();
        let base = first(1, Purpose::Recipe, 7);
        assert_eq!(base, first(1, Purpose::Recipe, 7));
        assert_ne!(base, first(2, Purpose::Recipe, 7));
        assert_ne!(base, first(1, Purpose::Faults, 7));
        assert_ne!(base, first(1, Purpose::Recipe, 8));
    }

    #[test]
    fn draw_between_reaches_both_ends_and_nothing_beyond() {
        let mut stream = Stream::new(1, Purpose::Limits, 0);
        let drawn: std::collections::BTreeSet<_> =
            (0..300).map(|_| stream.steps(10, 40, 10)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [10, 20, 30, 40]);
        let drawn: std::collections::BTreeSet<_> = (0..300).map(|_| stream.between(3, 5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
