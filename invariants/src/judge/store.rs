//! What reached the object store, at the moment it took effect there.

use broker_core::ids::{NodeId, ObjectId};
use broker_core::step::{Flow, Key, ObjOp, ObjResult, Tok};

use super::{Judge, ask};
use crate::Check;
use crate::bytes::{Named, listed, named};
use crate::facts::wals::{Claim, Listed};
use crate::marks::Mark;
use crate::properties::{no_dangling, trim_after_commit};

impl Judge {
    pub(super) fn store(
        &mut self,
        node: NodeId,
        tok: Tok,
        op: &ObjOp,
        result: &ObjResult,
        late: bool,
    ) -> Check {
        match op {
            ObjOp::Put { key, .. } => {
                let throttled = *result == ObjResult::SlowDown;
                self.marks.hit_if(throttled, Mark::ThrottledPut);
                if !late && (throttled || !self.backs_off.is_idle()) {
                    ask!(self, LV10, self.backs_off.put(self.facts.at, node, key, throttled));
                }
                if matches!(result, ObjResult::Done { .. }) {
                    self.put(node, tok, key);
                }
                Ok(())
            }
            ObjOp::Delete { key } if matches!(result, ObjResult::Done { .. }) => self.deleted(key),
            ObjOp::List { prefix, after } => {
                match result {
                    // It shows nothing: whoever takes it for the end has not listed.
                    ObjResult::Keys { keys, more: true } if keys.is_empty() => {
                        self.marks.hit(Mark::EmptyPage);
                    }
                    ObjResult::Keys { .. } => self.list(node, tok, prefix, after.is_some()),
                    _ => {}
                }
                Ok(())
            }
            ObjOp::Get { .. } | ObjOp::Delete { .. } => Ok(()),
        }
    }

    fn put(&mut self, node: NodeId, tok: Tok, key: &Key) {
        let pos = self.facts.pos;
        match named(key) {
            Some(Named::Wal { node: of, epoch, start, end }) => {
                let wal = self.facts.wals.of(of, epoch);
                let listed = wal.listed.is_some();
                let object = wal.objects.entry((start, end)).or_default();
                object.present = true;
                object.put_first.get_or_insert(pos);
                object.put_last = Some(pos);
                self.marks.hit_if(listed, Mark::ZombiePutAfterList);
            }
            Some(Named::Claim { of, number }) => {
                let claim = Claim { number, by: node, incarnation: tok.incarnation };
                self.facts.wals.claims.entry(of).or_default().insert(number, claim);
                // A put that was given up counts from where it landed, too: the recoverer puts the
                // same claim again, is refused, and finds its own. That of a dead process does not.
                if tok.flow == Flow::Recovery(of) && self.is_current(node, tok) {
                    let (by, claim) = ((node, of), (number, pos));
                    self.facts.wals.claimed(by, tok.incarnation, claim);
                }
            }
            Some(Named::Data(object)) => {
                self.facts.wals.data.insert(object);
            }
            None => {}
        }
    }

    fn deleted(&mut self, key: &Key) -> Check {
        let pos = self.facts.pos;
        match named(key) {
            Some(Named::Wal { node, epoch, start, end }) => {
                let wal = self.facts.wals.of(node, epoch);
                let object = wal.objects.entry((start, end)).or_default();
                object.second_done |= object.second_sent;
                if !object.present {
                    return Ok(());
                }
                self.marks.hit_if(object.deleted_last.is_some(), Mark::WalRedeleted);
                (object.present, object.deleted_last) = (false, Some(pos));
                let from = usize::try_from(start.0.saturating_sub(wal.first.0));
                let from = from.unwrap_or(usize::MAX);
                self.marks.hit(Mark::WalTrimmed);
                let (wal, ledger) = (&*wal, &self.facts.ledger);
                let id = (node, epoch);
                ask!(self, W2, trim_after_commit::let_go(id, wal, from, end, ledger));
            }
            Some(Named::Claim { of, number }) => {
                if let Some(claims) = self.facts.wals.claims.get_mut(&of) {
                    claims.remove(&number);
                }
            }
            Some(Named::Data(object)) => return self.data_deleted(object),
            None => {}
        }
        Ok(())
    }

    fn data_deleted(&mut self, object: ObjectId) -> Check {
        self.facts.wals.data.remove(&object);
        ask!(self, O7, no_dangling::deleted(object, self.facts.ledger.objects.get(&object)));
        Ok(())
    }

    /// Whether the process that sent this is the node's newest.
    fn is_current(&self, node: NodeId, tok: Tok) -> bool {
        self.facts.nodes.get(node).is_none_or(|known| known.incarnation == tok.incarnation)
    }

    fn list(&mut self, node: NodeId, tok: Tok, prefix: &Key, further: bool) {
        let pos = self.facts.pos;
        let Some((claims, of)) = listed(prefix) else { return };
        if !self.is_current(node, tok) {
            return;
        }
        if claims && tok.flow == Flow::Claim && of == node {
            let newest = self.facts.wals.newest_claim(of);
            if let Some(verify) = self.facts.wals.verifies.get_mut(&(node, tok.seq)) {
                verify.listed.get_or_insert(Listed { pos, newest });
            }
        }
        if !claims && tok.flow == Flow::Recovery(of) {
            let takeover = self.facts.wals.takeover(node, of, tok.incarnation);
            let first = takeover.listed.filter(|_| further).map_or(pos, |(first, _)| first);
            takeover.listed = Some((first, pos));
        }
    }
}
