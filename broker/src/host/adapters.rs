//! The real store and the real device, as the host takes them.

use std::future::Future;
use std::pin::Pin;

use broker_core::step::{LogOp, LogResult, ObjOp, ObjResult};

use super::{LogDevice, ObjectStore};
use crate::device::Device;
use crate::store::Store;

impl ObjectStore for Store {
    fn perform(&self, op: ObjOp) -> Pin<Box<dyn Future<Output = ObjResult> + Send>> {
        let store = self.clone();
        Box::pin(async move { store.perform(op).await })
    }
}

impl LogDevice for Device {
    fn perform(&mut self, op: LogOp) -> Option<LogResult> {
        self.perform(op)
    }
}
