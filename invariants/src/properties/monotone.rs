//! L6 Monotone: high watermark and log start never go back. Each leader's grow; a new leader starts
//! with all that its predecessors had shown; a client never sees them fall. The one exception is a
//! leader that does not know that it was replaced: it answers for its own epoch, so an answer under
//! epoch e owes only what had been seen under epochs up to e before the call began. Source: KIP-207,
//! Inkless 707a85ae96.

use broker_core::ids::{LeaderEpoch, Offset, TopicPartition};

use crate::facts::clients::Floor;
use crate::facts::served::Term;
use crate::{Check, require};

/// An answer under `epoch` showed these offsets; `owed` had been shown to the same client.
pub(crate) fn answered(
    partition: TopicPartition,
    epoch: LeaderEpoch,
    end: Option<Offset>,
    log_start: Option<Offset>,
    owed: Floor,
) -> Check {
    let (least, seen_in) = (owed.end, owed.end_epoch);
    require!(
        end.is_none_or(|end| end >= least),
        L6,
        partition,
        "under leader epoch {epoch} a client sees the high watermark {end:?}, \
         after {least} under epoch {seen_in}"
    );
    let least = owed.log_start;
    require!(
        log_start.is_none_or(|start| start >= least),
        L6,
        partition,
        "under leader epoch {epoch} a client sees the log start {log_start:?}, after {least}"
    );
    Ok(())
}

/// A leader's offsets moved; `terms` are all leaders' so far, `term` its own.
pub(crate) fn moved(
    partition: TopicPartition,
    terms: &[Term],
    term: &Term,
    log_start: Offset,
    high_watermark: Offset,
) -> Check {
    let epoch = term.epoch;
    let (start_before, before) = (term.log_start, term.high_watermark.map(|marks| marks.1));
    require!(
        before.is_none_or(|before| high_watermark >= before) && log_start >= start_before,
        L6,
        partition,
        "epoch {epoch}: high watermark {before:?} → {high_watermark}, log start {start_before} → \
         {log_start}"
    );
    for other in terms {
        let Some((first, last)) = other.high_watermark else { continue };
        let (earlier, later) = match other.epoch.cmp(&epoch) {
            core::cmp::Ordering::Less if before.is_none() => (last, high_watermark),
            core::cmp::Ordering::Greater => (high_watermark, first),
            core::cmp::Ordering::Less | core::cmp::Ordering::Equal => continue,
        };
        let other = other.epoch;
        require!(
            earlier <= later,
            L6,
            partition,
            "high watermark {high_watermark} under epoch {epoch}, but {first}..{last} under {other}"
        );
    }
    Ok(())
}
