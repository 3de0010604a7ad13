//! The clocks of the machine.

use broker_core::time::{Mono, Wall};
use tokio::time::{Duration, Instant};

use super::Clock;

/// Reads the clocks of the machine; the monotonic one begins at 0.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn mono(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_micros()).expect("half a million years"))
    }

    fn instant(&self, at: Mono) -> Instant {
        self.start + Duration::from_micros(at.0)
    }

    fn wall(&self) -> Wall {
        #[expect(clippy::disallowed_types, reason = "the host is where the clock is read")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros());
        Wall(i64::try_from(micros).expect("three hundred thousand years"))
    }
}
