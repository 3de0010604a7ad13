//! What a client may do (KIP-430): everything, for nothing is forbidden here.
//!
//! Source: `AuthHelper.authorizedOperations` without an authorizer, `AclEntry.supportedOperations`,
//! `AclOperation.java`.

/// Bits by the numbers of operations: 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe,
/// 9 cluster action, 10 describe configs, 11 alter configs, 12 idempotent write.
const fn bits(operations: &[u32]) -> i32 {
    let (mut bits, mut at) = (0, 0);
    while at < operations.len() {
        bits |= 1 << operations[at];
        at += 1;
    }
    bits
}

/// Who did not ask is told this.
const NOT_ASKED: i32 = i32::MIN;

/// With a topic.
pub(super) fn on_topic(asked: bool) -> i32 {
    if asked { bits(&[3, 4, 5, 6, 7, 8, 10, 11]) } else { NOT_ASKED }
}

/// With a group.
pub(super) fn on_group(asked: bool) -> i32 {
    if asked { bits(&[3, 6, 8, 10, 11]) } else { NOT_ASKED }
}

/// With the cluster.
pub(super) fn on_cluster(asked: bool) -> i32 {
    if asked { bits(&[5, 7, 8, 9, 10, 11, 12]) } else { NOT_ASKED }
}
