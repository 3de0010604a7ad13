//! Topics: names that Kafka takes, and for each use a topic that is there long enough.

use std::collections::BTreeMap;

use workloads::op::Op;
use workloads::spark_handoff::Query;

use super::Refused;
use crate::plan::Plan;

/// `Topic.MAX_NAME_LENGTH`.
const NAME_MAX: usize = 249;

/// What a plan does with the topics that it creates, by name.
pub(super) struct Topics<'a>(BTreeMap<&'a str, Topic>);

/// What a plan does with the topics of one name.
#[derive(Clone, Copy)]
struct Topic {
    /// The fewest partitions that one of them begins with.
    least: u32,
    /// The most that one of them ever has.
    most: u32,
    deleted: bool,
}

impl<'a> Topics<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        let mut created: BTreeMap<&str, Topic> = BTreeMap::new();
        for op in &plan.ops {
            if let Op::CreateTopic { topic, partitions } = &op.op {
                let (least, most) = (*partitions, *partitions);
                let new = Topic { least, most, deleted: false };
                let all = created.entry(topic).or_insert(new);
                (all.least, all.most) = (all.least.min(least), all.most.max(most));
            }
        }
        for op in &plan.ops {
            let Some(found) = created.get_mut(op.op.topic()) else { continue };
            match &op.op {
                Op::AddPartitions { count, .. } => found.most = found.most.max(*count),
                Op::DeleteTopic { .. } => found.deleted = true,
                _ => {}
            }
        }
        Self(created)
    }

    /// An operation may come before its topic, or after it; a topic that never is, is a misspelt
    /// one.
    pub(super) fn check_name(&self, topic: &str) -> Result<(), String> {
        check_legal(topic)?;
        self.created(topic).map(|_| ())
    }

    /// A copy goes to the partition of the same number: it must be there whenever the topic is.
    /// A member lets go of a topic that is gone; what it has read it tries to copy for ever.
    pub(super) fn check_copy(&self, topic: &str, target: &str) -> Result<(), String> {
        if topic == target {
            return Err(format!("{topic:?} is copied to itself; allowed: another topic"));
        }
        let Topic { least, .. } = self.kept(target)?;
        let Topic { most, .. } = self.created(topic)?;
        if least < most {
            return Err(format!(
                "{target:?} begins with {least} partitions and {topic:?} has {most}; \
                 allowed: as many"
            ));
        }
        Ok(())
    }

    fn created(&self, name: &str) -> Result<Topic, String> {
        let allowed = "a topic of a `create-topic`";
        let found = self.0.get(name).copied();
        found.ok_or_else(|| format!("nobody creates {name:?}; allowed: {allowed}"))
    }

    /// The same, if no operation deletes it.
    fn kept(&self, name: &str) -> Result<Topic, String> {
        let found = self.created(name)?;
        if found.deleted {
            let allowed = "a topic without a `delete-topic`";
            return Err(format!("{name:?} is deleted at some time; allowed: {allowed}"));
        }
        Ok(found)
    }
}

/// `Topic.validate`.
fn check_legal(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let wrong = match name {
        "" => "is empty".to_owned(),
        "." | ".." => "is no name".to_owned(),
        _ if name.len() > NAME_MAX => format!("has {} bytes", name.len()),
        _ => match name.chars().find(|c| !legal(*c)) {
            Some(c) => format!("has {c:?} in it"),
            None => return Ok(()),
        },
    };
    let allowed = "letters, digits, `.`, `_` and `-`, but neither \".\" nor \"..\"";
    Err(format!("{name:?} {wrong}; allowed: 1 to {NAME_MAX} {allowed}"))
}

/// A query knows how many partitions its topics have, and its checkpoint knows no topic id: it
/// takes a namesake for the topic that it has begun with (C20 of the crash points), and does not
/// come to the end of one that is gone.
pub(super) fn check_query(query: &Query, topics: &Topics<'_>) -> Result<(), Refused> {
    if query.source == query.target {
        return Err(("target", "is the source; allowed: another topic".to_owned()));
    }
    let target = query.target_partitions + u32::from(query.has_marker_partition());
    for (key, topic, least, most) in [
        ("source", &query.source, query.partitions, query.partitions),
        ("target", &query.target, target, u32::MAX),
    ] {
        let created = topics.kept(topic).map_err(|message| (key, message))?;
        if created.least < least || most < created.most {
            let allowed = if least == most { "exactly" } else { "at least" };
            let found = if created.least < least { created.least } else { created.most };
            let message = format!(
                "{topic:?} has {found} partitions at some time; allowed: {allowed} {least}"
            );
            return Err((key, message));
        }
    }
    Ok(())
}
