//! Forgetting offsets that nobody needs any more, and groups that are left without anything.
//!
//! Time is the wall clock's, as in Kafka: a clock that jumps can cost the offsets of an idle group,
//! never an offset that a member reads. Source: KIP-211, KAFKA-19163,
//! `OffsetMetadataManager.cleanupExpiredOffsets`, `GroupMetadataManager.maybeDeleteGroup`.

use alloc::string::String;
use alloc::vec::Vec;

use super::fold::Group;
use super::offsets::now;
use super::record::Record;
use super::timers::Due;
use super::{Groups, Topics};
use crate::batch::TimestampMs;
use crate::coordinator::Outcome;
use crate::mutants::Mutant;
use crate::step::Cx;

/// From when on an offset's age counts.
#[derive(Clone, Copy)]
pub(super) enum Since {
    /// Its commit.
    Commit,
    /// This moment: the group lost its last member then.
    At(TimestampMs),
    /// Its age does not count.
    Never,
}

impl Groups {
    pub(super) fn clean_up(&mut self, cx: &Cx, topics: &impl Topics, out: &mut Outcome<Self>) {
        self.timers.arm(Due::Cleanup, self.limits.offsets_retention_check, out);
        let names: Vec<String> = self.log.groups.keys().cloned().collect();
        for group in names {
            self.clean_up_group(cx, topics, &group, out);
        }
    }

    fn clean_up_group(
        &mut self,
        cx: &Cx,
        topics: &impl Topics,
        group: &str,
        out: &mut Outcome<Self>,
    ) {
        let since = match self.peek_classic(group) {
            Some(classic) => classic.offsets_age_since(),
            None => Since::Commit,
        };
        let subscribed = self.subscribed(topics, group);
        let retention = i64::try_from(self.limits.offsets_retention.0 / 1_000).unwrap_or(i64::MAX);
        let blind = cx.mutants.on(Mutant::GroupPendingExpires);
        let mut kept = false;
        for (at, offset) in self.log.all_committed(group) {
            let from = match since {
                Since::Commit => Some(offset.at),
                Since::At(moment) => Some(moment),
                Since::Never => None,
            };
            let old = from.is_some_and(|from| now(cx).0.saturating_sub(from.0) >= retention);
            // An open transaction of its partition keeps an offset (KAFKA-19163).
            let pending = !blind && self.log.is_pending(group, at);
            if old && !pending && !subscribed.contains(at.topic) {
                out.records.push(Record::Offset(group.into(), at, None));
            } else {
                kept = true;
            }
        }
        let pending = !blind && self.log.all_pending(group).next().is_some();
        let empty = match self.peek_classic(group) {
            Some(classic) => classic.is_empty(),
            None => self.log.groups.get(group).is_some_and(Group::is_empty),
        };
        if !kept && !pending && empty {
            if blind {
                let pending: Vec<_> = self.log.all_pending(group).collect();
                let tombstone = |at| Record::Offset(group.into(), at, None);
                out.records.extend(pending.into_iter().map(tombstone));
            }
            self.bury(group, out);
        }
    }
}
