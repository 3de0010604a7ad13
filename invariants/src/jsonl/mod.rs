//! Histories as JSON lines: what `docs/history.md` defines, read line by line and written. Topics
//! have names in a file and ids in a history. What is wrong with a line is said with its number,
//! its field, and what is allowed; what a history means is not known here.

mod complain;
mod errors;
mod fields;
mod groups;
mod order;
mod read;
mod shape;
#[cfg(test)]
mod tests;
mod write;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use broker_core::ids::TopicId;
use serde::{Deserialize, Serialize};

use crate::history::{HistoryEvent, TransactionalId};

pub use write::Writer;

use order::Order;

/// The version of the schema that this build writes and reads.
pub const HISTORY_VERSION: u32 = 1;

/// Larger offsets are refused: the judge holds what lies below a partition's largest one.
pub const OFFSET_MAX: u64 = crate::facts::clients::OFFSET_MAX;

/// The first line of a file.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The schema's version.
    pub history: u32,
    /// Of what broker, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub broker: Option<String>,
    /// Anything else, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// A line that is not what it must be: the whole file is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// Which field, what it holds, what is allowed.
    pub message: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl core::error::Error for BadLine {}

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// Nothing: it is the header, or empty.
    Nothing,
    /// An event.
    Event {
        /// That event.
        event: HistoryEvent,
        /// The line on which its call began, if it ends one.
        began: Option<u64>,
    },
    /// From here on every answer is the newest leader's.
    Settled,
}

/// Reads a file's lines, in order. Holds no lines: its memory is bounded by the calls that are
/// open, the transactions and their ids, the topics, and the gaps between the values.
#[derive(Clone, Default, Debug)]
pub struct Reader {
    line: u64,
    header: Option<Header>,
    order: Order,
    topics: Topics,
    transactional_ids: BTreeSet<TransactionalId>,
}

impl Reader {
    /// The next line, with or without its end.
    ///
    /// # Errors
    /// If it is not what it must be.
    pub fn line(&mut self, text: &str) -> Result<Line, BadLine> {
        self.line += 1;
        let text = text.trim_ascii();
        if text.is_empty() {
            return Ok(Line::Nothing);
        }
        let read = match self.header {
            None => self.header(text).map(|()| Line::Nothing),
            Some(_) => read::line(self, text),
        };
        read.map_err(|message| BadLine { line: self.line, message })
    }

    /// The end of the file.
    ///
    /// # Errors
    /// If there is no header.
    pub fn finish(&self) -> Result<Header, BadLine> {
        let missing = || BadLine {
            line: self.line + 1,
            message: format!("the file ends without a header; allowed: {HEADER_ALLOWED}"),
        };
        self.header.clone().ok_or_else(missing)
    }

    /// Lines read so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.line
    }

    /// The topic's name in the file.
    #[must_use]
    pub fn topic(&self, topic: TopicId) -> Option<&str> {
        let place = usize::try_from(topic.0).ok()?;
        self.topics.names.get(place).map(String::as_str)
    }

    fn transactional_id(&mut self, name: &str) -> TransactionalId {
        if let Some(known) = self.transactional_ids.get(name) {
            return known.clone();
        }
        let id = TransactionalId::from(name);
        self.transactional_ids.insert(id.clone());
        id
    }

    fn header(&mut self, text: &str) -> Result<(), String> {
        let header: Header = serde_json::from_str(text).map_err(|error| {
            let error = complain::place(&error);
            format!("no header: {error}; allowed: {HEADER_ALLOWED}")
        })?;
        if header.history != HISTORY_VERSION {
            let version = header.history;
            return Err(format!("field `history`: {version}; allowed: {HISTORY_VERSION}"));
        }
        self.header = Some(header);
        Ok(())
    }
}

const HEADER_ALLOWED: &str =
    "a first line {\"history\": 1}, with \"broker\" and \"note\" if wanted";

/// Names of topics, numbered as they come.
#[derive(Clone, Default, Debug)]
struct Topics {
    names: Vec<String>,
    ids: BTreeMap<String, TopicId>,
}

impl Topics {
    fn id(&mut self, name: &str) -> TopicId {
        if let Some(known) = self.ids.get(name) {
            return *known;
        }
        let id = TopicId(self.names.len() as u128);
        self.names.push(name.to_string());
        self.ids.insert(name.to_string(), id);
        id
    }
}
