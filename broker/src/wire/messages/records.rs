//! Produce, fetch, and questions about offsets.

messages! { produce
    struct Request {
        transactional_id: Option<String> [3..];
        acks: i16;
        timeout_ms: i32;
        topic_data: Vec<TopicProduceData>;
    }
    struct TopicProduceData {
        name: String [..=12];
        topic_id: Uuid [13..];
        partition_data: Vec<PartitionProduceData>;
    }
    struct PartitionProduceData {
        index: i32;
        records: Option<Bytes>;
    }
    struct Response {
        responses: Vec<TopicProduceResponse>;
        throttle_time_ms: i32 [1..];
        node_endpoints: Vec<NodeEndpoint> [10..], tag 0;
    }
    struct TopicProduceResponse {
        name: String [..=12];
        topic_id: Uuid [13..];
        partition_responses: Vec<PartitionProduceResponse>;
    }
    struct PartitionProduceResponse {
        index: i32;
        error_code: i16;
        base_offset: i64;
        log_append_time_ms: i64 [2..] = -1;
        log_start_offset: i64 [5..] = -1;
        record_errors: Vec<BatchIndexAndErrorMessage> [8..];
        error_message: Option<String> [8..];
        current_leader: LeaderIdAndEpoch [10..], tag 0;
    }
    struct BatchIndexAndErrorMessage {
        batch_index: i32;
        batch_index_error_message: Option<String>;
    }
    struct LeaderIdAndEpoch {
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }
    struct NodeEndpoint {
        node_id: i32;
        host: String;
        port: i32;
        rack: Option<String>;
    }
}

messages! { fetch
    struct Request {
        cluster_id: Option<String> [12..], tag 0;
        replica_id: i32 [..=14] = -1;
        replica_state: ReplicaState [15..], tag 1;
        max_wait_ms: i32;
        min_bytes: i32;
        max_bytes: i32 = 0x7fffffff;
        isolation_level: i8;
        session_id: i32 [7..];
        session_epoch: i32 [7..] = -1;
        topics: Vec<FetchTopic>;
        forgotten_topics_data: Vec<ForgottenTopic> [7..];
        rack_id: String [11..];
    }
    struct ReplicaState {
        replica_id: i32 = -1;
        replica_epoch: i64 = -1;
    }
    struct FetchTopic {
        topic: String [..=12];
        topic_id: Uuid [13..];
        partitions: Vec<FetchPartition>;
    }
    struct FetchPartition {
        partition: i32;
        current_leader_epoch: i32 [9..] = -1;
        fetch_offset: i64;
        last_fetched_epoch: i32 [12..] = -1;
        log_start_offset: i64 [5..] = -1;
        partition_max_bytes: i32;
    }
    struct ForgottenTopic {
        topic: String [..=12];
        topic_id: Uuid [13..];
        partitions: Vec<i32>;
    }
    struct Response {
        throttle_time_ms: i32;
        error_code: i16 [7..];
        session_id: i32 [7..];
        responses: Vec<FetchableTopicResponse>;
        node_endpoints: Vec<NodeEndpoint> [16..], tag 0;
    }
    struct FetchableTopicResponse {
        topic: String [..=12];
        topic_id: Uuid [13..];
        partitions: Vec<PartitionData>;
    }
    struct PartitionData {
        partition_index: i32;
        error_code: i16;
        high_watermark: i64;
        last_stable_offset: i64 = -1;
        log_start_offset: i64 [5..] = -1;
        diverging_epoch: EpochEndOffset [12..], tag 0;
        current_leader: LeaderIdAndEpoch [12..], tag 1;
        snapshot_id: SnapshotId [12..], tag 2;
        aborted_transactions: Option<Vec<AbortedTransaction>>;
        preferred_read_replica: i32 [11..] = -1;
        records: Option<Bytes>;
    }
    struct EpochEndOffset {
        epoch: i32 = -1;
        end_offset: i64 = -1;
    }
    struct LeaderIdAndEpoch {
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }
    struct SnapshotId {
        end_offset: i64 = -1;
        epoch: i32 = -1;
    }
    struct AbortedTransaction {
        producer_id: i64;
        first_offset: i64;
    }
    struct NodeEndpoint {
        node_id: i32;
        host: String;
        port: i32;
        rack: Option<String>;
    }
}

messages! { list_offsets
    struct Request {
        replica_id: i32;
        isolation_level: i8 [2..];
        topics: Vec<ListOffsetsTopic>;
    }
    struct ListOffsetsTopic {
        name: String;
        partitions: Vec<ListOffsetsPartition>;
    }
    struct ListOffsetsPartition {
        partition_index: i32;
        current_leader_epoch: i32 [4..] = -1;
        timestamp: i64;
    }
    struct Response {
        throttle_time_ms: i32 [2..];
        topics: Vec<ListOffsetsTopicResponse>;
    }
    struct ListOffsetsTopicResponse {
        name: String;
        partitions: Vec<ListOffsetsPartitionResponse>;
    }
    struct ListOffsetsPartitionResponse {
        partition_index: i32;
        error_code: i16;
        timestamp: i64 = -1;
        offset: i64 = -1;
        leader_epoch: i32 [4..] = -1;
    }
}

messages! { offset_for_leader_epoch
    struct Request {
        replica_id: i32 [3..] = -2;
        topics: Vec<OffsetForLeaderTopic>;
    }
    struct OffsetForLeaderTopic {
        topic: String;
        partitions: Vec<OffsetForLeaderPartition>;
    }
    struct OffsetForLeaderPartition {
        partition: i32;
        current_leader_epoch: i32 = -1;
        leader_epoch: i32;
    }
    struct Response {
        throttle_time_ms: i32;
        topics: Vec<OffsetForLeaderTopicResult>;
    }
    struct OffsetForLeaderTopicResult {
        topic: String;
        partitions: Vec<EpochEndOffset>;
    }
    struct EpochEndOffset {
        error_code: i16;
        partition: i32;
        leader_epoch: i32 = -1;
        end_offset: i64 = -1;
    }
}
