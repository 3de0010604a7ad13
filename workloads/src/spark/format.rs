//! The files of a Spark checkpoint, as Spark reads and writes them.
//!
//! Parsing keeps what Spark keeps, in the order in which it stands in the file, so that a file that
//! Spark wrote is written back byte for byte. Strings are escaped as `serde_json` does; Spark's
//! Jackson differs only for control characters (`\u001F` in capitals). Source: Apache Spark 4.3.0
//! (`OffsetSeqLog`, `CommitLog`, `StreamMetadata`, `KafkaSourceInitialOffsetWriter`,
//! `MetadataVersionUtil`).

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

mod commit_log;
mod kafka_offsets;
mod offset_log;
mod ordered;
mod query_metadata;

pub use commit_log::CommitEntry;
pub use kafka_offsets::{KafkaOffsets, parse_initial_offsets, write_initial_offsets};
pub use offset_log::{OffsetEntry, OffsetMetadata, SourceOffsets};
pub use ordered::Members;
pub use query_metadata::{QueryId, parse_query_metadata, write_query_metadata};

/// Newest version of the offset log that Spark 4.3.0 reads (`OffsetSeqLog.MAX_VERSION`).
pub const OFFSET_LOG_VERSION_MAX: i32 = 2;

/// Newest version of the commit log that Spark 4.3.0 reads (`CommitLog.MAX_VERSION`).
pub const COMMIT_LOG_VERSION_MAX: i32 = 2;

/// Version of the Kafka source's initial offsets (`KafkaSourceInitialOffsetWriter.VERSION`).
pub const INITIAL_OFFSETS_VERSION_MAX: i32 = 1;

/// A file that can not be read: which, where, and what may stand there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FormatError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Problem {
    /// The file holds nothing.
    Empty,
    /// The file is not UTF-8.
    NotText,
    /// The file ends before this line.
    LineMissing,
    /// The first line names no version.
    NoVersion {
        /// What stands there.
        found: String,
    },
    /// The file is of a later format.
    VersionTooNew {
        /// Its version.
        found: i32,
        /// The newest that can be read.
        newest: i32,
    },
    /// The JSON is broken, or is not of this kind.
    Json {
        /// What is expected.
        expected: &'static str,
        /// What the parser says.
        why: String,
    },
    /// A line of the offset log, version 2, names no source.
    NoSource {
        /// What stands there.
        found: String,
    },
    /// The query's id is no UUID.
    NoUuid {
        /// What stands there.
        found: String,
    },
    /// The zero byte in front of the initial offsets is missing.
    NoZeroByte,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        match &self.problem {
            Problem::Empty => f.write_str("the file is empty; allowed: a version line, `v1`"),
            Problem::NotText => f.write_str("not UTF-8; allowed: UTF-8 text"),
            Problem::LineMissing => {
                f.write_str("the file ends here; allowed: the metadata as JSON, or an empty line")
            }
            Problem::NoVersion { found } => {
                write!(f, "{found:?} is no version; allowed: `v` and a number from 1 on")
            }
            Problem::VersionTooNew { found, newest } => {
                write!(f, "version v{found} is too new; allowed: v1 to v{newest}")
            }
            Problem::Json { expected, why } => write!(f, "{why}; allowed: {expected}"),
            Problem::NoSource { found } => {
                write!(
                    f,
                    "{found:?} names no source; allowed: `<source id>:<offset as JSON, or ->`"
                )
            }
            Problem::NoUuid { found } => {
                write!(f, "the id {found:?} is no UUID; allowed: 8-4-4-4-12 hexadecimal digits")
            }
            Problem::NoZeroByte => f.write_str("allowed: a zero byte, then `v1`"),
        }
    }
}

impl FormatError {
    /// How a query of Spark ends that finds this file: its exception, in Spark's words.
    #[must_use]
    pub fn spark_says(&self) -> String {
        match &self.problem {
            Problem::Empty => "IllegalStateException: Incomplete log file".into(),
            Problem::NotText => "MalformedInputException".into(),
            Problem::LineMissing => "NoSuchElementException: next on empty iterator".into(),
            Problem::NoVersion { found } => format!(
                "IllegalStateException: Log file was malformed: failed to read correct log version \
                 from {found}."
            ),
            Problem::VersionTooNew { found, newest } => format!(
                "IllegalStateException: UnsupportedLogVersion: maximum supported log version is \
                 v{newest}, but encountered v{found}. The log file was produced by a newer version \
                 of Spark and cannot be read by this version. Please upgrade."
            ),
            Problem::Json { why, .. } => format!("JSON exception: {why}"),
            Problem::NoSource { found } => {
                format!("IllegalStateException: Invalid OffsetMap format: {found}")
            }
            Problem::NoUuid { found } => {
                format!("IllegalArgumentException: Invalid UUID string: {found}")
            }
            // Spark reads one byte and looks at none (SPARK-19517).
            Problem::NoZeroByte => "AssertionError, or a version that begins too late".into(),
        }
    }
}

/// One file while it is read line by line, as Scala's `getLines` gives them.
struct Lines<'a> {
    file: &'a str,
    lines: core::str::Lines<'a>,
    line: u32,
}

impl<'a> Lines<'a> {
    fn new(file: &'a str, bytes: &'a [u8]) -> Result<Self, FormatError> {
        match core::str::from_utf8(bytes) {
            Ok("") => Err(error(file, 1, Problem::Empty)),
            Ok(text) => Ok(Self { file, lines: text.lines(), line: 0 }),
            Err(wrong) => {
                let before = &bytes[..wrong.valid_up_to()];
                let newlines = before.iter().filter(|byte| **byte == b'\n').count();
                let line = u32::try_from(newlines).map_or(u32::MAX, |newlines| newlines + 1);
                Err(error(file, line, Problem::NotText))
            }
        }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.line += 1;
        self.lines.next()
    }

    /// The error `problem` on the line read last.
    fn error(&self, problem: Problem) -> FormatError {
        error(self.file, self.line, problem)
    }

    fn json_error(&self, expected: &'static str, why: &serde_json::Error) -> FormatError {
        self.error(Problem::Json { expected, why: why.to_string() })
    }

    /// The version line (`MetadataVersionUtil.validateVersion`).
    fn version(&mut self, trim: bool, newest: i32) -> Result<i32, FormatError> {
        let line = self.next().unwrap_or_default();
        let text = if trim { line.trim() } else { line };
        let number = text.strip_prefix('v').and_then(|digits| digits.parse::<i32>().ok());
        match number {
            Some(found) if found > newest => {
                Err(self.error(Problem::VersionTooNew { found, newest }))
            }
            Some(version) if version > 0 => Ok(version),
            _ => Err(self.error(Problem::NoVersion { found: text.into() })),
        }
    }
}

fn error(file: &str, line: u32, problem: Problem) -> FormatError {
    FormatError { file: file.into(), line, problem }
}
