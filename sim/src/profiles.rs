//! Profiles: what kind of trouble a run is about. Each is a small table of weighted recipes.

use crate::generate::recipes::{self, Recipe};

/// A kind of trouble.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Stable name.
    pub name: &'static str,
    /// One line.
    pub what: &'static str,
    /// How often a seed picks it, next to the others.
    pub weight: u32,
    /// Fewest and most faults.
    pub faults: (u64, u64),
    /// Weighted recipes.
    pub recipes: &'static [(u32, Recipe)],
}

/// The profile with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Profile> {
    ALL.iter().find(|row| row.name == name)
}

/// All profiles.
pub const ALL: &[Profile] = &[
    Profile {
        name: "calm",
        what: "few faults with peace between them: does the cluster come back by itself",
        weight: 1,
        faults: (5, 8),
        recipes: &[
            (4, recipes::CRASH_BROKER),
            (3, recipes::CRASH_CONTROLLER),
            (3, recipes::DRAIN),
            (2, recipes::PAUSE_SHORT),
            (2, recipes::BROWN_OUT),
            (2, recipes::CUT_CLIENT),
            (1, recipes::LOSSY),
            (1, recipes::SLOW_LINK),
        ],
    },
    Profile {
        name: "storm",
        what: "everything at once",
        weight: 4,
        faults: (12, 22),
        recipes: &[
            (4, recipes::CRASH_BROKER),
            (3, recipes::CRASH_CONTROLLER),
            (3, recipes::CRASH_LATE_PUTS),
            (3, recipes::ZOMBIE),
            (3, recipes::PAUSE_BROKER),
            (2, recipes::PAUSE_CONTROLLER),
            (2, recipes::DOUBLE_FAILURE),
            (2, recipes::CUT_CONTROLLER),
            (2, recipes::CUT_STORE),
            (2, recipes::CUT_CLIENT),
            (2, recipes::LOSSY),
            (2, recipes::LOSE_ANSWER),
            (2, recipes::DUPLICATE),
            (2, recipes::ON_PUT_PAUSE),
            (2, recipes::ON_PUT_CRASH_TWICE),
            (2, recipes::ON_CLAIM_LOSE),
            (1, recipes::ZONE_FAIL),
            (1, recipes::ZONE_CUT),
            (1, recipes::ZONE_STORE_LOST),
            (1, recipes::BROWN_OUT),
            (1, recipes::SLOW_DOWN),
            (1, recipes::SPOILED),
            (1, recipes::CLOCK_STEP),
            (1, recipes::SYNC_FAIL),
            (1, recipes::DEVICE_FULL),
            (1, recipes::BIT_ROT),
            (1, recipes::DRAIN),
            (1, recipes::ON_SEARCH_DRAIN),
            (1, recipes::KILL_FOR_GOOD),
        ],
    },
    Profile {
        name: "zone",
        what: "whole zones go down, or are cut off one way or both",
        weight: 2,
        faults: (5, 12),
        recipes: &[
            (6, recipes::ZONE_FAIL),
            (5, recipes::ZONE_CUT),
            (3, recipes::ZONE_STORE_LOST),
            (2, recipes::CRASH_BROKER),
            (2, recipes::ON_PUT_LOSE),
            (1, recipes::KILL_FOR_GOOD),
            (1, recipes::ZOMBIE),
            (1, recipes::CRASH_CONTROLLER),
            (1, recipes::PAUSE_CONTROLLER),
        ],
    },
    Profile {
        name: "s3-bad-day",
        what: "the store throttles, slows down, loses answers, applies puts late or twice",
        weight: 3,
        faults: (8, 18),
        recipes: &[
            (5, recipes::LOSE_ANSWER),
            (3, recipes::CRASH_LATE_PUTS),
            (14, recipes::ON_PUT_CRASH_TWICE),
            (2, recipes::ON_SEARCH_DRAIN),
            (3, recipes::DUPLICATE),
            (3, recipes::SLOW_DOWN),
            (2, recipes::SPOILED),
            (3, recipes::ON_RECOVERY_SPOIL),
            (3, recipes::ON_PUT_LOSE),
            (3, recipes::ON_CLAIM_LOSE),
            (2, recipes::BROWN_OUT),
            (2, recipes::CUT_STORE),
            (2, recipes::ON_PUT_PAUSE),
            (2, recipes::CRASH_BROKER),
            (1, recipes::ZOMBIE),
            (1, recipes::DOUBLE_FAILURE),
        ],
    },
    Profile {
        name: "clock",
        what: "clocks step and drift, processes freeze and wake up late",
        weight: 2,
        faults: (8, 16),
        recipes: &[
            (4, recipes::CLOCK_STEP),
            (4, recipes::CLOCK_DRIFT),
            (3, recipes::PAUSE_BROKER),
            (3, recipes::PAUSE_CONTROLLER),
            (2, recipes::PAUSE_SHORT),
            (2, recipes::ON_PUT_PAUSE),
            (2, recipes::ON_VERIFY_PAUSE),
            (2, recipes::CRASH_BROKER),
            (1, recipes::ON_LEADER_PAUSE),
            (1, recipes::CRASH_CONTROLLER),
        ],
    },
    Profile {
        name: "gray",
        what: "nothing is dead, everything is slow, lossy or half cut off",
        weight: 2,
        faults: (8, 18),
        recipes: &[
            (4, recipes::SLOW_LINK),
            (3, recipes::BROWN_OUT),
            (3, recipes::LOSSY),
            (3, recipes::PAUSE_SHORT),
            (3, recipes::CUT_CONTROLLER),
            (2, recipes::SLOW_DOWN),
            (2, recipes::CUT_CLIENT),
            (2, recipes::CUT_STORE),
            (2, recipes::ZOMBIE),
            (1, recipes::CLOCK_DRIFT),
            (1, recipes::PAUSE_BROKER),
        ],
    },
    Profile {
        name: "targeted",
        what: "faults wait for the moments that matter: a put sent, a claim, a vote, a recovery",
        weight: 4,
        faults: (6, 16),
        recipes: &[
            (4, recipes::ON_PUT_CRASH),
            (4, recipes::ON_PUT_PAUSE),
            (4, recipes::DOUBLE_FAILURE),
            (3, recipes::ON_APPEND_CRASH),
            (3, recipes::ON_CLAIM_LOSE),
            (3, recipes::ON_COMMIT_CUT),
            (3, recipes::ON_UPLOAD_CRASH),
            (3, recipes::ON_FETCH_CUT),
            (2, recipes::ON_VERIFY_PAUSE),
            (2, recipes::ON_PUT_LOSE),
            (2, recipes::ON_RECOVERY_CRASH),
            (3, recipes::ON_RECOVERY_SPOIL),
            (2, recipes::ON_VOTE_CRASH),
            (4, recipes::SPLIT_VOTE),
            (14, recipes::ON_PUT_CRASH_TWICE),
            (2, recipes::ON_SEARCH_DRAIN),
            (1, recipes::BIT_ROT),
            (2, recipes::ON_LEADER_PAUSE),
            (2, recipes::ON_OPEN_PAUSE),
            (3, recipes::ZOMBIE),
            (3, recipes::CRASH_BROKER),
            (1, recipes::CUT_CONTROLLER),
        ],
    },
];
