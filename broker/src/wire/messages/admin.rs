//! Topics and their configs.

messages! { create_topics
    struct Request {
        topics: Vec<CreatableTopic>;
        timeout_ms: i32 = 60000;
        validate_only: bool;
    }
    struct CreatableTopic {
        name: String;
        num_partitions: i32;
        replication_factor: i16;
        assignments: Vec<CreatableReplicaAssignment>;
        configs: Vec<CreatableTopicConfig>;
    }
    struct CreatableReplicaAssignment {
        partition_index: i32;
        broker_ids: Vec<i32>;
    }
    struct CreatableTopicConfig {
        name: String;
        value: Option<String>;
    }
    struct Response {
        throttle_time_ms: i32;
        topics: Vec<CreatableTopicResult>;
    }
    struct CreatableTopicResult {
        name: String;
        topic_id: Uuid [7..];
        error_code: i16;
        error_message: Option<String>;
        topic_config_error_code: i16 [5..], tag 0;
        num_partitions: i32 [5..] = -1;
        replication_factor: i16 [5..] = -1;
        configs: Option<Vec<CreatableTopicConfigs>> [5..] = Some(Vec::new());
    }
    struct CreatableTopicConfigs {
        name: String;
        value: Option<String>;
        read_only: bool;
        config_source: i8 = -1;
        is_sensitive: bool;
    }
}

messages! { delete_topics
    struct Request {
        topics: Vec<DeleteTopicState> [6..];
        topic_names: Vec<String> [..=5];
        timeout_ms: i32;
    }
    struct DeleteTopicState {
        name: Option<String>;
        topic_id: Uuid;
    }
    struct Response {
        throttle_time_ms: i32;
        responses: Vec<DeletableTopicResult>;
    }
    struct DeletableTopicResult {
        name: Option<String>, null [6..];
        topic_id: Uuid [6..];
        error_code: i16;
        error_message: Option<String> [5..];
    }
}

messages! { create_partitions
    struct Request {
        topics: Vec<CreatePartitionsTopic>;
        timeout_ms: i32;
        validate_only: bool;
    }
    struct CreatePartitionsTopic {
        name: String;
        count: i32;
        assignments: Option<Vec<CreatePartitionsAssignment>>;
    }
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>;
    }
    struct Response {
        throttle_time_ms: i32;
        results: Vec<CreatePartitionsTopicResult>;
    }
    struct CreatePartitionsTopicResult {
        name: String;
        error_code: i16;
        error_message: Option<String>;
    }
}

messages! { describe_configs
    struct Request {
        resources: Vec<DescribeConfigsResource>;
        include_synonyms: bool;
        include_documentation: bool [3..];
    }
    struct DescribeConfigsResource {
        resource_type: i8;
        resource_name: String;
        configuration_keys: Option<Vec<String>>;
    }
    struct Response {
        throttle_time_ms: i32;
        results: Vec<DescribeConfigsResult>;
    }
    struct DescribeConfigsResult {
        error_code: i16;
        error_message: Option<String>;
        resource_type: i8;
        resource_name: String;
        configs: Vec<DescribeConfigsResourceResult>;
    }
    struct DescribeConfigsResourceResult {
        name: String;
        value: Option<String>;
        read_only: bool;
        config_source: i8 = -1;
        is_sensitive: bool;
        synonyms: Vec<DescribeConfigsSynonym>;
        config_type: i8 [3..];
        documentation: Option<String> [3..] = Some(String::new());
    }
    struct DescribeConfigsSynonym {
        name: String;
        value: Option<String>;
        source: i8;
    }
}

messages! { alter_configs
    struct Request {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }
    struct AlterConfigsResource {
        resource_type: i8;
        resource_name: String;
        configs: Vec<AlterableConfig>;
    }
    struct AlterableConfig {
        name: String;
        value: Option<String>;
    }
    struct Response {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }
    struct AlterConfigsResourceResponse {
        error_code: i16;
        error_message: Option<String>;
        resource_type: i8;
        resource_name: String;
    }
}

messages! { incremental_alter_configs
    struct Request {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }
    struct AlterConfigsResource {
        resource_type: i8;
        resource_name: String;
        configs: Vec<AlterableConfig>;
    }
    struct AlterableConfig {
        name: String;
        config_operation: i8;
        value: Option<String>;
    }
    struct Response {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }
    struct AlterConfigsResourceResponse {
        error_code: i16;
        error_message: Option<String>;
        resource_type: i8;
        resource_name: String;
    }
}
