//! What is wrong with a line that can not be read, in one sentence: which field, what it holds,
//! what is allowed. Reads the line again, slowly.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::fields::{FIELDS, Flat};

/// Longer values are cut.
const SHOWN_BYTES_MAX: usize = 60;

/// Why this line can not be read, given the parser's own words.
pub(super) fn about(text: &str, error: &serde_json::Error) -> String {
    let object = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => object,
        Ok(other) => {
            return format!("{}; allowed: one JSON object on a line", shown(&other));
        }
        Err(error) => {
            return format!("no JSON: {}; allowed: one JSON object on a line", place(&error));
        }
    };
    for (name, value) in &object {
        let Some((_, allowed)) = FIELDS.iter().find(|field| field.0 == name.as_str()) else {
            let known: Vec<_> = FIELDS.iter().map(|field| field.0).collect();
            return format!("unknown field `{name}`; allowed: {}", known.join(", "));
        };
        let alone = format!("{{{}:{value}}}", Value::String(name.clone()));
        if let Err(error) = serde_json::from_str::<Flat<'_>>(&alone) {
            let why = if value.is_array() { format!(" ({})", said(&error)) } else { String::new() };
            return format!("field `{name}`: {}{why}; allowed: {allowed}", shown(value));
        }
    }
    format!("{}; allowed: each field once", place(error))
}

/// The parser's words, with the column.
pub(super) fn place(error: &serde_json::Error) -> String {
    format!("{} at column {}", said(error), error.column())
}

/// The parser's words without the place, which is that of a line of its own.
fn said(error: &serde_json::Error) -> String {
    let words = error.to_string();
    match words.rfind(" at line ") {
        Some(end) => words[..end].to_string(),
        None => words,
    }
}

fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > SHOWN_BYTES_MAX {
        let end = (0..=SHOWN_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}
