//! The broker as a whole: with real controllers, over a perfect store, in one process.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it wants, and fails on anything else"
)]

mod coordinators;
mod faults;
mod groups;
mod host;
mod lifecycle;
mod producers;
mod reads;
mod transactions;
mod writes;
