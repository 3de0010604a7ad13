//! What a refusal looks like in each of the group coordinator's answers.
//!
//! Source: the `getErrorResponse` of Kafka's request classes.

use alloc::string::String;

use crate::coordinator::Answer;
use crate::ids::TopicPartition;
use crate::protocol::{Each, ErrorCode, GroupAnswer, JoinRefused};

impl Answer for GroupAnswer {
    fn refused(self, code: ErrorCode) -> Self {
        let each = |of: Each<TopicPartition>| {
            of.into_iter().map(|(partition, _)| (partition, Err(code))).collect()
        };
        match self {
            Self::OffsetCommit(results) => Self::OffsetCommit(each(results)),
            Self::TxnOffsetCommit(results) => Self::TxnOffsetCommit(each(results)),
            Self::DeleteGroup(_) => Self::DeleteGroup(Err(code)),
            Self::ConsumerGroupDescribe(_) => Self::ConsumerGroupDescribe(Err(code)),
            Self::DescribeGroup(_) => Self::DescribeGroup(Err(code)),
            Self::OffsetFetch(_) => Self::OffsetFetch(Err(code)),
            Self::OffsetDelete(_) => Self::OffsetDelete(Err(code)),
            Self::JoinGroup(result) => {
                let member = match result {
                    Ok(_) => String::new(),
                    Err(refused) => refused.member,
                };
                Self::JoinGroup(Err(JoinRefused { code, member }))
            }
            Self::SyncGroup(_) => Self::SyncGroup(Err(code)),
            Self::Heartbeat(_) => Self::Heartbeat(Err(code)),
            Self::LeaveGroup(_) => Self::LeaveGroup(Err(code)),
            Self::ConsumerGroupHeartbeat(_) => Self::ConsumerGroupHeartbeat(Err(code)),
            Self::ListGroups(_) => Self::ListGroups(Err(code)),
        }
    }
}
