//! Producer ids, handed to brokers in blocks so that they can give them out by themselves.
//!
//! Source: KIP-730, `ProducerIdControlManager.java`.

use alloc::vec::Vec;

use crate::controller::office::{Active, Plan, Verdict};
use crate::ids::{BrokerEpoch, NodeId};
use crate::metadata::record::Record;
use crate::peer::ControllerAnswer;

/// Ids of one block (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`). What a broker has not given out
/// when it dies is lost, which costs nothing: there are 2^63.
const BLOCK: u64 = 1_000;

impl Active {
    pub(super) fn allocate_producer_ids(&self, (node, epoch): (NodeId, BrokerEpoch)) -> Verdict {
        self.check_registration((node, epoch))?;
        let first = self.image.next_producer;
        let next = first.plus(BLOCK);
        let answer = ControllerAnswer::ProducerIds { first, count: BLOCK };
        Ok(Plan::change(Vec::from([Record::ProducerIds { node, epoch, next }]), answer))
    }
}
