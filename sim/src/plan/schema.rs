//! What the tables of a plan file may hold: one row per key, with its type and its range.
//!
//! Serde alone would do for reading, but a flattened struct lets unknown keys pass in silence, and
//! its errors name neither line nor key. Names of nodes are checked in [`super::check`].

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// Whether it must be there.
    pub needed: bool,
    /// What may stand behind it.
    pub of: Type,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A whole number from … to.
    Int(i64, i64),
    /// A `u64` that may be too large for TOML's numbers: `"0x…"`, or a number.
    Seed,
    /// A length of time of at most so many µs.
    Micros(u64),
    /// A length of time with a sign, up to this many µs either way.
    MicrosSigned(u64),
    /// `true` or `false`.
    Bool,
    /// Whole numbers from … to, at least one.
    Ints(i64, i64),
    /// Any text.
    Text,
    /// The name of a node, a client, a zone or the store.
    Name,
    /// Several of them.
    Names,
    /// Several texts.
    Texts,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or a table with one of these keys.
    Variant(&'static [&'static str], &'static [Key]),
    /// A table.
    Table(&'static [Key]),
}

/// A kind of `[[fault]]` or `[[op]]`.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// One line on what it does.
    pub what: &'static str,
    /// Its keys, beyond those that all have.
    pub keys: &'static [Key],
}

/// The longest time in a plan: a day.
pub const MICROS_MAX: u64 = 86_400_000_000;

/// The longest safety phase: ten minutes of simulated time.
pub const SAFETY_US_MAX: u64 = 600_000_000;

const fn needed(name: &'static str, of: Type) -> Key {
    Key { name, needed: true, of }
}

const fn optional(name: &'static str, of: Type) -> Key {
    Key { name, needed: false, of }
}

const MICROS: Type = Type::Micros(MICROS_MAX);
const PER_MILLE: Type = Type::Int(1, 1_000);
/// One of several, of which some may be none.
const PER_MILLE_OR_NONE: Type = Type::Int(0, 1_000);
const U32: Type = Type::Int(0, u32::MAX as i64);
const SIZE: Type = Type::Int(1, 1 << 40);
const COUNT: Type = Type::Int(1, 1 << 20);

/// The plan itself.
pub const PLAN: &[Key] = &[
    needed("version", Type::Int(1, super::PLAN_VERSION as i64)),
    needed("background", Type::Seed),
    needed("profile", Type::Text),
    needed("workload", Type::Text),
    optional("protocol", Type::Word(&super::Protocol::NAMES)),
    optional("mutants", Type::Texts),
    needed("safety", Type::Micros(SAFETY_US_MAX)),
];

/// `[topology]`.
pub const TOPOLOGY: &[Key] = &[
    needed("zones", Type::Int(1, 3)),
    needed("controllers", Type::Int(1, 5)),
    needed("brokers", Type::Int(1, 9)),
    needed("clients", Type::Int(1, 64)),
];

/// `[limits]`.
pub const LIMITS: &[Key] = &[
    needed("wal_bulk_bytes_max", SIZE),
    needed("wal_bulk_interval", MICROS),
    needed("wal_puts_in_flight_max", COUNT),
    needed("wal_unconfirmed_bytes_max", SIZE),
    needed("upload_backlog_bytes_max", SIZE),
    needed("upload_block_bytes_max", SIZE),
    needed("upload_block_interval", MICROS),
    needed("cache_bytes_max", SIZE),
    needed("produce_queue_max", COUNT),
    needed("list_page_max", COUNT),
];

/// `[then]`.
pub const THEN: &[Key] = &[needed("from", Type::Text), needed("steps", Type::Texts)];

/// `[found]` of a stored seed.
pub const FOUND: &[Key] = &[
    needed("property", Type::Text),
    needed("place", Type::Text),
    needed("by", Type::Text),
    needed("commit", Type::Text),
    optional("seed", Type::Seed),
    needed("why", Type::Text),
    optional("mutant", Type::Text),
    optional("unseen_by_madsim", Type::Text),
];

/// `on` of a fault.
pub const ANCHOR: &[Key] = &[
    needed("probe", Type::Text),
    optional("node", Type::Name),
    needed("nth", Type::Int(1, u32::MAX as i64)),
    optional("after", MICROS),
];

/// Keys of every `[[fault]]`; exactly one of `at` and `on` must be there.
pub const FAULT: &[Key] =
    &[optional("at", MICROS), optional("on", Type::Table(ANCHOR)), optional("lasting", MICROS)];

/// Keys of every `[[op]]`.
pub const OP: &[Key] = &[needed("at", MICROS), needed("client", Type::Int(0, 63))];

const NODE: Key = needed("node", Type::Name);
const NODE_OR_ALL: Key = optional("node", Type::Name);
const ZONE: Key = needed("zone", Type::Name);
const FROM: Key = needed("from", Type::Names);
const TO: Key = needed("to", Type::Names);
const FATE: Type =
    Type::Variant(&["applied", "dropped"], &[needed("late", Type::Table(&[LATE_BY_MAX]))]);
const LATE_BY_MAX: Key = needed("by_max", MICROS);

/// The kinds of faults.
pub const FAULTS: &[Kind] = &[
    Kind {
        name: "zone-fail",
        what: "all nodes of a zone go down and are cut off at once; they boot again at the end",
        keys: &[ZONE],
    },
    Kind {
        name: "zone-cut",
        what: "a zone is cut off from the other zones and the store, one way or both",
        keys: &[ZONE, needed("direction", Type::Word(&["in", "out", "both"]))],
    },
    Kind {
        name: "zone-store-lost",
        what: "the nodes of a zone reach everything but the store",
        keys: &[ZONE],
    },
    Kind {
        name: "crash",
        what: "a process dies; its device keeps none, all or part of what was not synced",
        keys: &[NODE, needed("keep", Type::Word(&["none", "all", "prefix", "subset", "torn"]))],
    },
    Kind {
        name: "pause",
        what: "a process is frozen; late events come in a burst at the end",
        keys: &[NODE],
    },
    Kind {
        name: "clock-step",
        what: "a wall clock steps forward or back",
        keys: &[NODE, needed("by", Type::MicrosSigned(MICROS_MAX))],
    },
    Kind {
        name: "clock-drift",
        what: "a clock runs fast or slow",
        keys: &[NODE, needed("ppm", Type::Int(-500_000, 500_000))],
    },
    Kind { name: "cut", what: "messages from these to those are lost", keys: &[FROM, TO] },
    Kind {
        name: "lossy",
        what: "messages between nodes are lost, doubled or held back",
        keys: &[
            needed("drop_pm", PER_MILLE_OR_NONE),
            needed("duplicate_pm", PER_MILLE_OR_NONE),
            needed("hold_pm", PER_MILLE_OR_NONE),
            needed("hold_max", MICROS),
        ],
    },
    Kind {
        name: "slow-link",
        what: "links from these to those are slower",
        keys: &[FROM, TO, needed("by", MICROS)],
    },
    Kind {
        name: "stall",
        what: "what clients send is held back, with all behind it on the same connection",
        keys: &[needed("per_mille", PER_MILLE), needed("by_max", MICROS)],
    },
    Kind {
        name: "store-slow-down",
        what: "the store answers SlowDown",
        keys: &[needed("per_mille", PER_MILLE)],
    },
    Kind {
        name: "store-empty-page",
        what: "the store answers a list with an empty page that is not the last",
        keys: &[needed("per_mille", PER_MILLE)],
    },
    Kind {
        name: "store-damage",
        what: "what the store gives comes with a bit flipped; what it holds stays whole",
        keys: &[needed("per_mille", PER_MILLE)],
    },
    Kind {
        name: "store-brown-out",
        what: "the store is so many times slower",
        keys: &[needed("factor", Type::Int(2, 10_000))],
    },
    Kind {
        name: "store-lose-answer",
        what: "answers of the store are lost; the operation is applied, dropped or applied late",
        keys: &[
            NODE_OR_ALL,
            needed("per_mille", PER_MILLE),
            needed("fate", FATE),
            optional("times", U32),
        ],
    },
    Kind {
        name: "store-duplicate",
        what: "puts are delivered a second time, later (a hedged request)",
        keys: &[NODE_OR_ALL, needed("per_mille", PER_MILLE), needed("later_max", MICROS)],
    },
    Kind {
        name: "device-sync-fail",
        what: "a controller's device fails its next sync",
        keys: &[NODE],
    },
    Kind { name: "device-full", what: "a controller's device is full", keys: &[NODE] },
    Kind {
        name: "device-bit-rot",
        what: "a controller's device flips bits in what was not synced, when the node dies next",
        keys: &[NODE],
    },
    Kind {
        name: "drain",
        what: "a broker is asked to shut down in order; it boots again at the end",
        keys: &[NODE],
    },
    Kind {
        name: "query",
        what: "a query is killed or stopped, meets a rival, loses an executor, a task or files",
        keys: &[needed("act", Type::Word(&super::Act::NAMES))],
    },
];

const PARTITIONS: Type = Type::Int(1, 1_000);

/// `[query]`.
pub const QUERY: &[Key] = &[
    needed("sink", Type::Word(&["at-least-once", "keyed", "marked-table", "driver-transaction"])),
    needed(
        "manager",
        Type::Word(&["atomic-rename", "copy-rename", "conditional-put", "abortable-stream"]),
    ),
    needed("source", Type::Text),
    needed("target", Type::Text),
    needed("partitions", PARTITIONS),
    needed("target_partitions", PARTITIONS),
    needed("fan_out", Type::Int(1, 100)),
    needed("max_offsets", COUNT),
    needed("rows_per_send", Type::Int(1, 1_000)),
    needed("executors", Type::Int(1, crate::world::layout::EXECUTORS_MAX as i64)),
    needed("cores", Type::Int(1, 64)),
    needed("trigger_ms", Type::Int(0, 600_000)),
    optional("speculation_ms", Type::Int(0, 600_000)),
    needed("retain", COUNT),
    needed("start_ms", Type::Int(0, 600_000)),
];

const TOPIC: Key = needed("topic", Type::Text);
const PARTITION: Key = needed("partition", U32);
const COMMITTED: Key = optional("committed", Type::Bool);

/// The kinds of operations.
pub const OPS: &[Kind] = &[
    Kind {
        name: "create-topic",
        what: "create a topic",
        keys: &[TOPIC, needed("partitions", PARTITIONS)],
    },
    Kind { name: "delete-topic", what: "delete a topic", keys: &[TOPIC] },
    Kind {
        name: "add-partitions",
        what: "raise a topic's number of partitions",
        keys: &[TOPIC, needed("count", PARTITIONS)],
    },
    Kind {
        name: "alter-config",
        what: "set a topic config",
        keys: &[TOPIC, needed("key", Type::Text), needed("value", Type::Text)],
    },
    Kind { name: "describe-configs", what: "read a topic's configs", keys: &[TOPIC] },
    Kind {
        name: "produce",
        what: "produce one batch",
        keys: &[
            TOPIC,
            PARTITION,
            needed("records", Type::Int(1, 100_000)),
            needed("bytes", Type::Int(8, 1 << 24)),
            needed("acks", Type::Int(-1, 1)),
            optional("damaged", Type::Bool),
            optional("idempotent", Type::Bool),
        ],
    },
    Kind {
        name: "transaction",
        what: "run a transaction: its batches one after the other, then its end",
        keys: &[
            TOPIC,
            optional("id", Type::Text),
            needed("partitions", Type::Ints(0, u32::MAX as i64)),
            needed("records", Type::Int(1, 100_000)),
            needed("bytes", Type::Int(8, 1 << 24)),
            optional("think_ms", Type::Int(0, 600_000)),
            optional("end", Type::Word(&["commit", "abort", "leave"])),
        ],
    },
    Kind {
        name: "tail",
        what: "read a partition from its end (or start) until the run ends",
        keys: &[TOPIC, PARTITION, optional("from_start", Type::Bool), COMMITTED],
    },
    Kind {
        name: "consume",
        what: "read a topic as a member of a group, and commit how far it came",
        keys: &[
            TOPIC,
            needed("group", Type::Text),
            needed("protocol", Type::Word(&["eager", "cooperative", "consumer"])),
            optional("instance", Type::Text),
            optional("stays_ms", Type::Int(0, 600_000)),
            optional("vanishes", Type::Bool),
            optional("copies_to", Type::Text),
        ],
    },
    Kind {
        name: "catch-up",
        what: "read a partition once from its start to its end",
        keys: &[TOPIC, PARTITION, COMMITTED],
    },
    Kind {
        name: "list-offsets",
        what: "ask for an offset",
        keys: &[
            TOPIC,
            PARTITION,
            needed(
                "spec",
                Type::Variant(
                    &["earliest", "latest", "max-timestamp"],
                    &[needed("ago-ms", Type::Int(0, i64::MAX))],
                ),
            ),
            COMMITTED,
        ],
    },
    Kind {
        name: "epoch-end",
        what: "ask where a leader epoch ended",
        keys: &[TOPIC, PARTITION, needed("back", U32)],
    },
];

#[cfg(test)]
mod tests;
