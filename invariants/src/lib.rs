//! What must hold. Judges two kinds of evidence kept apart: what clients saw ([`history`]) and what
//! an all-seeing observer sees ([`view`]).
//!
//! [`PROPERTIES`] is the table of contents: one row and one file in `properties` per property. The
//! [`Judge`] takes evidence one piece at a time, keeps facts, and asks each property that has
//! something to say. Who asks (`workloads`) shares no code with who judges.

#![no_std]

extern crate alloc;

mod bytes;
mod facts;
pub mod handoff;
pub mod history;
pub mod jsonl;
mod judge;
mod marks;
mod offline;
mod properties;
mod specification;
mod table;
#[cfg(test)]
mod testing;
pub mod view;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

use broker_core::ids::{Offset, TopicPartition};

pub use judge::Judge;
pub use marks::{SOMETIMES, SometimesRow};
pub use offline::{HistoryJudge, OF_HISTORIES, Summary, judge_history};
pub use specification::SPECIFIED;
pub use table::{EVALUATED, PROPERTIES, PropertyRow};

use table::Code;

/// A property that does not hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Violation {
    /// Its code in [`PROPERTIES`].
    pub property: &'static str,
    /// Where, in words that are the same over seeds: failures are grouped by it.
    pub place: String,
    /// What happened, with the numbers.
    pub message: String,
    /// The partition and the offset it is about, if it is about one.
    pub at: Option<Box<At>>,
}

/// A place in a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct At {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset, if it is about one.
    pub offset: Option<Offset>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.property, self.place, self.message)
    }
}

impl core::error::Error for Violation {}

/// What a property says about a piece of evidence.
pub(crate) type Check = Result<(), Violation>;

impl Violation {
    pub(crate) fn of(code: Code, place: impl Into<Place>, message: String) -> Self {
        let Place { word, which, partition, offset } = place.into();
        let message = match which {
            Some(which) => alloc::format!("{which}: {message}"),
            None => message,
        };
        let at = partition.map(|partition| Box::new(At { partition, offset }));
        Self { property: code.text(), place: word.to_string(), message, at }
    }
}

/// Where something happened: a word that is the same over seeds, and which of them it was.
pub(crate) struct Place {
    word: &'static str,
    which: Option<String>,
    partition: Option<TopicPartition>,
    offset: Option<Offset>,
}

impl From<&'static str> for Place {
    fn from(word: &'static str) -> Self {
        Self { word, which: None, partition: None, offset: None }
    }
}

impl From<TopicPartition> for Place {
    fn from(partition: TopicPartition) -> Self {
        let which = alloc::format!("partition {}", partition.index);
        Self { word: "partition", which: Some(which), partition: Some(partition), offset: None }
    }
}

/// The message says the offset.
impl From<(TopicPartition, Offset)> for Place {
    fn from((partition, offset): (TopicPartition, Offset)) -> Self {
        Self { offset: Some(offset), ..Self::from(partition) }
    }
}

/// Ends a check with a violation unless the condition holds.
macro_rules! require {
    ($condition:expr, $code:ident, $place:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Violation::of(
                $crate::table::Code::$code,
                $place,
                alloc::format!($($message)+),
            ));
        }
    };
}
pub(crate) use require;
