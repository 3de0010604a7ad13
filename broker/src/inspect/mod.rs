//! What is there, for whoever looks after a cluster: told by Kafka's own calls, and for objects by
//! the store. Nothing here changes anything.
//!
//! Any broker that speaks Kafka's protocol can be asked. Source: the tools that come with Kafka
//! (`kafka-topics.sh --describe` and its like), whose columns these are.

mod dialog;
mod groups;
mod objects;
mod quorum;
mod table;
mod topics;
mod transactions;

pub use groups::groups;
pub use objects::objects;
pub use quorum::quorum;
pub use table::{Cell, Table};
pub use topics::topics;
pub use transactions::transactions;

use broker_core::protocol::ErrorCode;

/// An error by name and Kafka's number; nothing, if it is none.
fn told(code: i16) -> Option<String> {
    match (code, ErrorCode::of(code)) {
        (0, _) => None,
        (_, Some(known)) => Some(format!("{known:?} ({code})")),
        (_, None) => Some(format!("error {code}")),
    }
}

/// Those that were asked for by name; all, if none was.
///
/// # Errors
/// If one of them is not there.
fn chosen<T>(
    kind: &str,
    mut all: std::collections::BTreeMap<String, T>,
    names: &[String],
) -> Result<std::collections::BTreeMap<String, T>, String> {
    if names.is_empty() {
        return Ok(all);
    }
    if let Some(missing) = names.iter().find(|name| !all.contains_key(*name)) {
        let known: Vec<_> = all.into_keys().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(format!("{kind} {missing}: not there; there are {known}"));
    }
    all.retain(|name, _| names.contains(name));
    Ok(all)
}
