//! InitProducerId without a transactional id: the broker gives out ids from blocks that it gets
//! from the controller, so that no two producers of the cluster ever share one.
//!
//! Source: KIP-98, KIP-730, `RPCProducerIdManager.java`.

use alloc::collections::VecDeque;

use super::Broker;
use super::asks::Purpose;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::partition::Asker;
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::protocol::{ErrorCode, Response};
use crate::step::{Cx, Effect, Outbox};

/// The next block is asked for when fewer ids than this are left: a tenth of a block
/// (`RPCProducerIdManager.PID_PREFETCH_THRESHOLD`).
const PREFETCH_BELOW: u64 = 100;

/// The ids at hand.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct ProducerIds {
    /// First id and number of ids; at most two.
    blocks: VecDeque<(ProducerId, u64)>,
}

impl ProducerIds {
    fn left(&self) -> u64 {
        self.blocks.iter().map(|(_, count)| count).sum()
    }

    pub(super) fn take(&mut self) -> Option<ProducerId> {
        let (id, count) = self.blocks.pop_front()?;
        if count > 1 {
            self.blocks.push_front((id.next(), count - 1));
        }
        Some(id)
    }
}

impl Broker {
    pub(super) fn init_producer_id(&mut self, asker: Asker, out: &mut Outbox<Effect>) {
        let id = self.producer_ids.take();
        self.keep_ids_at_hand(out);
        // Retriable, as in Kafka: the block is on its way.
        let id = id.ok_or(ErrorCode::CoordinatorLoadInProgress);
        let answer = Response::InitProducerId(id.map(|id| (id, ProducerEpoch(0))));
        self.reply(asker, answer, out);
    }

    pub(super) fn keep_ids_at_hand(&mut self, out: &mut Outbox<Effect>) {
        let Some(epoch) = self.epoch() else { return };
        let enough = self.producer_ids.left() >= PREFETCH_BELOW;
        if !enough && !self.asks.is_waiting(Purpose::ProducerIds) {
            let request = ControllerRequest::AllocateProducerIds { epoch };
            self.asks.ask(Purpose::ProducerIds, request, out);
        }
    }

    pub(super) fn producer_ids_answered(
        &mut self,
        cx: &Cx,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        match result {
            Ok(ControllerAnswer::ProducerIds { first, count }) => {
                self.producer_ids.blocks.push_back((first, count));
            }
            other => self.fenced_by(cx, other, out),
        }
    }
}
