//! The envelope of everything that a device or a store holds: magic, version, length, CRC-32C,
//! body.
//!
//! It tells a torn or damaged piece from a whole one, and an unknown version from garbage. What the
//! bodies mean is their owners' business. Layout, big-endian: magic u32, version u8, body length
//! u32, CRC-32C u32 over version, length and body, then the body.

use alloc::vec::Vec;

use crc::{CRC_32_ISCSI, Crc, Table};

/// Bytes before the body.
pub const ENVELOPE_BYTES: usize = 13;

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Why bytes could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormatError {
    /// Fewer bytes than promised: torn or truncated.
    Short,
    /// Not this kind of thing.
    Magic,
    /// Written by a newer build.
    Version(u8),
    /// Damaged.
    Checksum,
    /// The checksum holds, but the body makes no sense.
    Body,
}

/// CRC-32C (Castagnoli) of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes)
}

/// Wraps `body`.
#[must_use]
pub fn seal(magic: u32, version: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a body stays below 4 GiB");
    let mut sealed = Vec::with_capacity(ENVELOPE_BYTES + body.len());
    sealed.extend_from_slice(&magic.to_be_bytes());
    sealed.push(version);
    sealed.extend_from_slice(&length.to_be_bytes());
    sealed.extend_from_slice(&checksum(version, length, body).to_be_bytes());
    sealed.extend_from_slice(body);
    sealed
}

/// How many bytes are behind this beginning of an envelope, by its own word: to be checked against
/// what the reader allows before it waits for them.
///
/// # Errors
/// If it is not the beginning of this kind of thing.
pub fn body_bytes(magic: u32, head: &[u8; ENVELOPE_BYTES]) -> Result<usize, FormatError> {
    let field = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
    if field(0) == magic { Ok(field(5) as usize) } else { Err(FormatError::Magic) }
}

/// Reads one envelope from the front of `bytes`: its version, its body, and what is behind it.
///
/// # Errors
/// If the front is not a whole, undamaged envelope of this kind with a version up to `version_max`.
pub fn open(magic: u32, version_max: u8, bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), FormatError> {
    let (head, rest) = bytes.split_at_checked(ENVELOPE_BYTES).ok_or(FormatError::Short)?;
    let field = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let (version, length) = (head[4], field(5));
    if field(0) != magic {
        return Err(FormatError::Magic);
    }
    let (body, rest) = rest.split_at_checked(length as usize).ok_or(FormatError::Short)?;
    if field(9) != checksum(version, length, body) {
        return Err(FormatError::Checksum);
    }
    if version > version_max {
        return Err(FormatError::Version(version));
    }
    Ok((version, body, rest))
}

fn checksum(version: u8, length: u32, body: &[u8]) -> u32 {
    let mut digest = CRC32C.digest();
    digest.update(&[version]);
    digest.update(&length.to_be_bytes());
    digest.update(body);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn envelope_sealed_opens_again(body: Vec<u8>, behind: Vec<u8>) {
            let mut bytes = seal(7, 1, &body);
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(open(7, 1, &bytes), Ok((1, &body[..], &behind[..])));
            let head = bytes.first_chunk().expect("an envelope");
            prop_assert_eq!(body_bytes(7, head), Ok(body.len()));
            prop_assert_eq!(body_bytes(8, head), Err(FormatError::Magic));
        }

        #[test]
        fn envelope_truncated_is_refused(body: Vec<u8>, cut in 0usize..ENVELOPE_BYTES) {
            let bytes = seal(7, 1, &body);
            prop_assert_eq!(open(7, 1, &bytes[..bytes.len() - 1 - cut]), Err(FormatError::Short));
        }

        #[test]
        fn envelope_bit_flipped_is_refused(body: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = seal(7, 1, &body);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(open(7, 1, &bytes).is_err());
        }
    }
}
