//! What the core takes for granted of an object store and of a log device, as cases that anything
//! which calls itself one can be put to: the adapters of this crate, and the models under which the
//! core is tested. So the models are as mean as reality, and no meaner.

mod log;
mod objects;

use std::fmt;

pub use log::{Broken, Devices, check_broken_devices, check_devices};
pub use objects::{Objects, check_objects};

/// How a case went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The case.
    pub case: &'static str,
    /// What was seen that must not be.
    pub result: Result<(), String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(()) => write!(f, "{}: holds", self.case),
            Err(what) => write!(f, "{}: {what}", self.case),
        }
    }
}

fn expect<T: PartialEq + fmt::Debug>(what: &str, got: T, wanted: T) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got:?}, not {wanted:?}")) }
}
