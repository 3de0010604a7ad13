//! W1 AckAfterVerify: what a broker confirms lies in one run of WAL objects, each in the store and
//! known to be before the check of ownership was sent, and that check's list took effect behind
//! their puts at a moment when the broker's own claim was still its own and the newest. Only then
//! is every list of a successor, which begins after its claim, bound to show the objects. The
//! confirmation itself may reach the broker later. Source: AutoMQ ObjectWALService, #743.

use broker_core::ids::{BrokerEpoch, Incarnation, Lsn, NodeId};

use crate::facts::wals::{Verify, WalFacts};
use crate::{Check, require};

/// A confirmation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmation {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    /// Its claim on its own WAL.
    pub(crate) claim: Option<u64>,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) seq: u64,
    pub(crate) end: Lsn,
}

/// A broker confirms its WAL up to `end`.
pub(crate) fn confirmed(what: Confirmation, verify: Option<&Verify>, wal: &WalFacts) -> Check {
    let Confirmation { node, incarnation, claim, epoch, seq, end } = what;
    let Some((sent, listed)) = verify.and_then(|verify| Some((verify.sent, verify.listed?))) else {
        require!(
            false,
            W1,
            "wal",
            "node {node}, WAL {epoch}: confirmed up to {end} by check {seq}, which never reached \
             the store"
        );
        return Ok(());
    };
    let newest = listed.newest;
    require!(
        newest.is_some_and(|newest| claim == Some(newest.number)
            && newest.by == node
            && newest.incarnation == incarnation),
        W1,
        "wal",
        "node {node}, WAL {epoch}: confirmed up to {end} under claim {claim:?}, but the newest \
         claim at its check was {newest:?}"
    );
    let Some(mut at) = wal.confirmed_end.or(wal.objects.keys().next().map(|key| key.0)) else {
        require!(false, W1, "wal", "node {node}, WAL {epoch}: confirmed without any object");
        return Ok(());
    };
    while at < end {
        let Some((key, object)) = wal.object_at(at) else {
            require!(
                false,
                W1,
                "wal",
                "node {node}, WAL {epoch}: confirmed up to {end}, but no object holds {at}"
            );
            return Ok(());
        };
        require!(
            object.put_first.is_some_and(|put| put < listed.pos)
                && object.done.is_some_and(|done| done < sent),
            W1,
            "wal",
            "node {node}, WAL {epoch}: confirmed up to {end} by check {seq} sent at event {sent} \
             and listed at event {}, but {key:?} was {object:?}",
            listed.pos
        );
        at = key.1;
    }
    Ok(())
}

/// A record is confirmed.
pub(crate) fn record(node: NodeId, lsn: Lsn, confirmed_end: Option<Lsn>) -> Check {
    require!(
        confirmed_end.is_some_and(|end| lsn < end),
        W1,
        "wal",
        "node {node}: record {lsn} is confirmed, the WAL up to {confirmed_end:?}"
    );
    Ok(())
}
