//! The log device's cases. Each begins with a device that was never used.
//!
//! Sources: fsync(2), rename(2); Pillai et al., OSDI '14; Rebello et al., ATC '20.

use broker_core::step::{LogOp, LogResult};
use bytes::Bytes;

use super::{Verdict, expect};

/// A log device, and what can happen to the process that uses it.
pub trait Devices {
    /// Does an operation to its end; none is the answer to an append that was not refused.
    fn perform(&mut self, op: LogOp) -> Option<LogResult>;
    /// The process ends, and another opens the device. Nothing else happens to the machine.
    fn reopen(&mut self);
    /// The same, and of the last append, which was not synced, the last `bytes` are lost.
    fn tear(&mut self, bytes: u64);
}

/// A device that can be broken.
pub trait Broken: Devices {
    /// From now on there is (no) room.
    fn set_full(&mut self, full: bool);
    /// The next sync fails.
    fn fail_next_sync(&mut self);
}

type Case<D> = fn(&mut D) -> Result<(), String>;

/// Puts the devices that `make` makes to every case of whole ones.
pub fn check_devices<D: Devices>(mut make: impl FnMut() -> D) -> Vec<Verdict> {
    let cases: [(_, Case<D>); 7] = [
        ("new_device_is_empty", new_device_is_empty),
        ("append_is_read_back_before_and_after_a_sync", append_is_read_back),
        ("end_counts_bytes", end_counts_bytes),
        ("append_goes_where_the_log_was_cut", append_goes_where_the_log_was_cut),
        ("state_is_replaced_whole", state_is_replaced_whole),
        ("device_opened_again_is_as_it_was", device_opened_again_is_as_it_was),
        ("torn_tail_is_read_as_it_is", torn_tail_is_read_as_it_is),
    ];
    cases.map(|(case, run)| Verdict { case, result: run(&mut make()) }).into()
}

/// Puts the devices that `make` makes to every case of broken ones.
pub fn check_broken_devices<D: Broken>(mut make: impl FnMut() -> D) -> Vec<Verdict> {
    let cases: [(_, Case<D>); 3] = [
        ("full_device_refuses_an_append_whole", full_device_refuses_an_append_whole),
        ("full_device_keeps_its_state", full_device_keeps_its_state),
        ("failed_sync_loses_nothing_durable", failed_sync_loses_nothing_durable),
    ];
    cases.map(|(case, run)| Verdict { case, result: run(&mut make()) }).into()
}

fn new_device_is_empty(device: &mut impl Devices) -> Result<(), String> {
    holds(device, b"", b"")?;
    durable(device, LogOp::Sync, 0)?;
    durable(device, LogOp::Truncate { end: 0 }, 0)
}

fn append_is_read_back(device: &mut impl Devices) -> Result<(), String> {
    append(device, b"one")?;
    append(device, b"")?;
    append(device, b"two")?;
    holds(device, b"onetwo", b"")?;
    durable(device, LogOp::Sync, 6)?;
    append(device, b"three")?;
    holds(device, b"onetwothree", b"")
}

fn end_counts_bytes(device: &mut impl Devices) -> Result<(), String> {
    let big = vec![7; 3_000_000];
    append(device, &big)?;
    durable(device, LogOp::Sync, 3_000_000)?;
    durable(device, LogOp::Sync, 3_000_000)?;
    append(device, b"\0")?;
    durable(device, LogOp::Sync, 3_000_001)?;
    device.reopen();
    durable(device, LogOp::Sync, 3_000_001)
}

fn append_goes_where_the_log_was_cut(device: &mut impl Devices) -> Result<(), String> {
    append(device, b"0123456789")?;
    durable(device, LogOp::Sync, 10)?;
    append(device, b"not synced")?;
    durable(device, LogOp::Truncate { end: 4 }, 4)?;
    holds(device, b"0123", b"")?;
    append(device, b"ab")?;
    durable(device, LogOp::Truncate { end: 5 }, 5)?;
    append(device, b"c")?;
    durable(device, LogOp::Sync, 6)?;
    device.reopen();
    holds(device, b"0123ac", b"")?;
    durable(device, LogOp::Truncate { end: 0 }, 0)?;
    append(device, b"anew")?;
    holds(device, b"anew", b"")
}

fn state_is_replaced_whole(device: &mut impl Devices) -> Result<(), String> {
    append(device, b"log")?;
    for state in [&b"a longer state"[..], b"short", b"", b"last"] {
        let op = LogOp::WriteState { bytes: Bytes::copy_from_slice(state) };
        expect("a write of the state", device.perform(op), Some(LogResult::StateDurable))?;
        holds(device, b"log", state)?;
        device.reopen();
        holds(device, b"log", state)?;
    }
    Ok(())
}

/// The machine did not stop: what was not synced is in its cache.
fn device_opened_again_is_as_it_was(device: &mut impl Devices) -> Result<(), String> {
    append(device, b"synced")?;
    durable(device, LogOp::Sync, 6)?;
    append(device, b", not synced")?;
    device.reopen();
    holds(device, b"synced, not synced", b"")?;
    append(device, b"!")?;
    durable(device, LogOp::Sync, 19)?;
    holds(device, b"synced, not synced!", b"")
}

fn torn_tail_is_read_as_it_is(device: &mut impl Devices) -> Result<(), String> {
    append(device, b"whole")?;
    durable(device, LogOp::Sync, 5)?;
    append(device, b"0123456789")?;
    device.tear(3);
    holds(device, b"whole0123456", b"")?;
    durable(device, LogOp::Truncate { end: 5 }, 5)?;
    append(device, b"!")?;
    durable(device, LogOp::Sync, 6)?;
    device.reopen();
    holds(device, b"whole!", b"")
}

fn full_device_refuses_an_append_whole(device: &mut impl Broken) -> Result<(), String> {
    append(device, b"first")?;
    durable(device, LogOp::Sync, 5)?;
    append(device, b"second")?;
    device.set_full(true);
    let op = LogOp::Append { bytes: Bytes::from(vec![1; 100_000]) };
    expect("an append", device.perform(op), Some(LogResult::Full))?;
    holds(device, b"firstsecond", b"")?;
    durable(device, LogOp::Sync, 11)?;
    device.set_full(false);
    device.reopen();
    append(device, b"third")?;
    durable(device, LogOp::Sync, 16)?;
    holds(device, b"firstsecondthird", b"")
}

fn full_device_keeps_its_state(device: &mut impl Broken) -> Result<(), String> {
    let write = |state| LogOp::WriteState { bytes: Bytes::from_static(state) };
    expect("a write", device.perform(write(b"old")), Some(LogResult::StateDurable))?;
    device.set_full(true);
    expect("without room", device.perform(write(b"new")), Some(LogResult::Io))?;
    holds(device, b"", b"old")?;
    device.set_full(false);
    device.reopen();
    holds(device, b"", b"old")
}

/// What the failing sync was for may be there, damaged or gone. What was durable is.
fn failed_sync_loses_nothing_durable(device: &mut impl Broken) -> Result<(), String> {
    append(device, b"durable")?;
    durable(device, LogOp::Sync, 7)?;
    append(device, b"doubtful")?;
    device.fail_next_sync();
    expect("a sync", device.perform(LogOp::Sync), Some(LogResult::SyncFailed))?;
    device.reopen();
    let (log, _) = load(device)?;
    expect("what was durable", log.starts_with(b"durable"), true)?;
    expect("more than was written", log.len() > 15, false)?;
    durable(device, LogOp::Truncate { end: 7 }, 7)?;
    append(device, b"!")?;
    durable(device, LogOp::Sync, 8)?;
    holds(device, b"durable!", b"")
}

fn append(device: &mut impl Devices, bytes: &[u8]) -> Result<(), String> {
    let op = LogOp::Append { bytes: Bytes::copy_from_slice(bytes) };
    expect("an append", device.perform(op), None)
}

fn durable(device: &mut impl Devices, op: LogOp, end: u64) -> Result<(), String> {
    let what = format!("{op:?}");
    expect(&what, device.perform(op), Some(LogResult::Durable { end }))
}

fn load(device: &mut impl Devices) -> Result<(Bytes, Bytes), String> {
    match device.perform(LogOp::Load) {
        Some(LogResult::Loaded { log, state }) => Ok((log, state)),
        other => Err(format!("a load ended with {other:?}")),
    }
}

fn holds(device: &mut impl Devices, log: &[u8], state: &[u8]) -> Result<(), String> {
    let loaded = load(device)?;
    expect("log and state", loaded, (Bytes::copy_from_slice(log), Bytes::copy_from_slice(state)))
}
