//! The table of a query that writes to one: versions in the store, each put once, with a marker.
//!
//! What a version holds is kept by the host and named by number in the object, as with records.
//! Source: Delta's transaction log, whose entries are created once (`txnAppId`, `txnVersion`).

use broker_core::step::{Cond, Key, ObjOp, ObjResult};
use bytes::Bytes;
use invariants::handoff::Handoff;
use invariants::history::SimTime;
use workloads::spark::step::{AskTok, OutRow, SinkAnswer, SinkMarker};

use super::{Of, Place, TableVersion, told};
use crate::world::step::Sink;
use crate::world::{Judged, World};

/// Where the versions of the table are.
pub(super) const TABLE: &str = "spark/table/";

impl World {
    pub(super) fn put_version<S: Sink>(
        &mut self,
        (place, tok): (Place, AskTok),
        rows: Vec<OutRow>,
        marker: SinkMarker,
        sink: &mut S,
    ) {
        let spark = self.spark();
        let number = spark.table.len() as u64;
        spark.table.push(TableVersion { rows, marker });
        let version = spark.at(place).table_version + 1;
        let mut body = number.to_be_bytes().to_vec();
        body.extend((!number).to_be_bytes());
        let key = Key(format!("{TABLE}{version:020}").into());
        let op = ObjOp::Put { key, body: Bytes::from(body), cond: Cond::IfAbsent };
        let of = Of::Version(u32::try_from(number).expect("few"));
        self.ask_store_for((place, tok), of, op, sink);
    }

    /// A version of the table came to be.
    pub(in crate::world) fn table_took<S: Sink>(
        &mut self,
        at: SimTime,
        number: u32,
        sink: &mut S,
    ) -> Judged {
        let rows = told::rows(&self.spark().table[number as usize].rows);
        self.hand(at, &Handoff::Took(rows), sink)
    }

    pub(super) fn versions_listed<S: Sink>(
        &mut self,
        (place, tok): (Place, AskTok),
        op: &ObjOp,
        result: ObjResult,
        sink: &mut S,
    ) -> Option<SinkAnswer> {
        let ObjResult::Keys { keys, more } = result else { return Some(SinkAnswer::Unknown) };
        let ObjOp::List { prefix, after } = op else { unreachable!("a list, not {op:?}") };
        let newest = keys.last().or(after.as_ref()).cloned();
        if more {
            let op = ObjOp::List { prefix: prefix.clone(), after: newest };
            self.ask_store_for((place, tok), Of::TableVersions, op, sink);
            return None;
        }
        let version = newest
            .as_ref()
            .map_or(0, |key| key.0[TABLE.len()..].parse().expect("versions are numbers"));
        self.spark().at_mut(place).table_version = version;
        let Some(key) = newest else { return Some(SinkAnswer::Marker(None)) };
        let op = ObjOp::Get { key, range: None };
        self.ask_store_for((place, tok), Of::NewestVersion, op, sink);
        None
    }

    pub(super) fn version_read(&mut self, result: &ObjResult) -> SinkAnswer {
        let ObjResult::Body { data, .. } = result else { return SinkAnswer::Unknown };
        let number = u64::from_be_bytes(data[..8].try_into().expect("8 bytes"));
        let version = &self.spark().table[usize::try_from(number).expect("an index")];
        SinkAnswer::Marker(Some(version.marker.clone()))
    }
}
