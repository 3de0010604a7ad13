//! Bytes of the quorum on its device: frames of the log, and the state file.
//!
//! Both sit in the envelope of [`crate::format`] with a postcard body. What a damaged piece means
//! is decided by [`super`]: a log is cut at its first bad frame, a bad state file ends the process.
//! Source: KIP-595 (`quorum-state`, batches of the metadata log).

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Entry, Payload};
use crate::format::{FormatError, open, seal};
use crate::ids::{MetaOffset, NodeId, QuorumEpoch};

/// Opens a frame of the log.
pub const FRAME_MAGIC: u32 = u32::from_be_bytes(*b"SBqf");
/// Opens the state file.
pub const STATE_MAGIC: u32 = u32::from_be_bytes(*b"SBqs");
/// The version written, and the newest one read.
pub const VERSION: u8 = 1;

/// What the state file holds (KRaft's `quorum-state`): never lost, never taken back.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ElectionState {
    /// The epoch.
    pub epoch: QuorumEpoch,
    /// Its leader, if known.
    pub leader: Option<NodeId>,
    /// Whom this node gave its vote in it.
    pub voted: Option<NodeId>,
}

/// A frame of the log, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The entry.
    pub entry: Entry,
    /// Where its frame ends, in bytes from the start of the log.
    pub byte_end: u64,
}

/// A log, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodedLog {
    /// The entries before the first bad frame.
    pub frames: Vec<Frame>,
    /// How many bytes they take.
    pub valid_bytes: u64,
    /// Whether there is something behind them: torn, rotten, or what followed a hole.
    pub torn: bool,
}

/// Encodes one frame onto the end of `bytes`.
pub fn encode_frame(offset: MetaOffset, entry: &Entry, bytes: &mut Vec<u8>) {
    let body = postcard::to_allocvec(&(offset, entry)).expect("an entry always encodes");
    bytes.extend_from_slice(&seal(FRAME_MAGIC, VERSION, &body));
}

/// Decodes a log whose first frame is at `start`.
///
/// # Errors
/// If a whole, undamaged frame cannot be understood: it is not a torn tail and must not be cut.
pub fn decode_log(start: MetaOffset, log: &Bytes) -> Result<DecodedLog, FormatError> {
    let mut frames = Vec::new();
    let mut rest: &[u8] = log;
    let (mut offset, mut epoch) = (start, QuorumEpoch(0));
    while !rest.is_empty() {
        let (body, behind) = match open(FRAME_MAGIC, VERSION, rest) {
            Ok((_, body, behind)) => (body, behind),
            Err(FormatError::Short | FormatError::Magic | FormatError::Checksum) => break,
            Err(error @ (FormatError::Version(_) | FormatError::Body)) => return Err(error),
        };
        let (at, entry): (MetaOffset, Entry) = whole(body)?;
        // A whole frame in a wrong place is left over from before a cut; it follows a lost one.
        if at != offset || entry.epoch < epoch {
            break;
        }
        (offset, epoch, rest) = (offset.next(), entry.epoch, behind);
        frames.push(Frame { entry, byte_end: (log.len() - rest.len()) as u64 });
    }
    let valid_bytes = (log.len() - rest.len()) as u64;
    Ok(DecodedLog { frames, valid_bytes, torn: !rest.is_empty() })
}

/// Encodes the state file.
#[must_use]
pub fn encode_state(state: &ElectionState) -> Bytes {
    let body = postcard::to_allocvec(state).expect("a state always encodes");
    Bytes::from(seal(STATE_MAGIC, VERSION, &body))
}

/// Decodes the state file; one never written is the state before the first epoch.
///
/// # Errors
/// If the file is damaged. It is replaced atomically, so no crash explains that.
pub fn decode_state(bytes: &[u8]) -> Result<ElectionState, FormatError> {
    if bytes.is_empty() {
        return Ok(ElectionState::default());
    }
    let (_, body, behind) = open(STATE_MAGIC, VERSION, bytes)?;
    if behind.is_empty() { whole(body) } else { Err(FormatError::Body) }
}

/// Digest of a log up to and with `entry`, given the digest of all before it.
#[must_use]
pub fn prefix_digest(before: u64, offset: MetaOffset, entry: &Entry) -> u64 {
    let head = mix(mix(before, offset.0), u64::from(entry.epoch.0));
    match &entry.payload {
        Payload::LeaderChange { leader, voters } => {
            let named = mix(mix(head, 1), u64::from(leader.0));
            voters.iter().fold(named, |digest, voter| mix(digest, u64::from(voter.0)))
        }
        Payload::Batch(batch) => {
            let (words, tail) = batch.as_chunks::<8>();
            let sized = mix(mix(head, 2), batch.len() as u64);
            let body = words.iter().fold(sized, |digest, w| mix(digest, u64::from_le_bytes(*w)));
            tail.iter().fold(body, |digest, byte| mix(digest, u64::from(*byte)))
        }
    }
}

/// One to one in either argument, so that two prefixes differ from their first difference on.
fn mix(digest: u64, word: u64) -> u64 {
    let product = (digest.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ (product >> 29)
}

fn whole<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, FormatError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(FormatError::Body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let payload = prop_oneof![
            (any::<u16>(), prop::collection::vec(any::<u16>(), 0..5)).prop_map(
                |(leader, voters)| {
                    Payload::LeaderChange {
                        leader: NodeId(leader),
                        voters: voters.into_iter().map(NodeId).collect(),
                    }
                }
            ),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|b| Payload::Batch(Bytes::from(b))),
        ];
        prop::collection::vec((0u32..3, payload), 1..8).prop_map(|raw| {
            let mut epoch = QuorumEpoch(1);
            let grow = |(by, payload)| {
                epoch = epoch.plus(by);
                Entry { epoch, payload }
            };
            raw.into_iter().map(grow).collect()
        })
    }

    fn encode(entries: &[Entry]) -> (Vec<u8>, Vec<u64>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (at, entry) in entries.iter().enumerate() {
            encode_frame(MetaOffset(at as u64), entry, &mut bytes);
            ends.push(bytes.len() as u64);
        }
        (bytes, ends)
    }

    fn decode(bytes: Vec<u8>) -> DecodedLog {
        decode_log(MetaOffset(0), &Bytes::from(bytes)).expect("nothing of a newer version")
    }

    fn check_prefix(decoded: &DecodedLog, entries: &[Entry], ends: &[u64], damaged_at: u64) {
        let whole = ends.iter().filter(|end| **end <= damaged_at).count();
        let kept: Vec<_> = decoded.frames.iter().map(|f| f.entry.clone()).collect();
        assert_eq!(kept, entries[..whole]);
        assert_eq!(decoded.valid_bytes, if whole == 0 { 0 } else { ends[whole - 1] });
    }

    proptest! {
        #[test]
        fn format_log_round_trips(entries in entries()) {
            let (bytes, ends) = encode(&entries);
            let decoded = decode(bytes);
            check_prefix(&decoded, &entries, &ends, u64::MAX);
            prop_assert!(!decoded.torn);
            prop_assert_eq!(decoded.frames.iter().map(|f| f.byte_end).collect::<Vec<_>>(), ends);
        }

        #[test]
        fn format_log_truncated_keeps_whole_frames(
            entries in entries(), cut: prop::sample::Index,
        ) {
            let (mut bytes, ends) = encode(&entries);
            bytes.truncate(cut.index(bytes.len()));
            let (left, at_frame_end) = (bytes.len() as u64, ends.contains(&(bytes.len() as u64)));
            let decoded = decode(bytes);
            check_prefix(&decoded, &entries, &ends, left);
            prop_assert_eq!(decoded.torn, left > 0 && !at_frame_end);
        }

        #[test]
        fn format_log_bit_flipped_is_cut_before_it(
            entries in entries(), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let (mut bytes, ends) = encode(&entries);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let decoded = decode(bytes);
            check_prefix(&decoded, &entries, &ends, at as u64);
            prop_assert!(decoded.torn);
        }

        #[test]
        fn format_log_with_zeroed_frame_is_cut_before_it(
            entries in entries(), hole: prop::sample::Index,
        ) {
            let (mut bytes, ends) = encode(&entries);
            let hole = hole.index(entries.len());
            let from = if hole == 0 { 0 } else { ends[hole - 1] as usize };
            bytes[from..ends[hole] as usize].fill(0);
            check_prefix(&decode(bytes), &entries, &ends, from as u64);
        }

        #[test]
        fn format_log_with_lost_frame_is_cut_before_it(
            entries in entries(), lost: prop::sample::Index,
        ) {
            let (mut bytes, ends) = encode(&entries);
            let lost = lost.index(entries.len());
            let from = if lost == 0 { 0 } else { ends[lost - 1] as usize };
            bytes.drain(from..ends[lost] as usize);
            check_prefix(&decode(bytes), &entries, &ends, from as u64);
        }

        #[test]
        fn format_state_round_trips_and_refuses_damage(
            epoch: u32, leader: Option<u16>, voted: Option<u16>, at: prop::sample::Index,
            bit in 0u8..8,
        ) {
            let state = ElectionState {
                epoch: QuorumEpoch(epoch),
                leader: leader.map(NodeId),
                voted: voted.map(NodeId),
            };
            let bytes = encode_state(&state);
            prop_assert_eq!(decode_state(&bytes), Ok(state));
            let mut damaged = bytes.to_vec();
            let at = at.index(damaged.len());
            damaged[at] ^= 1 << bit;
            prop_assert!(decode_state(&damaged).is_err());
            let cut = 1 + at % (bytes.len() - 1);
            prop_assert!(decode_state(&bytes[..cut]).is_err());
        }

        #[test]
        fn format_digest_differs_with_any_byte(
            batch in prop::collection::vec(any::<u8>(), 1..40),
            at: prop::sample::Index,
            bit in 0u8..8,
        ) {
            let digest = |batch: &[u8]| {
                let payload = Payload::Batch(Bytes::copy_from_slice(batch));
                prefix_digest(7, MetaOffset(3), &Entry { epoch: QuorumEpoch(2), payload })
            };
            let mut other = batch.clone();
            other[at.index(batch.len())] ^= 1 << bit;
            prop_assert_ne!(digest(&batch), digest(&other));
        }
    }

    #[test]
    fn format_newer_version_is_not_a_torn_tail() {
        let bytes = Bytes::from(seal(FRAME_MAGIC, VERSION + 1, b"from the future"));
        assert_eq!(decode_log(MetaOffset(0), &bytes), Err(FormatError::Version(VERSION + 1)));
    }
}
