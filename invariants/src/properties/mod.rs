//! The properties, one file each. A file holds the rule and its tests: what breaks it, and what
//! just does not. Facts come from [`crate::facts`]; when a rule is asked is [`crate::judge`]'s
//! work.

macro_rules! modules { ($($name:ident)*) => { $(pub(crate) mod $name;)* }; }

modules! {
    offset_unique offset_dense acked_durable read_stable watermark_order monotone single_writer
    epoch_chain no_phantom
    ack_after_verify trim_after_commit recovery_complete sealed_epoch
    range_contig coverage commit_idem fenced_commit end_monotone orphan_bound no_dangling
    image_equiv
    election_safety log_matching leader_completeness state_machine_safety hw_monotone vote_once
    durable_before_reply
    broker_fence one_leader leader_eligible
    no_dup order_no_gap dedup_answer state_equiv
    atomic_visibility no_aborted_read last_stable decision_stable outcome_truth zombie_fence
    marker_once txn_scope coordinator_epoch refused_for_cause
    commit_latest generation_fence exactly_once offset_replay exclusive
    list_offsets epoch_end
    readers_progress quorum_leads stable_reaches_end decisions_complete clients_progress
    groups_stable failover_done backlog_drains backs_off
    exact_copy marker_atomic one_committer replay_same listed_readable query_progress batch_chain
    at_least_once one_topic
    quorum_refines wal_refines transactions_refine
}
