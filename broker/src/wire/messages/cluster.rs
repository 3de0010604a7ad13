//! Versions, metadata, coordinators.

messages! { api_versions
    struct Request {
        client_software_name: String [3..];
        client_software_version: String [3..];
    }
    struct Response {
        error_code: i16;
        api_keys: Vec<ApiVersion>;
        throttle_time_ms: i32 [1..];
        supported_features: Vec<SupportedFeatureKey> [3..], tag 0;
        finalized_features_epoch: i64 [3..], tag 1 = -1;
        finalized_features: Vec<FinalizedFeatureKey> [3..], tag 2;
        zk_migration_ready: bool [3..], tag 3;
    }
    struct ApiVersion {
        api_key: i16;
        min_version: i16;
        max_version: i16;
    }
    struct SupportedFeatureKey {
        name: String;
        min_version: i16;
        max_version: i16;
    }
    struct FinalizedFeatureKey {
        name: String;
        max_version_level: i16;
        min_version_level: i16;
    }
}

messages! { metadata
    struct Request {
        topics: Option<Vec<MetadataRequestTopic>>, null [1..];
        allow_auto_topic_creation: bool [4..] = true;
        include_cluster_authorized_operations: bool [8..=10];
        include_topic_authorized_operations: bool [8..];
    }
    struct MetadataRequestTopic {
        topic_id: Uuid [10..];
        name: Option<String>, null [10..];
    }
    struct Response {
        throttle_time_ms: i32 [3..];
        brokers: Vec<MetadataResponseBroker>;
        cluster_id: Option<String> [2..];
        controller_id: i32 [1..] = -1;
        topics: Vec<MetadataResponseTopic>;
        cluster_authorized_operations: i32 [8..=10] = i32::MIN;
    }
    struct MetadataResponseBroker {
        node_id: i32;
        host: String;
        port: i32;
        rack: Option<String> [1..];
    }
    struct MetadataResponseTopic {
        error_code: i16;
        name: Option<String>, null [12..];
        topic_id: Uuid [10..];
        is_internal: bool [1..];
        partitions: Vec<MetadataResponsePartition>;
        topic_authorized_operations: i32 [8..] = i32::MIN;
    }
    struct MetadataResponsePartition {
        error_code: i16;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 [7..] = -1;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        offline_replicas: Vec<i32> [5..];
    }
}

messages! { describe_cluster
    struct Request {
        include_cluster_authorized_operations: bool;
        endpoint_type: i8 [1..] = 1;
    }
    struct Response {
        throttle_time_ms: i32;
        error_code: i16;
        error_message: Option<String>;
        endpoint_type: i8 [1..] = 1;
        cluster_id: String;
        controller_id: i32 = -1;
        brokers: Vec<DescribeClusterBroker>;
        cluster_authorized_operations: i32 = i32::MIN;
    }
    struct DescribeClusterBroker {
        broker_id: i32;
        host: String;
        port: i32;
        rack: Option<String>;
    }
}

messages! { find_coordinator
    struct Request {
        key: String [..=3];
        key_type: i8 [1..];
        coordinator_keys: Vec<String> [4..];
    }
    struct Response {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..=3];
        error_message: Option<String> [1..=3];
        node_id: i32 [..=3];
        host: String [..=3];
        port: i32 [..=3];
        coordinators: Vec<Coordinator> [4..];
    }
    struct Coordinator {
        key: String;
        node_id: i32;
        host: String;
        port: i32;
        error_code: i16;
        error_message: Option<String>;
    }
}

messages! { describe_quorum
    struct Request {
        topics: Vec<DescribeQuorumRequestTopic>;
    }
    struct DescribeQuorumRequestTopic {
        topic_name: String;
        partitions: Vec<DescribeQuorumRequestPartition>;
    }
    struct DescribeQuorumRequestPartition {
        partition_index: i32;
    }
    struct Response {
        error_code: i16;
        error_message: Option<String> [2..] = Some(String::new());
        topics: Vec<DescribeQuorumResponseTopic>;
        nodes: Vec<DescribeQuorumResponseNode> [2..];
    }
    struct DescribeQuorumResponseTopic {
        topic_name: String;
        partitions: Vec<DescribeQuorumResponsePartition>;
    }
    struct DescribeQuorumResponsePartition {
        partition_index: i32;
        error_code: i16;
        error_message: Option<String> [2..] = Some(String::new());
        leader_id: i32;
        leader_epoch: i32;
        high_watermark: i64;
        current_voters: Vec<DescribeQuorumReplica>;
        observers: Vec<DescribeQuorumReplica>;
    }
    struct DescribeQuorumReplica {
        replica_id: i32;
        replica_directory_id: Uuid [2..];
        log_end_offset: i64;
        last_fetch_timestamp: i64 [1..] = -1;
        last_caught_up_timestamp: i64 [1..] = -1;
    }
    struct DescribeQuorumResponseNode {
        node_id: i32;
        listeners: Vec<DescribeQuorumResponseListener>;
    }
    struct DescribeQuorumResponseListener {
        name: String;
        host: String;
        port: u16;
    }
}
