//! A node's two clocks.

use broker_core::time::{Mono, Wall};
use tokio::time::{Duration, Instant};

/// Reads the clocks of the machine; the monotonic one begins at 0.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn mono(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_micros()).expect("half a million years"))
    }

    /// The instant at which the monotonic clock has come to this.
    #[must_use]
    pub fn instant(&self, at: Mono) -> Instant {
        self.start + Duration::from_micros(at.0)
    }

    /// Microseconds since the Unix epoch. Before it: 0.
    #[must_use]
    pub fn wall(&self) -> Wall {
        #[expect(clippy::disallowed_types, reason = "the host is where the clock is read")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros());
        Wall(i64::try_from(micros).expect("three hundred thousand years"))
    }
}
