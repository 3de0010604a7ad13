//! The files of two checkpoints that Spark 4.3.0 wrote are read and written back byte for byte, and
//! bad files are refused with their place and with what may stand there.
//!
//! `data/spark/` was written by pyspark 4.3.0 on a local file system: a rate source, five batches,
//! without settings (`v1_stateless`) and with `spark.sql.streaming.offsetLog.formatVersion` 2.

use std::fs;
use std::path::{Path, PathBuf};

use broker_core::ids::{Offset, PartitionIndex};
use bytes::Bytes;
use workloads::spark::format::{
    CommitEntry, FormatError, KafkaOffsets, OffsetEntry, QueryId, SourceOffsets,
    parse_initial_offsets, parse_query_metadata, write_initial_offsets, write_query_metadata,
};

const BATCHES: u64 = 5;

fn golden(checkpoint: &str, file: &str) -> (PathBuf, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spark");
    let path = folder.join(checkpoint).join(file);
    let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (path, bytes)
}

fn written_back(checkpoint: &str, file: &str, rewrite: fn(&str, &[u8]) -> Bytes) {
    let (path, bytes) = golden(checkpoint, file);
    assert_eq!(rewrite(file, &bytes), bytes, "{}", path.display());
}

#[test]
fn golden_files_parsed_are_written_back_byte_for_byte() {
    for checkpoint in ["v1_stateless", "v2_offsetlog"] {
        written_back(checkpoint, "metadata", |file, bytes| {
            write_query_metadata(parse_query_metadata(file, bytes).unwrap())
        });
        for batch in 0..BATCHES {
            written_back(checkpoint, &format!("offsets/{batch}"), |file, bytes| {
                OffsetEntry::parse(file, bytes).unwrap().write()
            });
            written_back(checkpoint, &format!("commits/{batch}"), |file, bytes| {
                CommitEntry::parse(file, bytes).unwrap().write()
            });
        }
    }
}

#[test]
fn golden_files_parsed_hold_what_spark_reported() {
    // From the progress event of each query's last batch.
    let (_, bytes) = golden("v1_stateless", "metadata");
    let id = parse_query_metadata("metadata", &bytes).unwrap();
    assert_eq!(id.to_string(), "5ba2c1a7-094e-40d7-9bd6-2c337887b088");
    let end = Some(String::from("{\"offset\":50,\"timestamp\":1700000025000}"));
    let (_, bytes) = golden("v1_stateless", "offsets/4");
    let entry = OffsetEntry::parse("offsets/4", &bytes).unwrap();
    assert_eq!(entry.offsets, SourceOffsets::ByPlace(vec![end.clone()]));
    let metadata = entry.metadata.unwrap();
    assert_eq!((metadata.batch_watermark_ms, metadata.batch_timestamp_ms), (0, 1_795_389_963_002));
    let partitions = metadata.conf.0.iter().find(|(key, _)| key == "spark.sql.shuffle.partitions");
    assert_eq!(partitions.unwrap().1, "2");
    let (_, bytes) = golden("v2_offsetlog", "offsets/4");
    let entry = OffsetEntry::parse("offsets/4", &bytes).unwrap();
    assert_eq!(entry.offsets, SourceOffsets::ById(vec![("0".into(), end)]));
    assert_eq!(entry.metadata.unwrap().source_metadata_info.unwrap().0, []);
    let (_, bytes) = golden("v2_offsetlog", "commits/4");
    assert_eq!(CommitEntry::parse("commits/4", &bytes), Ok(CommitEntry::stateless(0)));
}

#[test]
fn commit_log_of_version_two_is_written_back_byte_for_byte() {
    for text in [
        "v2\n{\"nextBatchWatermarkMs\":5,\"stateUniqueIds\":{\"0\":[[\"a-b\"],[\"c\",\"d\"]]}}",
        "v2\n{\"nextBatchWatermarkMs\":5}",
    ] {
        let entry = CommitEntry::parse("commits/0", text.as_bytes()).unwrap();
        assert_eq!(entry.write(), text);
    }
    // As Spark: without a second line it is `{}`, and the version may stand between spaces.
    let bare = CommitEntry::parse("commits/0", b" v1 ").unwrap();
    assert_eq!(bare, CommitEntry::stateless(0));
}

#[test]
fn offset_log_of_a_source_without_offset_keeps_the_dash() {
    for text in [
        "v1\n\n-\n{\"in\":{\"0\":10,\"1\":5}}",
        "v2\n{\"batchWatermarkMs\":0,\"batchTimestampMs\":1,\"conf\":{}}\n0:-\n1:{}",
    ] {
        assert_eq!(OffsetEntry::parse("offsets/0", text.as_bytes()).unwrap().write(), text);
    }
}

#[test]
fn initial_offsets_written_are_read_again() {
    let partitions = [(PartitionIndex(0), Offset(23)), (PartitionIndex(10), Offset(0))];
    let offsets = KafkaOffsets::of("topic", partitions.into());
    let bytes = write_initial_offsets(&offsets);
    assert_eq!(&bytes[..], b"\0v1\n{\"topic\":{\"0\":23,\"10\":0}}");
    assert_eq!(parse_initial_offsets("sources/0/0", &bytes), Ok(offsets.clone()));
    // Spark 2.1.0 wrote no version.
    let old = b"\0{\"topic\":{\"0\":23,\"10\":0}}";
    assert_eq!(parse_initial_offsets("sources/0/0", old), Ok(offsets));
}

#[test]
fn query_id_drawn_is_a_uuid_of_version_four() {
    let id = QueryId::random(u128::MAX).to_string();
    assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_eq!(QueryId::random(0).to_string(), "00000000-0000-4000-8000-000000000000");
}

fn refusal<T: std::fmt::Debug>(parsed: Result<T, FormatError>) -> (String, String) {
    let error = parsed.unwrap_err();
    (error.to_string(), error.spark_says())
}

#[test]
fn bad_offset_log_is_refused_with_file_line_and_what_is_allowed() {
    let metadata = "{\"batchWatermarkMs\":0,\"batchTimestampMs\":1,\"conf\":{}}";
    let no_source = format!("v2\n{metadata}\n0:-\nnonsense");
    let cases: &[(&[u8], &str, &str)] = &[
        (b"", "offsets/7:1: the file is empty; allowed: a version", "Incomplete log file"),
        (b"v1", "offsets/7:2: the file ends here; allowed: the metadata", "next on empty iterator"),
        (
            b"v3\n{}\n-",
            "offsets/7:1: version v3 is too new; allowed: v1 to v2",
            "is v2, but encountered v3.",
        ),
        (b"v0\n{}\n-", "offsets/7:1: \"v0\" is no version; allowed", "malformed"),
        (b"v1 \n{}\n-", "offsets/7:1: \"v1 \" is no version", "malformed"),
        (b"xyz", "offsets/7:1: \"xyz\" is no version", "version from xyz."),
        (b"v1\n{\"conf\":3}\n-", "offsets/7:2: invalid type", "JSON"),
        (b"v1\n{\"conf\"\n-", "offsets/7:2: EOF", "JSON"),
        (
            no_source.as_bytes(),
            "offsets/7:4: \"nonsense\" names no source",
            "Invalid OffsetMap format: nonsense",
        ),
        (b"v1\n{}\n\xff", "offsets/7:3: not UTF-8", "Malformed"),
    ];
    for (bytes, ours, theirs) in cases {
        let (message, spark) = refusal(OffsetEntry::parse("offsets/7", bytes));
        assert!(message.starts_with(ours), "{message:?} begins with {ours:?}");
        assert!(message.contains("; allowed: "), "{message:?}");
        assert!(spark.contains(theirs), "{spark:?} says {theirs:?}");
    }
}

#[test]
fn bad_commit_log_metadata_and_initial_offsets_are_refused_with_their_place() {
    let commit = |bytes: &[u8]| refusal(CommitEntry::parse("commits/3", bytes)).0;
    assert!(commit(b"").starts_with("commits/3:1: the file is empty"));
    assert!(commit(b"v9\n{}").starts_with("commits/3:1: version v9 is too new; allowed: v1 to v2"));
    assert!(commit(b"v1\n[]x").starts_with("commits/3:2: "));
    let metadata = |bytes: &[u8]| refusal(parse_query_metadata("metadata", bytes)).0;
    assert!(metadata(b"{\"id\":\"1-2-3-4-5\"}").contains("no UUID; allowed: 8-4-4-4-12"));
    assert!(metadata(b"{}").starts_with("metadata:1: missing field `id`"));
    let first = |bytes: &[u8]| refusal(parse_initial_offsets("sources/0/0", bytes)).0;
    assert!(first(b"v1\n{}").starts_with("sources/0/0:1: allowed: a zero byte"));
    assert!(first(b"\0v2\n{}").contains("too new; allowed: v1 to v1"));
    assert!(first(b"\0v1\n{\"t\":{\"0\":-2}}").starts_with("sources/0/0:2: the offset -2"));
}
