//! Admin requests: topics, partitions, configs, with Kafka's rules and error codes.
//!
//! Sources: Kafka's `Topic.java`, `ReplicationControlManager`, `ConfigurationControlManager`,
//! `LogConfig`.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::controller::brokers::Placement;
use crate::controller::office::{Active, Plan, Verdict};
use crate::ids::{PartitionIndex, TopicId, TopicPartition};
use crate::metadata::record::Record;
use crate::peer::ControllerAnswer;
use crate::protocol::{AdminRequest, AdminResponse, ErrorCode, MAX_PARTITIONS};
use crate::step::Cx;

/// Kafka: a topic's folder name must fit a file system's 255 bytes with partition and suffix.
const NAME_BYTES_MAX: usize = 249;

impl Active {
    /// Success is remembered by the request's nonce, so that a retry, even to the next controller,
    /// does not find its own work in the way.
    pub(super) fn admin(&self, cx: &Cx, nonce: u64, request: &AdminRequest) -> Verdict {
        if let Some(done) = self.image.admin_done.iter().find(|done| done.nonce == nonce) {
            return Ok(Plan::nothing(ControllerAnswer::Admin(success(done.created))));
        }
        let answer = |response| ControllerAnswer::Admin(response);
        Ok(match self.planned(cx, nonce, request) {
            Ok((records, created)) if records.is_empty() => {
                Plan::nothing_after_barrier(answer(success(created)))
            }
            Ok((mut records, created)) => {
                records.push(Record::AdminDone { nonce, created });
                Plan::change(records, answer(success(created)))
            }
            Err(code) => Plan::nothing_after_barrier(answer(AdminResponse::Error(code))),
        })
    }

    /// What would come of a request, without doing it.
    pub(super) fn validate(&self, cx: &Cx, request: &AdminRequest) -> Verdict {
        let planned = self.planned(cx, cx.entropy, request);
        let told = planned.map_or_else(AdminResponse::Error, |(_, created)| success(created));
        Ok(Plan::nothing_after_barrier(ControllerAnswer::Admin(told)))
    }

    /// What is to be recorded for it, and which topic that creates.
    fn planned(
        &self,
        cx: &Cx,
        nonce: u64,
        request: &AdminRequest,
    ) -> Result<(Vec<Record>, Option<TopicId>), ErrorCode> {
        match request {
            AdminRequest::CreateTopic { name, partitions, configs } => {
                self.create_topic(cx, nonce, name, *partitions, configs)
            }
            AdminRequest::DeleteTopic { topic } => self
                .known(*topic)
                .map(|()| (Vec::from([Record::RemoveTopic { topic: *topic }]), None)),
            AdminRequest::CreatePartitions { topic, count } => {
                self.create_partitions(cx, *topic, *count).map(|records| (records, None))
            }
            AdminRequest::AlterConfigs { topic, configs } => {
                self.alter_configs(*topic, configs).map(|records| (records, None))
            }
            // The quorum answers it; there is nothing to do for it here.
            AdminRequest::DescribeQuorum => Ok((Vec::new(), None)),
        }
    }

    fn create_topic(
        &self,
        cx: &Cx,
        nonce: u64,
        name: &str,
        partitions: u32,
        configs: &[(String, String)],
    ) -> Result<(Vec<Record>, Option<TopicId>), ErrorCode> {
        if !is_valid_name(name) || self.collides(name) {
            return Err(ErrorCode::InvalidTopicException);
        }
        if let Some((topic, state)) = self.image.topic_named(name) {
            let retry = state.nonce == nonce;
            return if retry {
                Ok((Vec::new(), Some(topic)))
            } else {
                Err(ErrorCode::TopicAlreadyExists)
            };
        }
        // The entry's offset makes it unique, whatever the random bits are.
        let topic = TopicId(u128::from(cx.entropy) << 64 | u128::from(self.image.end.0));
        let mut records = Vec::from([Record::Topic { name: name.into(), topic, nonce }]);
        check_keys(configs.iter().map(|(key, _)| key))?;
        for (key, value) in configs {
            let value = Some(checked_config(key, value)?);
            records.push(Record::Config { topic, key: key.clone(), value });
        }
        if partitions == 0 || partitions > MAX_PARTITIONS {
            return Err(ErrorCode::InvalidPartitions);
        }
        records.extend(self.new_partitions(cx, topic, 0..partitions));
        Ok((records, Some(topic)))
    }

    fn create_partitions(
        &self,
        cx: &Cx,
        topic: TopicId,
        count: u32,
    ) -> Result<Vec<Record>, ErrorCode> {
        self.known(topic)?;
        let before = self.image.topics[&topic].partitions;
        if count <= before || count > MAX_PARTITIONS {
            return Err(ErrorCode::InvalidPartitions);
        }
        Ok(self.new_partitions(cx, topic, before..count).collect())
    }

    fn alter_configs(
        &self,
        topic: TopicId,
        configs: &[(String, Option<String>)],
    ) -> Result<Vec<Record>, ErrorCode> {
        self.known(topic)?;
        check_keys(configs.iter().map(|(key, _)| key))?;
        let before = &self.image.topics[&topic].configs;
        let mut records = Vec::new();
        for (key, value) in configs {
            let value = match value {
                Some(value) => Some(checked_config(key, value)?),
                None => checked_key(key).map(|()| None)?,
            };
            if before.get(key) != value.as_ref() {
                records.push(Record::Config { topic, key: key.clone(), value });
            }
        }
        Ok(records)
    }

    fn new_partitions(
        &self,
        cx: &Cx,
        topic: TopicId,
        indexes: core::ops::Range<u32>,
    ) -> impl Iterator<Item = Record> {
        let mut placement = Placement::of(&self.image, cx.mutants, None);
        let first = indexes.start;
        let streams = self.image.next_stream;
        indexes.map(move |index| Record::Partition {
            partition: TopicPartition { topic, index: PartitionIndex(index) },
            stream: streams.plus(u64::from(index - first)),
            replica: placement.next(),
        })
    }

    fn known(&self, topic: TopicId) -> Result<(), ErrorCode> {
        self.image.topics.get(&topic).map(|_| ()).ok_or(ErrorCode::UnknownTopicId)
    }

    /// Kafka refuses names that differ only in `.` and `_`: they share one metric name.
    fn collides(&self, name: &str) -> bool {
        let unified = |name: &str| name.replace('.', "_");
        name.contains(['.', '_']) && {
            let wanted = unified(name);
            self.image.topic_ids.keys().any(|other| other != name && unified(other) == wanted)
        }
    }
}

fn success(created: Option<TopicId>) -> AdminResponse {
    created.map_or(AdminResponse::Done, AdminResponse::Created)
}

/// Kafka's `Topic.validate`.
fn is_valid_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(legal)
}

/// Kafka's admin API: no key twice in one request.
fn check_keys<'a>(mut keys: impl Iterator<Item = &'a String>) -> Result<(), ErrorCode> {
    let mut seen = BTreeSet::new();
    if keys.all(|key| seen.insert(key)) { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
}

fn checked_key(key: &str) -> Result<(), ErrorCode> {
    let known = crate::protocol::TOPIC_CONFIGS.contains(&key);
    if known { Ok(()) } else { Err(ErrorCode::InvalidConfig) }
}

/// Kafka's `ConfigDef`: parsed without the blanks around it, and within its bounds.
fn checked_config(key: &str, value: &str) -> Result<String, ErrorCode> {
    checked_key(key)?;
    let value = value.trim();
    let valid = match key {
        // Topics are not compacted.
        "cleanup.policy" => value == "delete",
        "max.message.bytes" => value.parse::<i32>().is_ok_and(|bytes| bytes >= 0),
        "message.timestamp.type" => matches!(value, "CreateTime" | "LogAppendTime"),
        "retention.ms" => value.parse::<i64>().is_ok_and(|ms| ms >= -1),
        known => panic!("topic config {known} has no rule for its values"),
    };
    if valid { Ok(value.into()) } else { Err(ErrorCode::InvalidConfig) }
}
