//! The names of everything in the store, built and read in one place.
//!
//! `wal/<node>/<epoch>/<start>-<end>`, `claim/<node>/<number>`, `obj/<id>`,
//! `producers/<stream>/<offset>`. Numbers that are listed in order have 20 digits, so that the
//! order of keys is the order of numbers.

use alloc::format;

use crate::ids::{BrokerEpoch, Lsn, NodeId, ObjectId, Offset, StreamId};
use crate::step::Key;

/// Digits of the largest `u64`.
const DIGITS: usize = 20;

/// What a WAL object's key says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WalKey {
    /// Whose WAL.
    pub node: NodeId,
    /// Which epoch of it.
    pub epoch: BrokerEpoch,
    /// First record.
    pub start: Lsn,
    /// Exclusive end.
    pub end: Lsn,
}

/// The key of a WAL object.
#[must_use]
pub fn wal_key(key: WalKey) -> Key {
    let WalKey { node, epoch, start, end } = key;
    Key(format!("wal/{node}/{:020}/{:020}-{:020}", epoch.0, start.0, end.0).into())
}

/// The prefix of all WAL objects of a node.
#[must_use]
pub fn wal_prefix(node: NodeId) -> Key {
    Key(format!("wal/{node}/").into())
}

/// What a key says, if it is a WAL object's.
#[must_use]
pub fn parse_wal_key(key: &Key) -> Option<WalKey> {
    let rest = key.0.strip_prefix("wal/")?;
    let (node, rest) = rest.split_once('/')?;
    let (epoch, rest) = rest.split_once('/')?;
    let (start, end) = rest.split_once('-')?;
    let parsed = WalKey {
        node: NodeId(node.parse().ok()?),
        epoch: BrokerEpoch(padded(epoch)?),
        start: Lsn(padded(start)?),
        end: Lsn(padded(end)?),
    };
    (parsed.start < parsed.end && wal_key(parsed) == *key).then_some(parsed)
}

/// The key of the claim with this number on the WAL of `of`.
#[must_use]
pub fn claim_key(of: NodeId, number: u64) -> Key {
    Key(format!("claim/{of}/{number:020}").into())
}

/// The prefix of all claims on the WAL of `of`.
#[must_use]
pub fn claim_prefix(of: NodeId) -> Key {
    Key(format!("claim/{of}/").into())
}

/// Whose WAL a claim's key is about, and the claim's number; `None` for any other key.
#[must_use]
pub fn parse_claim_key(key: &Key) -> Option<(NodeId, u64)> {
    let (of, number) = key.0.strip_prefix("claim/")?.split_once('/')?;
    let parsed = (NodeId(of.parse().ok()?), padded(number)?);
    (claim_key(parsed.0, parsed.1) == *key).then_some(parsed)
}

/// The key of a data object.
#[must_use]
pub fn object_key(object: ObjectId) -> Key {
    Key(format!("obj/{:020}", object.0).into())
}

/// The id in a data object's key; `None` for any other key.
#[must_use]
pub fn parse_object_key(key: &Key) -> Option<ObjectId> {
    padded(key.0.strip_prefix("obj/")?).map(ObjectId)
}

/// The key of the snapshot of a stream's producers below `end`.
#[must_use]
pub fn snapshot_key(stream: StreamId, end: Offset) -> Key {
    Key(format!("producers/{stream}/{:020}", end.0).into())
}

/// The prefix of all snapshots of a stream's producers.
#[must_use]
pub fn snapshot_prefix(stream: StreamId) -> Key {
    Key(format!("producers/{stream}/").into())
}

/// The stream and the offset in a snapshot's key; `None` for any other key.
#[must_use]
pub fn parse_snapshot_key(key: &Key) -> Option<(StreamId, Offset)> {
    let (stream, end) = key.0.strip_prefix("producers/")?.split_once('/')?;
    let parsed = (StreamId(stream.parse().ok()?), Offset(padded(end)?));
    (snapshot_key(parsed.0, parsed.1) == *key).then_some(parsed)
}

fn padded(digits: &str) -> Option<u64> {
    let whole = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wal_key_built_parses_back(node: u16, epoch: u64, start: u64, len in 1u64..99) {
            let start = start.min(u64::MAX - 99);
            let key = WalKey {
                node: NodeId(node),
                epoch: BrokerEpoch(epoch),
                start: Lsn(start),
                end: Lsn(start + len),
            };
            prop_assert_eq!(parse_wal_key(&wal_key(key)), Some(key));
            prop_assert!(wal_key(key).0.starts_with(&*wal_prefix(key.node).0));
        }

        #[test]
        fn wal_keys_sort_as_their_numbers(a: (u64, u64), b: (u64, u64)) {
            let key = |(epoch, start): (u64, u64)| WalKey {
                node: NodeId(1),
                epoch: BrokerEpoch(epoch),
                start: Lsn(start),
                end: Lsn(u64::MAX),
            };
            prop_assert_eq!(wal_key(key(a)).cmp(&wal_key(key(b))), a.cmp(&b));
        }

        #[test]
        fn claim_and_object_keys_parse_back(of: u16, number: u64) {
            let key = claim_key(NodeId(of), number);
            prop_assert_eq!(parse_claim_key(&key), Some((NodeId(of), number)));
            prop_assert_eq!(parse_object_key(&key), None);
            let key = object_key(ObjectId(number));
            prop_assert_eq!(parse_object_key(&key), Some(ObjectId(number)));
            prop_assert_eq!(parse_claim_key(&key), None);
            let key = snapshot_key(StreamId(number), Offset(number));
            prop_assert_eq!(parse_snapshot_key(&key), Some((StreamId(number), Offset(number))));
            prop_assert_eq!(parse_object_key(&key), None);
        }

        #[test]
        fn any_key_that_parses_is_the_one_built(text in "(wal|claim|obj)/[0-9/+-]{0,70}") {
            let key = Key(text.as_str().into());
            if let Some(parsed) = parse_wal_key(&key) {
                prop_assert_eq!(wal_key(parsed), key);
            } else if let Some((of, number)) = parse_claim_key(&key) {
                prop_assert_eq!(claim_key(of, number), key);
            } else if let Some(object) = parse_object_key(&key) {
                prop_assert_eq!(object_key(object), key);
            }
        }
    }

    #[test]
    fn wal_key_not_canonical_is_refused() {
        let good = "wal/7/00000000000000000003/00000000000000000000-00000000000000000009";
        assert!(parse_wal_key(&Key(good.into())).is_some());
        for bad in [
            "wal/07/00000000000000000003/00000000000000000000-00000000000000000009",
            "wal/7/3/00000000000000000000-00000000000000000009",
            "wal/7/00000000000000000003/00000000000000000009-00000000000000000009",
            "wal/7/00000000000000000003/00000000000000000000-00000000000000000009x",
        ] {
            assert_eq!(parse_wal_key(&Key(bad.into())), None, "{bad}");
        }
    }
}
