//! A small multiply-and-mix hasher of 128 bits for traces, worlds and recordings: fast, the same on
//! every little-endian platform, not cryptographic. Construction: two lanes folded by 64 × 64 → 128
//! bit products, as in wyhash and its descendants. What a derived `Hash` writes to it is the
//! compiler's choice, and has not changed for years; a test in `broker` notices if it does.

use core::hash::{Hash, Hasher};

/// Odd numbers with about half their bits set (from the digits of π).
const K: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1];

/// A rolling hash of everything written to it, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rolling {
    left: u64,
    right: u64,
}

impl Default for Rolling {
    fn default() -> Self {
        Self { left: K[1], right: K[2] }
    }
}

impl Rolling {
    /// The 128 bits.
    #[must_use]
    pub fn value(self) -> u128 {
        let left = fold(self.left ^ K[0], self.right ^ K[1]);
        let right = fold(self.right ^ K[2], self.left ^ K[0]);
        u128::from(left) << 64 | u128::from(right)
    }

    /// The low 64 bits.
    #[must_use]
    pub fn low(self) -> u64 {
        self.value() as u64
    }

    /// Adds one word. Both lanes depend on every word, and on the order.
    #[inline]
    pub fn word(&mut self, word: u64) {
        self.left = fold(self.left ^ word, K[0]);
        self.right = self.right.rotate_left(23).wrapping_add(word ^ self.left).wrapping_mul(K[2]);
    }

    /// Adds bytes: all of them, 16 at a time.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut left = self.left ^ bytes.len() as u64;
        let mut right = self.right;
        let mut chunks = bytes.chunks_exact(16);
        for chunk in &mut chunks {
            let (low, high) = chunk.split_at(8);
            let low = u64::from_le_bytes(low.try_into().expect("8 bytes"));
            let high = u64::from_le_bytes(high.try_into().expect("8 bytes"));
            left = fold(left ^ low, K[0] ^ high);
            right = right.rotate_left(23).wrapping_add(high ^ left);
        }
        let mut last = [0; 16];
        let rest = chunks.remainder();
        last[..rest.len()].copy_from_slice(rest);
        self.left = left;
        self.right = right;
        let [low, high] =
            [0, 8].map(|at| u64::from_le_bytes(last[at..at + 8].try_into().expect("8 bytes")));
        self.word(low);
        self.word(high);
    }
}

impl Hasher for Rolling {
    #[inline]
    fn finish(&self) -> u64 {
        self.low()
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
    }

    #[inline]
    fn write_u8(&mut self, word: u8) {
        self.word(word.into());
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.word(word.into());
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.word(word.into());
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.word(word);
    }

    #[inline]
    fn write_u128(&mut self, word: u128) {
        self.word(word as u64);
        self.word((word >> 64) as u64);
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.word(word as u64);
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The 128-bit digest of a value by its derived `Hash`.
#[must_use]
pub fn digest<T: Hash + ?Sized>(value: &T) -> u128 {
    let mut rolling = Rolling::default();
    value.hash(&mut rolling);
    rolling.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec;

    #[test]
    fn hash_of_single_bit_flips_never_collides() {
        let mut seen = BTreeSet::new();
        for len in 0..70_usize {
            seen.insert(digest(&vec![0_u8; len][..]));
            for bit in 0..len * 8 {
                let mut bytes = vec![0_u8; len];
                bytes[bit / 8] ^= 1 << (bit % 8);
                seen.insert(digest(&bytes[..]));
            }
        }
        assert_eq!(seen.len(), 70 + (0..70 * 8).step_by(8).sum::<usize>());
    }

    #[test]
    fn hash_depends_on_the_order_of_words() {
        assert_ne!(digest(&(1_u64, 2_u64)), digest(&(2_u64, 1_u64)));
        assert_ne!(digest(&(0_u64, 0_u64)), digest(&(0_u64, 0_u64, 0_u64)));
    }
}
