//! Who measures a node: told at the node's boundary what it does. What becomes of it is not the
//! host's affair; with nobody there it costs a call.

use std::fmt::Debug;

use broker_core::ids::NodeId;
use broker_core::probe::Probe;
use broker_core::step::{Flow, ObjOp, ObjResult, Tok};
use broker_core::time::Mono;
use tokio::time::Duration;

use crate::wire::ApiKey;

/// Measures a node. It is shared by the node's tasks, and must never wait.
pub trait Meter: Debug + Send + Sync {
    /// A process of the node begins.
    fn booted(&self) {}
    /// An answer was handed to the socket, so long after its request was read.
    fn answered(&self, _key: ApiKey, _after: Duration) {}
    /// A client sent what is no request that is spoken here; its connection is closed.
    fn undecodable(&self, _why: &str) {}
    /// The store has answered a call, or will not.
    fn store_called(&self, _call: StoreCall, _result: &ObjResult, _after: Duration) {}
    /// So many bytes were handed to the socket to another node.
    fn sent(&self, _to: NodeId, _bytes: usize) {}
    /// The node's machine has left a mark.
    fn probed(&self, _at: Mono, _probe: &Probe) {}
}

/// Nobody.
#[derive(Debug)]
pub(super) struct Unmeasured;

impl Meter for Unmeasured {}

/// A call to the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreCall {
    /// For which flow.
    pub flow: Flow,
    /// What it does.
    pub operation: StoreOperation,
    /// Bytes of the object that it puts.
    pub put_bytes: usize,
}

/// What a call to the store does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "as in `ObjOp`")]
pub enum StoreOperation {
    Put,
    Get,
    List,
    Delete,
}

impl StoreCall {
    pub(super) fn of(tok: Tok, op: &ObjOp) -> Self {
        let (operation, put_bytes) = match op {
            ObjOp::Put { body, .. } => (StoreOperation::Put, body.len()),
            ObjOp::Get { .. } => (StoreOperation::Get, 0),
            ObjOp::List { .. } => (StoreOperation::List, 0),
            ObjOp::Delete { .. } => (StoreOperation::Delete, 0),
        };
        Self { flow: tok.flow, operation, put_bytes }
    }
}
