//! What a search found, as part of a plan: a run is stopped, and these steps are taken, one after
//! the other, while true time stands still. Whole processes under madsim run the plan without them.

use broker_core::probe::Probe;
use invariants::history::SimTime;
use serde::{Deserialize, Serialize};

use super::micros;
use crate::registry;

/// `[then]`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// Where the run is stopped: see [`Until`].
    pub from: String,
    /// The names of the steps. One that can not be taken is left out.
    pub steps: Vec<String>,
}

/// Where a run is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Before the first step that is later than this.
    At(SimTime),
    /// Behind the step in which a probe is seen for the nth time, from 1 on.
    Seen {
        /// Its number in `Probe::NAMES`.
        probe: usize,
        /// How often.
        nth: u64,
    },
}

impl Until {
    /// Reads `12.5s`, `wal.put.sent` or `wal.put.sent:3`.
    ///
    /// # Errors
    /// If it is neither: what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(us) = micros::parse(text) {
            return Ok(Self::At(SimTime(us)));
        }
        let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
        let nth = nth.parse().ok().filter(|nth| *nth > 0);
        let nth = nth.ok_or_else(|| format!("behind the probe `{name}` comes a number from 1 on"));
        match Probe::NAMES.iter().position(|known| *known == name) {
            Some(probe) => Ok(Self::Seen { probe, nth: nth? }),
            None => {
                let why = registry::unknown("probe", name, Probe::NAMES.iter().copied());
                Err(format!("`{text}` is no time, such as 12.5s, and {why}"))
            }
        }
    }
}
