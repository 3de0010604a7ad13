//! Which topics a group reads, so that their offsets are kept.
//!
//! What members of a classic group tell each other is not the coordinator's business, with this one
//! exception. Source: `ConsumerProtocolSubscription.json`, `ClassicGroup.computeSubscribedTopics`,
//! KIP-211.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};

use super::Topics;
use crate::ids::TopicId;

/// The protocol type of consumers (`ConsumerProtocol.PROTOCOL_TYPE`).
pub(super) const CONSUMER: &str = "consumer";

/// The topics that a group reads.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) enum Subscribed {
    /// None.
    #[default]
    Nothing,
    /// These.
    To(BTreeSet<TopicId>),
    /// Nobody can tell: all may be.
    Unknown,
}

impl Subscribed {
    /// These, as far as they exist.
    pub(super) fn by_name<'a>(
        topics: &impl Topics,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::To(names.into_iter().filter_map(|name| Some(topics.topic(name)?.0)).collect())
    }

    /// Whether `topic` is one of them.
    pub(super) fn contains(&self, topic: TopicId) -> bool {
        match self {
            Self::Nothing => false,
            Self::To(topics) => topics.contains(&topic),
            Self::Unknown => true,
        }
    }
}

/// The topics' names in a consumer's metadata. `None`: it is something else.
pub(super) fn topics_of(metadata: &[u8]) -> Option<BTreeSet<String>> {
    // Version i16, number of topics i32, each with length i16 and UTF-8; later fields follow.
    let (version, rest) = metadata.split_at_checked(2)?;
    if version[0] & 0x80 != 0 {
        return None;
    }
    let (count, mut rest) = rest.split_at_checked(4)?;
    let count = i32::from_be_bytes(count.try_into().ok()?);
    let mut topics = BTreeSet::new();
    for _ in 0..u32::try_from(count).ok()? {
        let (length, behind) = rest.split_at_checked(2)?;
        let length = i16::from_be_bytes(length.try_into().ok()?);
        let (name, behind) = behind.split_at_checked(usize::try_from(length).ok()?)?;
        topics.insert(core::str::from_utf8(name).ok()?.to_string());
        rest = behind;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscription_of_a_consumer_names_its_topics() {
        let metadata = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc and more";
        let topics = topics_of(metadata).expect("well-formed");
        assert_eq!(topics.into_iter().collect::<alloc::vec::Vec<_>>(), ["a", "bc"]);
        assert_eq!(topics_of(&metadata[..9]), None);
        assert_eq!(topics_of(b"connect"), None);
        assert_eq!(topics_of(b""), None);
    }
}
