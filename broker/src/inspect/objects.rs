//! What is in an object store: WAL objects by node, data objects by stream, claims and snapshots.
//!
//! What is listed may be gone before it is read: the cluster goes on meanwhile. Such a one is left
//! out.

use broker_core::object::{
    self, FOOTER_BYTES, HEADER_BYTES, parse_claim_key, parse_object_key, parse_snapshot_key,
    parse_wal_key,
};
use broker_core::step::{Key, ObjOp, ObjResult};
use bytes::Bytes;

use super::table::{Cell, Table};
use crate::host::ObjectStore;

const COLUMNS: &[&str] =
    &["kind", "node", "epoch", "object", "stream", "start", "end", "bytes", "key"];

/// Every object: WAL objects by their node, data objects with a row for each stream (`bytes`: its
/// blocks), and what else is there. `epoch` is the broker's.
///
/// # Errors
/// If the store does not answer, or a data object is damaged.
pub async fn objects(store: &dyn ObjectStore) -> Result<Table, String> {
    let mut table = Table::new(COLUMNS);
    for prefix in ["wal/", "obj/", "claim/", "producers/"] {
        for key in keys(store, prefix).await? {
            let Some((_, size)) = part(store, &key, 0, 0).await? else { continue };
            if let Some(wal) = parse_wal_key(&key) {
                table.push(vec![
                    "wal".into(),
                    wal.node.0.into(),
                    wal.epoch.0.into(),
                    Cell::None,
                    Cell::None,
                    wal.start.0.into(),
                    wal.end.0.into(),
                    size.into(),
                    key.0.as_ref().into(),
                ]);
            } else if let Some(id) = parse_object_key(&key) {
                data_object(store, &key, (id.0, size), &mut table).await?;
            } else {
                table.push(other(&key, size));
            }
        }
    }
    Ok(table)
}

/// A row for each stream of a data object.
async fn data_object(
    store: &dyn ObjectStore,
    key: &Key,
    (id, size): (u64, u64),
    table: &mut Table,
) -> Result<(), String> {
    let damaged = |what| format!("{key}: the {what} is damaged");
    let Some((header, _)) = part(store, key, 0, HEADER_BYTES as u64).await? else { return Ok(()) };
    let header = object::decode_header(&header).map_err(|_| damaged("header"))?;
    let from = size.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("footer"))?;
    let Some((footer, _)) = part(store, key, from, size).await? else { return Ok(()) };
    let footer = object::decode_footer(&footer).map_err(|_| damaged("footer"))?;
    let end = footer.index_pos.checked_add(footer.index_len).filter(|end| *end <= from);
    let end = end.ok_or_else(|| damaged("footer"))?;
    let Some((index, _)) = part(store, key, footer.index_pos, end).await? else { return Ok(()) };
    let entries = object::decode_index(&index).map_err(|_| damaged("index"))?.entries;
    for blocks in entries.chunk_by(|one, next| one.stream == next.stream) {
        let (first, last) = (&blocks[0], &blocks[blocks.len() - 1]);
        table.push(vec![
            "data".into(),
            header.node.0.into(),
            header.epoch.0.into(),
            id.into(),
            first.stream.0.into(),
            first.start.0.into(),
            last.end.0.into(),
            blocks.iter().map(|block| u64::from(block.len)).sum::<u64>().into(),
            key.0.as_ref().into(),
        ]);
    }
    Ok(())
}

fn other(key: &Key, size: u64) -> Vec<Cell> {
    let (mut node, mut stream, mut end) = (Cell::None, Cell::None, Cell::None);
    let kind = if let Some((of, _)) = parse_claim_key(key) {
        node = of.0.into();
        "claim"
    } else if let Some((of, upto)) = parse_snapshot_key(key) {
        (stream, end) = (of.0.into(), upto.0.into());
        "snapshot"
    } else {
        "unknown"
    };
    let none = || Cell::None;
    vec![kind.into(), node, none(), none(), stream, none(), end, size.into(), key.0.as_ref().into()]
}

/// All keys with this prefix.
async fn keys(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<Key>, String> {
    let mut all: Vec<Key> = Vec::new();
    loop {
        let (prefix, after) = (Key(prefix.into()), all.last().cloned());
        match store.perform(ObjOp::List { prefix: prefix.clone(), after }).await {
            ObjResult::Keys { keys, more } => {
                let nothing_new = keys.is_empty();
                all.extend(keys);
                if !more || nothing_new {
                    return Ok(all);
                }
            }
            other => return Err(format!("listing {prefix}: {}", refused(&other))),
        }
    }
}

/// The bytes `[start, end)` of an object, and how many it has; none: it is gone.
async fn part(
    store: &dyn ObjectStore,
    key: &Key,
    start: u64,
    end: u64,
) -> Result<Option<(Bytes, u64)>, String> {
    match store.perform(ObjOp::Get { key: key.clone(), range: Some((start, end)) }).await {
        ObjResult::Body { data, size, .. } => Ok(Some((data, size))),
        ObjResult::NotFound => Ok(None),
        other => Err(format!("{key}: {}", refused(&other))),
    }
}

fn refused(result: &ObjResult) -> &'static str {
    match result {
        ObjResult::SlowDown => "the store is too busy",
        ObjResult::Unknown => "the store does not answer",
        ObjResult::Done { .. }
        | ObjResult::Body { .. }
        | ObjResult::Keys { .. }
        | ObjResult::NotFound
        | ObjResult::PreconditionFailed => "the store has answered something else",
    }
}
