//! Random values of messages.

use bytes::Bytes;

use crate::wire::codec::Uuid;

/// A seeded source of random values for messages of one version (SplitMix64).
pub(crate) struct Draw {
    state: u64,
    pub(crate) version: i16,
}

impl Draw {
    pub(crate) fn new(seed: u64, version: i16) -> Self {
        Self { state: seed, version }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`; 0 if there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// Whether a field is left at its default.
    pub(crate) fn is_default(&mut self) -> bool {
        self.below(4) == 0
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// The number of bytes or characters of something; on both sides of 128, where a compact length
    /// takes a second byte.
    fn len(&mut self) -> usize {
        match self.below(12) {
            0 => 0,
            1 => 126 + self.below(3),
            2 => self.below(300),
            _ => self.below(8),
        }
    }
}

/// What can be drawn.
pub(crate) trait Sample {
    fn sample(draw: &mut Draw) -> Self;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Sample for $number {
            fn sample(draw: &mut Draw) -> Self {
                match draw.below(6) {
                    0 => 0,
                    1 => -1,
                    2 => Self::MIN,
                    3 => Self::MAX,
                    _ => draw.next().cast_signed() as Self,
                }
            }
        }
    )*};
}

numbers! { i8 i16 i32 i64 }

impl Sample for u16 {
    fn sample(draw: &mut Draw) -> Self {
        i16::sample(draw).cast_unsigned()
    }
}

impl Sample for bool {
    fn sample(draw: &mut Draw) -> Self {
        draw.below(2) == 1
    }
}

impl Sample for Uuid {
    fn sample(draw: &mut Draw) -> Self {
        let zero = draw.below(4) == 0;
        if zero { Self(0) } else { Self(u128::from(draw.next()) << 64 | u128::from(draw.next())) }
    }
}

impl Sample for String {
    fn sample(draw: &mut Draw) -> Self {
        const LETTERS: [char; 5] = ['a', 'Z', '.', 'ü', '\u{1f980}'];
        if draw.below(200) == 0 {
            return "x".repeat(32_767);
        }
        (0..draw.len()).map(|_| LETTERS[draw.below(LETTERS.len())]).collect()
    }
}

impl Sample for Bytes {
    fn sample(draw: &mut Draw) -> Self {
        let len = draw.len();
        draw.bytes(len).into()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(draw: &mut Draw) -> Self {
        (0..draw.below(4)).map(|_| T::sample(draw)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(draw: &mut Draw) -> Self {
        (draw.below(4) > 0).then(|| T::sample(draw))
    }
}
