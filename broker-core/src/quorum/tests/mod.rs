//! One table for each rule of the quorum, on a single voter with a device that does as it is told.

mod elections;
mod logs;
mod observers;
mod rig;
