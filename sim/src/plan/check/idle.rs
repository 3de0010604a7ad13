//! Faults that would do nothing: of no length, by no amount, or to a node that is down.

use super::Refused;
use crate::plan::{Fault, What, When};
use crate::world::layout::SELF;

/// A fault does something.
pub(super) fn check_idle(fault: &Fault) -> Result<(), Refused> {
    let more = "allowed: more than 0s";
    let refused = |key, message: &str| Err((key, message.to_owned()));
    match fault.what {
        What::ClockStep { by_us: 0, .. } => {
            return refused("by", "is no step; allowed: any length of time but 0s");
        }
        What::ClockDrift { ppm: 0, .. } => {
            return refused("ppm", "is no drift; allowed: any number but 0");
        }
        What::SlowLink { by_us: 0, .. } => {
            return refused("by", &format!("makes nothing slower; {more}"));
        }
        What::Stall { by_us_max: 0, .. } => {
            return refused("by_max", &format!("holds nothing back; {more}"));
        }
        What::Lossy { drop_pm: 0, duplicate_pm: 0, hold_pm: 0, .. } => {
            let message = "nothing is lost, doubled or held back; allowed: one of `drop_pm`, \
                           `duplicate_pm` and `hold_pm` more than 0";
            return refused("fault", message);
        }
        What::Lossy { hold_pm: 1.., hold_us_max: 0, .. } => {
            return refused("hold_max", &format!("holds nothing back; {more}, or no `hold_pm`"));
        }
        _ => {}
    }
    if fault.lasting_us == 0 && is_a_while(&fault.what) {
        return refused("lasting", &format!("lasts no time; {more}"));
    }
    check_is_up(fault)
}

/// Whether it does what it does only as long as it lasts. The others do it when they begin; a crash
/// of no length is one with a boot behind it.
fn is_a_while(what: &What) -> bool {
    match what {
        What::ZoneCut { .. }
        | What::ZoneStoreLost { .. }
        | What::Pause { .. }
        | What::ClockDrift { .. }
        | What::Cut { .. }
        | What::Lossy { .. }
        | What::SlowLink { .. }
        | What::Stall { .. }
        | What::StoreSlowDown { .. }
        | What::StoreEmptyPage { .. }
        | What::StoreDamage { .. }
        | What::StoreBrownOut { .. }
        | What::StoreDuplicate { .. }
        | What::DeviceFull { .. } => true,
        // One that is counted waits for its operations.
        What::StoreLoseAnswer { times, .. } => *times == 0,
        What::ZoneFail { .. }
        | What::Crash { .. }
        | What::ClockStep { .. }
        | What::DeviceSyncFail { .. }
        | What::DeviceBitRot { .. }
        | What::Drain { .. }
        | What::Query { .. } => false,
    }
}

/// A node that has halted is down: it can not die, freeze or be drained at that moment. All that
/// a crash or a drain would do is to keep it from booting.
fn check_is_up(fault: &Fault) -> Result<(), Refused> {
    let (What::Crash { node, .. } | What::Pause { node } | What::Drain { node }) = &fault.what
    else {
        return Ok(());
    };
    let halted = |node: &String| match &fault.when {
        When::On { on } if on.probe == "node.halted" && on.after_us == 0 => {
            node == SELF || on.node.as_ref() == Some(node)
        }
        _ => false,
    };
    if halted(node) {
        let message = "is down when it has halted; allowed: another node, or an `after` by which \
                       it is up again";
        return Err(("node", message.to_owned()));
    }
    Ok(())
}
