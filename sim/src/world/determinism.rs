//! Planted bugs of the simulator itself: the three classic ways to lose determinism. They exist so
//! that the check for determinism can be checked; each is switched on by a plan's `mutants`.

use std::hash::{BuildHasher, Hasher};

/// One planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeterminismRow {
    /// Stable name, as plans use it.
    pub id: &'static str,
    /// What the simulator does wrong.
    pub what: &'static str,
    /// Where it was seen.
    pub provenance: &'static str,
}

/// All of them.
pub const REGISTRY: &[DeterminismRow] = &[
    DeterminismRow {
        id: "nd-hash-order",
        what: "what one step causes is scheduled in the order of a randomly seeded hash map",
        provenance: "madsim and turmoil: HashMap iteration (turmoil moved to IndexMap)",
    },
    DeterminismRow {
        id: "nd-address-key",
        what: "events of the same instant are ordered by the address of an allocation",
        provenance: "FoundationDB: maps keyed by pointers are the first thing its guide forbids",
    },
    DeterminismRow {
        id: "nd-wall-clock",
        what: "the real clock leaks into the latency of messages",
        provenance: "S2 on madsim: std's clock read by a dependency",
    },
];

/// Which of them are on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Nondeterminism {
    /// `nd-hash-order`.
    pub hash_order: bool,
    /// `nd-address-key`.
    pub address_key: bool,
    /// `nd-wall-clock`.
    pub wall_clock: bool,
}

impl Nondeterminism {
    /// Switches one on; false if there is none of this id.
    pub fn switch_on(&mut self, id: &str) -> bool {
        match id {
            "nd-hash-order" => self.hash_order = true,
            "nd-address-key" => self.address_key = true,
            "nd-wall-clock" => self.wall_clock = true,
            _ => return false,
        }
        true
    }
}

/// The items in an order that no seed decides.
#[expect(clippy::disallowed_types, reason = "the planted bug nd-hash-order")]
pub fn in_hash_order<T>(items: Vec<T>) -> Vec<T> {
    // A map of its own random state per call: its order differs from call to call.
    let state = std::collections::hash_map::RandomState::new();
    let mut keyed: Vec<(u64, T)> = items
        .into_iter()
        .enumerate()
        .map(|(number, item)| {
            let mut hasher = state.build_hasher();
            hasher.write_usize(number);
            (hasher.finish(), item)
        })
        .collect();
    let order: std::collections::HashSet<u64> = keyed.iter().map(|(key, _)| *key).collect();
    let rank: Vec<u64> = order.into_iter().collect();
    keyed.sort_by_key(|(key, _)| rank.iter().position(|one| one == key));
    keyed.into_iter().map(|(_, item)| item).collect()
}

/// A number that depends on where the allocator puts things. What was allocated is leaked into
/// `kept`, so that no address comes twice.
pub fn address(kept: &mut Vec<Box<u64>>) -> u64 {
    kept.push(Box::new(0));
    let address = format!("{:p}", &raw const **kept.last().expect("pushed above"));
    // A multiplication, so that addresses that grow do not give an order that merely grows.
    let number = u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap_or(0);
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A few microseconds by the real clock.
#[expect(clippy::disallowed_types, reason = "the planted bug nd-wall-clock")]
pub fn wall_clock_jitter_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::from(since.subsec_nanos()) % 97)
}
