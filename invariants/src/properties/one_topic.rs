//! S9 OneTopic: a query's offsets count in the topic that it began with; one of the same name that
//! is created later is another, and what the old offsets leave out of it is lost. Spark compares
//! names, so that it is for whoever deletes a topic to keep. Source: KIP-516 (topic ids).

use broker_core::ids::{TopicId, TopicPartition};

use crate::{Check, require};

/// A range was read in `partition`; the query began with `topic`.
pub(crate) fn read(partition: TopicPartition, topic: TopicId) -> Check {
    require!(
        partition.topic == topic,
        S9,
        partition,
        "the query reads topic {}, and its offsets are of topic {topic}",
        partition.topic
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{TopicId, TopicPartition};

    use crate::handoff::Promise;
    use crate::testing::{Case, P, Q};

    fn reads(second: TopicPartition) -> Case {
        let mut case = Case::cluster("S9");
        case.query(Promise::AtLeastOnce).reads_range(P, 0, 1, &[(0, 100)]);
        case.reads_range(second, 1, 2, &[(1, 101)]);
        case
    }

    #[test]
    fn range_of_a_topic_created_later_breaks() {
        assert!(reads(TopicPartition { topic: TopicId(77), ..P }).breaks("S9"));
    }

    #[test]
    fn range_of_another_partition_holds() {
        assert!(reads(Q).holds());
    }
}
