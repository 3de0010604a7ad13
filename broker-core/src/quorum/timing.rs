//! How long the quorum waits for what, and how much it puts in one message: Kafka's defaults for
//! `controller.quorum.*` unless said otherwise, and its two back-off formulas.

use crate::time::Dur;

/// A follower that fetched nothing for so long looks for a new leader
/// (`controller.quorum.fetch.timeout.ms`).
pub const FETCH_TIMEOUT: Dur = Dur::secs(2);

/// Without a leader for once to twice this long, an election begins
/// (`controller.quorum.election.timeout.ms`).
pub const ELECTION_TIMEOUT: Dur = Dur::secs(1);

/// Longest wait after a lost election (`controller.quorum.election.backoff.max.ms`).
pub const ELECTION_BACKOFF_MAX: Dur = Dur::secs(1);

/// Unit of the wait after a lost election (`RETRY_BACKOFF_BASE_MS`).
const ELECTION_BACKOFF_BASE: Dur = Dur::ms(100);

/// A leader not fetched from by a majority for so long resigns (KAFKA-15489: 1.5 × fetch timeout).
pub const CHECK_QUORUM: Dur = Dur::ms(3_000);

/// BeginQuorumEpoch goes out again this often, to voters that did not fetch since (half the fetch
/// timeout, so that a voter hears of its leader before it looks for another one).
pub const BEGIN_INTERVAL: Dur = Dur::secs(1);

/// A fetch that finds nothing new waits at the leader for so long (`MAX_FETCH_WAIT_MS`).
pub const FETCH_WAIT_MAX: Dur = Dur::ms(500);

/// An unanswered fetch is sent again after so long: twice the longest wait at the leader, and half
/// the fetch timeout, so that one lost message costs no election.
pub const FETCH_RETRY: Dur = Dur::secs(1);

/// Wait after a refused fetch (`controller.quorum.retry.backoff.ms` is 20 ms; jitter of the same
/// length again keeps the refused ones apart).
pub const REFUSED_BACKOFF: Dur = Dur::ms(50);

/// Unanswered vote requests go out again this often: a few times within one election timeout.
pub const VOTE_RETRY: Dur = Dur::ms(250);

/// The leader gathers entries for so long before it flushes and sends them. Kafka's default is
/// 25 ms; each round of a broker's commit path pays it once, and one sync in flight batches anyway.
pub const LINGER: Dur = Dur::ms(5);

/// Entries in one fetch answer: a follower that is far behind gets a prefix and asks again.
pub const FETCH_ENTRIES_MAX: usize = 128;

/// Encoded bytes in one fetch answer, the first entry excepted (Kafka: 8 MiB; metadata entries here
/// stay below some kilobytes).
pub const FETCH_BYTES_MAX: u64 = 1 << 20;

/// Entries that a leader has in doubt before it takes no more: check-quorum ends a leadership
/// without a majority, this ends its growth before that.
pub const UNCOMMITTED_MAX: u64 = 65_536;

/// Messages that wait while the state file is written; more are dropped, as a full socket would.
pub const INBOX_MAX: usize = 1_024;

/// Election timeout with jitter: once to twice [`ELECTION_TIMEOUT`].
#[must_use]
pub fn election_timeout(entropy: u64) -> Dur {
    Dur(ELECTION_TIMEOUT.0 + entropy % ELECTION_TIMEOUT.0)
}

/// Wait before a refused fetch is sent again.
#[must_use]
pub fn refused_backoff(entropy: u64) -> Dur {
    Dur(REFUSED_BACKOFF.0 + entropy % REFUSED_BACKOFF.0)
}

/// Wait after the `retries`-th lost election: random, its range doubling
/// (`binaryExponentialElectionBackoffMs`).
#[must_use]
pub fn lost_election_backoff(retries: u32, entropy: u64) -> Dur {
    let slots = (2u64 << retries.saturating_sub(1).min(10)) - 1;
    Dur(ELECTION_BACKOFF_BASE.times(1 + entropy % slots).0.min(ELECTION_BACKOFF_MAX.0))
}

/// Wait of the successor in this place of the preferred ones: the first none, then doubling up to
/// the maximum for the last (`strictExponentialElectionBackoffMs`).
#[must_use]
pub fn successor_backoff(position: usize, successors: usize) -> Dur {
    if position == 0 {
        return Dur(0);
    }
    let base = ELECTION_BACKOFF_MAX.0 >> (successors.saturating_sub(1)).min(20);
    Dur((base << (position - 1).min(20)).min(ELECTION_BACKOFF_MAX.0))
}
