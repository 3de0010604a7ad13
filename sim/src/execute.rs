//! Runs a plan and never panics: an assertion in the core becomes a verdict with its place, so that
//! one bad run is one failure and not the end of a sweep.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::decider::{self, RunOptions};
use crate::outcome::{Outcome, Verdict};
use crate::plan::Plan;

/// What stands for a property when an assertion in the core failed.
pub const PANIC: &str = "panic";

thread_local! {
    /// Set while a run is on this thread; then holds where it panicked.
    static PANICKED: RefCell<Option<Option<(String, String)>>> = const { RefCell::new(None) };
}

/// Runs a plan.
#[must_use]
pub fn execute(plan: &Plan, options: RunOptions<'_>) -> Outcome {
    catch(|| decider::run(plan, options))
}

fn catch(run: impl FnOnce() -> Outcome) -> Outcome {
    install_hook();
    PANICKED.set(Some(None));
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let seen = PANICKED.replace(None).flatten();
    result.unwrap_or_else(|_| {
        let (place, message) = seen.unwrap_or_else(|| ("unknown".to_owned(), String::new()));
        Outcome {
            verdict: Verdict::Panicked { place, message },
            trace_hash: 0,
            steps: 0,
            sim_us: 0,
            calls_ok: 0,
            faults: BTreeMap::new(),
            probes: Vec::new(),
            reached: BTreeMap::new(),
        }
    })
}

/// Keeps panics of runs quiet, on their own threads only; all others print as ever.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let in_run = PANICKED.with_borrow_mut(|slot| match slot {
                None => false,
                Some(seen) => {
                    let place = info.location().map_or_else(String::new, |location| {
                        format!("{}:{}", location.file(), location.line())
                    });
                    let text = info.payload_as_str().unwrap_or("a panic without text");
                    *seen = Some((place, text.to_owned()));
                    true
                }
            });
            if !in_run {
                earlier(info);
            }
        }));
    });
}

impl Verdict {
    /// The broken property's code, [`PANIC`] for an assertion; `None` if the run passed.
    #[must_use]
    pub fn property(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Violated { property, .. } => Some(property),
            Self::Panicked { .. } => Some(PANIC),
        }
    }

    /// Where it broke.
    #[must_use]
    pub fn place(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Violated { place, .. } | Self::Panicked { place, .. } => place,
        }
    }

    /// What broke, with the numbers.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Violated { message, .. } | Self::Panicked { message, .. } => message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execute_panicking_run_is_a_verdict_with_its_place() {
        let outcome = catch(|| panic!("end {} below start {}", 3, 4));
        let Verdict::Panicked { place, message } = outcome.verdict else {
            panic!("not a verdict of a panic: {outcome:?}");
        };
        assert!(place.starts_with("sim/src/execute.rs:"), "{place}");
        assert_eq!(message, "end 3 below start 4");
    }
}
