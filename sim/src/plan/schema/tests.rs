use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::*;
use crate::plan::What;
use workloads::Op;

/// The words that serde offers when it refuses one.
fn offered<T: DeserializeOwned>(table: Table) -> Vec<String> {
    let Err(error) = Value::Table(table).try_into::<T>() else {
        panic!("a word that nobody knows was taken");
    };
    let text = error.message().to_owned();
    let (_, words) = text.split_once("expected").unwrap_or_else(|| panic!("{text}"));
    words.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn check_kinds<T: DeserializeOwned>(tag: &str, kinds: &[Kind]) {
    let mut table = Table::new();
    table.insert(tag.to_owned(), Value::String("no-such".to_owned()));
    let names: Vec<_> = kinds.iter().map(|row| row.name).collect();
    assert_eq!(offered::<T>(table.clone()), names, "in the order of the type");
    for row in kinds {
        table.insert(tag.to_owned(), Value::String(row.name.to_owned()));
        table.insert("no-such".to_owned(), Value::Integer(1));
        let keys: Vec<_> = row.keys.iter().map(|key| key.name).collect();
        assert_eq!(offered::<T>(table.clone()), keys, "keys of {}", row.name);
    }
}

#[test]
fn schema_of_faults_and_type_hold_the_same_keys() {
    check_kinds::<What>("fault", FAULTS);
}

#[test]
fn schema_of_operations_and_type_hold_the_same_keys() {
    check_kinds::<Op>("op", OPS);
}
