//! Take-over of a dead broker's WAL: to be written.
#![allow(missing_docs, unused_variables, dead_code, clippy::all, reason = "a stand-in")]
use alloc::vec::Vec;
use alloc::string::String;
use crate::config::BrokerLimits;
use crate::ids::*;
use crate::metadata::Image;
use crate::peer::*;
use crate::step::*;
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RecoveryEvent { Ask { id: u64, request: ControllerRequest }, Sealed { end: Lsn }, Abandoned }
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Recovery {}
impl Recovery {
    pub fn new(node: NodeId, my_epoch: BrokerEpoch, of: NodeId, epoch: BrokerEpoch, limits: BrokerLimits) -> Self { Self {} }
    pub fn start(&mut self, cx: &Cx, incarnation: Incarnation, image: &Image, out: &mut Outbox<Effect>, events: &mut Vec<RecoveryEvent>) {}
    pub fn obj_done(&mut self, cx: &Cx, tok: Tok, result: ObjResult, image: &Image, out: &mut Outbox<Effect>, events: &mut Vec<RecoveryEvent>) {}
    pub fn timer(&mut self, cx: &Cx, image: &Image, out: &mut Outbox<Effect>, events: &mut Vec<RecoveryEvent>) {}
    pub fn answered(&mut self, cx: &Cx, id: u64, result: Result<ControllerAnswer, ControllerError>, image: &Image, out: &mut Outbox<Effect>, events: &mut Vec<RecoveryEvent>) {}
    pub fn image_changed(&mut self, cx: &Cx, image: &Image, out: &mut Outbox<Effect>, events: &mut Vec<RecoveryEvent>) {}
    pub fn is_done(&self) -> bool { false }
    pub fn blocked(&self) -> Vec<String> { Vec::new() }
}
