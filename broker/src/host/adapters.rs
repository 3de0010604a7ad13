//! The real store and the real device, as the host takes them.

use broker_core::ids::NodeId;
use broker_core::step::{LogOp, ObjOp, Tok};
use tokio::sync::mpsc;

use super::{Event, Inputs, LogAsk, LogDevice, ObjectStore, Performing};
use crate::device::Device;
use crate::store::Store;

impl ObjectStore for Store {
    fn perform(&self, op: ObjOp) -> Performing {
        let store = self.clone();
        Box::pin(async move { store.perform(op).await })
    }
}

/// The device may block: it has a thread.
impl LogDevice for Device {
    fn start(mut self: Box<Self>, node: NodeId, done: Inputs) -> LogAsk {
        // Not bounded: the quorum has one operation of each kind in flight, and its appends are
        // bounded by what it may propose.
        let (sender, mut ops) = mpsc::unbounded_channel::<(Tok, LogOp)>();
        let work = move || {
            while let Some((tok, op)) = ops.blocking_recv() {
                if let Some(result) = self.perform(op)
                    && !done.tell_from_thread(Event::Log(tok, result))
                {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("log-{node}"));
        thread.spawn(work).expect("a thread for the log device");
        // The thread only ends with the node.
        Box::new(move |tok, op| drop(sender.send((tok, op))))
    }
}
