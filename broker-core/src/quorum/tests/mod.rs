//! One table for each rule of the quorum, on a single voter with a device that does as it is told.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]

mod described;
mod elections;
mod logs;
mod observers;
mod rig;
