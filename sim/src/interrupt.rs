//! Ctrl-C: the first asks for a clean end with what is there so far, the second ends at once.

use std::sync::{Arc, OnceLock};

/// Whether somebody asked for an end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<OnceLock<()>>);

impl Interrupt {
    /// Listens to Ctrl-C. Only one listener per process takes effect; more do no harm.
    #[must_use]
    pub fn listen() -> Self {
        let asked = Self::default();
        let handler = asked.clone();
        // An error means that there is a listener already, or no such signal here.
        let _ = ctrlc::set_handler(move || {
            if handler.0.set(()).is_err() {
                std::process::exit(130);
            }
        });
        asked
    }

    /// Asks for an end.
    pub fn ask(&self) {
        let _ = self.0.set(());
    }

    /// Whether an end was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.get().is_some()
    }
}
