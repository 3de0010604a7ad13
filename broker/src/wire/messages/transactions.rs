//! Producers and transactions.

messages! { init_producer_id
    struct Request {
        transactional_id: Option<String>;
        transaction_timeout_ms: i32;
        producer_id: i64 [3..] = -1;
        producer_epoch: i16 [3..] = -1;
    }
    struct Response {
        throttle_time_ms: i32;
        error_code: i16;
        producer_id: i64 = -1;
        producer_epoch: i16;
    }
}

messages! { add_partitions_to_txn
    struct Request {
        v3_and_below_transactional_id: String;
        v3_and_below_producer_id: i64;
        v3_and_below_producer_epoch: i16;
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>;
    }
    struct AddPartitionsToTxnTopic {
        name: String;
        partitions: Vec<i32>;
    }
    struct Response {
        throttle_time_ms: i32;
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>;
    }
    struct AddPartitionsToTxnTopicResult {
        name: String;
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>;
    }
    struct AddPartitionsToTxnPartitionResult {
        partition_index: i32;
        partition_error_code: i16;
    }
}

messages! { add_offsets_to_txn
    struct Request {
        transactional_id: String;
        producer_id: i64;
        producer_epoch: i16;
        group_id: String;
    }
    struct Response {
        throttle_time_ms: i32;
        error_code: i16;
    }
}

messages! { end_txn
    struct Request {
        transactional_id: String;
        producer_id: i64;
        producer_epoch: i16;
        committed: bool;
    }
    struct Response {
        throttle_time_ms: i32;
        error_code: i16;
        producer_id: i64 [5..] = -1;
        producer_epoch: i16 [5..] = -1;
    }
}

messages! { txn_offset_commit
    struct Request {
        transactional_id: String;
        group_id: String;
        producer_id: i64;
        producer_epoch: i16;
        generation_id: i32 [3..] = -1;
        member_id: String [3..];
        group_instance_id: Option<String> [3..];
        topics: Vec<TxnOffsetCommitRequestTopic>;
    }
    struct TxnOffsetCommitRequestTopic {
        name: String;
        partitions: Vec<TxnOffsetCommitRequestPartition>;
    }
    struct TxnOffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 [2..] = -1;
        committed_metadata: Option<String>;
    }
    struct Response {
        throttle_time_ms: i32;
        topics: Vec<TxnOffsetCommitResponseTopic>;
    }
    struct TxnOffsetCommitResponseTopic {
        name: String;
        partitions: Vec<TxnOffsetCommitResponsePartition>;
    }
    struct TxnOffsetCommitResponsePartition {
        partition_index: i32;
        error_code: i16;
    }
}

messages! { write_txn_markers
    struct Request {
        markers: Vec<WritableTxnMarker>;
    }
    struct WritableTxnMarker {
        producer_id: i64;
        producer_epoch: i16;
        transaction_result: bool;
        topics: Vec<WritableTxnMarkerTopic>;
        coordinator_epoch: i32;
    }
    struct WritableTxnMarkerTopic {
        name: String;
        partition_indexes: Vec<i32>;
    }
    struct Response {
        markers: Vec<WritableTxnMarkerResult>;
    }
    struct WritableTxnMarkerResult {
        producer_id: i64;
        topics: Vec<WritableTxnMarkerTopicResult>;
    }
    struct WritableTxnMarkerTopicResult {
        name: String;
        partitions: Vec<WritableTxnMarkerPartitionResult>;
    }
    struct WritableTxnMarkerPartitionResult {
        partition_index: i32;
        error_code: i16;
    }
}

messages! { describe_transactions
    struct Request {
        transactional_ids: Vec<String>;
    }
    struct Response {
        throttle_time_ms: i32;
        transaction_states: Vec<TransactionState>;
    }
    struct TransactionState {
        error_code: i16;
        transactional_id: String;
        transaction_state: String;
        transaction_timeout_ms: i32;
        transaction_start_time_ms: i64;
        producer_id: i64;
        producer_epoch: i16;
        topics: Vec<TopicData>;
    }
    struct TopicData {
        topic: String;
        partitions: Vec<i32>;
    }
}

messages! { list_transactions
    struct Request {
        state_filters: Vec<String>;
        producer_id_filters: Vec<i64>;
        duration_filter: i64 [1..] = -1;
    }
    struct Response {
        throttle_time_ms: i32;
        error_code: i16;
        unknown_state_filters: Vec<String>;
        transaction_states: Vec<TransactionState>;
    }
    struct TransactionState {
        transactional_id: String;
        producer_id: i64;
        transaction_state: String;
    }
}
