//! What a refusal looks like in each of the group coordinator's answers.
//!
//! Source: the `getErrorResponse` of Kafka's request classes.

use alloc::string::String;

use crate::coordinator::Answer;
use crate::protocol::{ErrorCode, GroupAnswer, JoinRefused};

impl Answer for GroupAnswer {
    fn refused(self, code: ErrorCode) -> Self {
        fn each<T, U>(
            of: alloc::vec::Vec<(T, Result<U, ErrorCode>)>,
            code: ErrorCode,
        ) -> alloc::vec::Vec<(T, Result<U, ErrorCode>)> {
            of.into_iter().map(|(what, _)| (what, Err(code))).collect()
        }
        match self {
            Self::OffsetCommit(results) => Self::OffsetCommit(each(results, code)),
            Self::TxnOffsetCommit(results) => Self::TxnOffsetCommit(each(results, code)),
            Self::DeleteGroups(results) => Self::DeleteGroups(each(results, code)),
            Self::ConsumerGroupDescribe(all) => Self::ConsumerGroupDescribe(each(all, code)),
            Self::DescribeGroups(all) => Self::DescribeGroups(each(all, code)),
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
