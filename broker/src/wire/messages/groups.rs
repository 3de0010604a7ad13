//! Groups and committed offsets.

messages! { offset_commit
    struct Request {
        group_id: String;
        generation_id_or_member_epoch: i32 = -1;
        member_id: String;
        group_instance_id: Option<String> [7..];
        retention_time_ms: i64 [..=4] = -1;
        topics: Vec<OffsetCommitRequestTopic>;
    }
    struct OffsetCommitRequestTopic {
        name: String;
        partitions: Vec<OffsetCommitRequestPartition>;
    }
    struct OffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 [6..] = -1;
        committed_metadata: Option<String>;
    }
    struct Response {
        throttle_time_ms: i32 [3..];
        topics: Vec<OffsetCommitResponseTopic>;
    }
    struct OffsetCommitResponseTopic {
        name: String;
        partitions: Vec<OffsetCommitResponsePartition>;
    }
    struct OffsetCommitResponsePartition {
        partition_index: i32;
        error_code: i16;
    }
}

messages! { offset_fetch
    struct Request {
        group_id: String [..=7];
        topics: Option<Vec<OffsetFetchRequestTopic>> [..=7], null [2..];
        groups: Vec<OffsetFetchRequestGroup> [8..];
        require_stable: bool [7..];
    }
    struct OffsetFetchRequestTopic {
        name: String;
        partition_indexes: Vec<i32>;
    }
    struct OffsetFetchRequestGroup {
        group_id: String;
        member_id: Option<String> [9..];
        member_epoch: i32 [9..] = -1;
        topics: Option<Vec<OffsetFetchRequestTopics>>;
    }
    struct OffsetFetchRequestTopics {
        name: String;
        partition_indexes: Vec<i32>;
    }
    struct Response {
        throttle_time_ms: i32 [3..];
        topics: Vec<OffsetFetchResponseTopic> [..=7];
        error_code: i16 [2..=7];
        groups: Vec<OffsetFetchResponseGroup> [8..];
    }
    struct OffsetFetchResponseTopic {
        name: String;
        partitions: Vec<OffsetFetchResponsePartition>;
    }
    struct OffsetFetchResponsePartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 [5..] = -1;
        metadata: Option<String>;
        error_code: i16;
    }
    struct OffsetFetchResponseGroup {
        group_id: String;
        topics: Vec<OffsetFetchResponseTopics>;
        error_code: i16;
    }
    struct OffsetFetchResponseTopics {
        name: String;
        partitions: Vec<OffsetFetchResponsePartitions>;
    }
    struct OffsetFetchResponsePartitions {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1;
        metadata: Option<String>;
        error_code: i16;
    }
}

messages! { offset_delete
    struct Request {
        group_id: String;
        topics: Vec<OffsetDeleteRequestTopic>;
    }
    struct OffsetDeleteRequestTopic {
        name: String;
        partitions: Vec<OffsetDeleteRequestPartition>;
    }
    struct OffsetDeleteRequestPartition {
        partition_index: i32;
    }
    struct Response {
        error_code: i16;
        throttle_time_ms: i32;
        topics: Vec<OffsetDeleteResponseTopic>;
    }
    struct OffsetDeleteResponseTopic {
        name: String;
        partitions: Vec<OffsetDeleteResponsePartition>;
    }
    struct OffsetDeleteResponsePartition {
        partition_index: i32;
        error_code: i16;
    }
}

messages! { join_group
    struct Request {
        group_id: String;
        session_timeout_ms: i32;
        rebalance_timeout_ms: i32 [1..] = -1;
        member_id: String;
        group_instance_id: Option<String> [5..];
        protocol_type: String;
        protocols: Vec<JoinGroupRequestProtocol>;
        reason: Option<String> [8..];
    }
    struct JoinGroupRequestProtocol {
        name: String;
        metadata: Bytes;
    }
    struct Response {
        throttle_time_ms: i32 [2..];
        error_code: i16;
        generation_id: i32 = -1;
        protocol_type: Option<String> [7..];
        protocol_name: Option<String>, null [7..];
        leader: String;
        skip_assignment: bool [9..];
        member_id: String;
        members: Vec<JoinGroupResponseMember>;
    }
    struct JoinGroupResponseMember {
        member_id: String;
        group_instance_id: Option<String> [5..];
        metadata: Bytes;
    }
}

messages! { sync_group
    struct Request {
        group_id: String;
        generation_id: i32;
        member_id: String;
        group_instance_id: Option<String> [3..];
        protocol_type: Option<String> [5..];
        protocol_name: Option<String> [5..];
        assignments: Vec<SyncGroupRequestAssignment>;
    }
    struct SyncGroupRequestAssignment {
        member_id: String;
        assignment: Bytes;
    }
    struct Response {
        throttle_time_ms: i32 [1..];
        error_code: i16;
        protocol_type: Option<String> [5..];
        protocol_name: Option<String> [5..];
        assignment: Bytes;
    }
}

messages! { heartbeat
    struct Request {
        group_id: String;
        generation_id: i32;
        member_id: String;
        group_instance_id: Option<String> [3..];
    }
    struct Response {
        throttle_time_ms: i32 [1..];
        error_code: i16;
    }
}

messages! { leave_group
    struct Request {
        group_id: String;
        member_id: String [..=2];
        members: Vec<MemberIdentity> [3..];
    }
    struct MemberIdentity {
        member_id: String;
        group_instance_id: Option<String>;
        reason: Option<String> [5..];
    }
    struct Response {
        throttle_time_ms: i32 [1..];
        error_code: i16;
        members: Vec<MemberResponse> [3..];
    }
    struct MemberResponse {
        member_id: String;
        group_instance_id: Option<String>;
        error_code: i16;
    }
}

messages! { describe_groups
    struct Request {
        groups: Vec<String>;
        include_authorized_operations: bool [3..];
    }
    struct Response {
        throttle_time_ms: i32 [1..];
        groups: Vec<DescribedGroup>;
    }
    struct DescribedGroup {
        error_code: i16;
        error_message: Option<String> [6..];
        group_id: String;
        group_state: String;
        protocol_type: String;
        protocol_data: String;
        members: Vec<DescribedGroupMember>;
        authorized_operations: i32 [3..] = i32::MIN;
    }
    struct DescribedGroupMember {
        member_id: String;
        group_instance_id: Option<String> [4..];
        client_id: String;
        client_host: String;
        member_metadata: Bytes;
        member_assignment: Bytes;
    }
}

messages! { list_groups
    struct Request {
        states_filter: Vec<String> [4..];
        types_filter: Vec<String> [5..];
    }
    struct Response {
        throttle_time_ms: i32 [1..];
        error_code: i16;
        groups: Vec<ListedGroup>;
    }
    struct ListedGroup {
        group_id: String;
        protocol_type: String;
        group_state: String [4..];
        group_type: String [5..];
    }
}

messages! { delete_groups
    struct Request {
        groups_names: Vec<String>;
    }
    struct Response {
        throttle_time_ms: i32;
        results: Vec<DeletableGroupResult>;
    }
    struct DeletableGroupResult {
        group_id: String;
        error_code: i16;
    }
}

messages! { consumer_group_heartbeat
    struct Request {
        group_id: String;
        member_id: String;
        member_epoch: i32;
        instance_id: Option<String>;
        rack_id: Option<String>;
        rebalance_timeout_ms: i32 = -1;
        subscribed_topic_names: Option<Vec<String>>;
        subscribed_topic_regex: Option<String> [1..];
        server_assignor: Option<String>;
        topic_partitions: Option<Vec<TopicPartitions>>;
    }
    struct TopicPartitions {
        topic_id: Uuid;
        partitions: Vec<i32>;
    }
    struct Response {
        throttle_time_ms: i32;
        error_code: i16;
        error_message: Option<String>;
        member_id: Option<String>;
        member_epoch: i32;
        heartbeat_interval_ms: i32;
        assignment: Option<Assignment>;
    }
    struct Assignment {
        topic_partitions: Vec<TopicPartitions>;
    }
}

messages! { consumer_group_describe
    struct Request {
        group_ids: Vec<String>;
        include_authorized_operations: bool;
    }
    struct Response {
        throttle_time_ms: i32;
        groups: Vec<DescribedGroup>;
    }
    struct DescribedGroup {
        error_code: i16;
        error_message: Option<String>;
        group_id: String;
        group_state: String;
        group_epoch: i32;
        assignment_epoch: i32;
        assignor_name: String;
        members: Vec<Member>;
        authorized_operations: i32 = i32::MIN;
    }
    struct Member {
        member_id: String;
        instance_id: Option<String>;
        rack_id: Option<String>;
        member_epoch: i32;
        client_id: String;
        client_host: String;
        subscribed_topic_names: Vec<String>;
        subscribed_topic_regex: Option<String>;
        assignment: Assignment;
        target_assignment: Assignment;
        member_type: i8 [1..] = -1;
    }
    struct Assignment {
        topic_partitions: Vec<TopicPartitions>;
    }
    struct TopicPartitions {
        topic_id: Uuid;
        topic_name: String;
        partitions: Vec<i32>;
    }
}
