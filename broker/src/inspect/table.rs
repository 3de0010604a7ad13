//! Rows with names for their columns, as aligned text or as JSON.

use serde_json::{Map, Value};

/// Rows.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

/// A value of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// Nothing, or not known.
    None,
    /// A number.
    Number(i128),
    /// A text.
    Text(String),
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

macro_rules! numbers {
    ($($Number:ty)*) => {
        $(impl From<$Number> for Cell {
            fn from(number: $Number) -> Self {
                Self::Number(number.into())
            }
        })*
    };
}

numbers! { i16 i32 i64 u16 u32 u64 }

impl Table {
    /// No rows yet.
    #[must_use]
    pub fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// One more row.
    pub fn push(&mut self, row: Vec<Cell>) {
        assert_eq!(row.len(), self.columns.len(), "{row:?} of {:?}", self.columns);
        self.rows.push(row);
    }

    /// A line for the names and one for each row; numbers at the right of their columns.
    #[must_use]
    pub fn text(&self) -> String {
        let names = self.columns.iter().map(|name| name.to_uppercase().replace('_', "-"));
        let mut lines: Vec<Vec<String>> = vec![names.collect()];
        let written = |row: &Vec<Cell>| row.iter().map(Cell::written).collect();
        lines.extend(self.rows.iter().map(written));
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max();
        let widths: Vec<_> = (0..self.columns.len()).filter_map(width).collect();
        let is_number = |at: usize| {
            self.rows.iter().all(|row| !matches!(row[at], Cell::Text(_)))
                && self.rows.iter().any(|row| matches!(row[at], Cell::Number(_)))
        };
        let right: Vec<_> = (0..self.columns.len()).map(is_number).collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line.iter().zip(&widths).zip(&right);
            let cells = cells.map(|((cell, width), right)| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        text
    }

    /// An array with an object for each row.
    #[must_use]
    pub fn json(&self) -> String {
        let row = |row: &Vec<Cell>| {
            let cells = self.columns.iter().zip(row);
            let cells = cells.map(|(name, cell)| ((*name).to_owned(), cell.json()));
            Value::Object(cells.collect::<Map<_, _>>())
        };
        let rows = Value::Array(self.rows.iter().map(row).collect());
        format!("{rows:#}\n")
    }
}

impl Cell {
    /// Without what would break a line or a terminal: names come from clients.
    fn written(&self) -> String {
        match self {
            Self::None => "-".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) if text.is_empty() => "\"\"".to_owned(),
            Self::Text(text) if text.chars().any(char::is_control) => {
                text.escape_debug().to_string()
            }
            Self::Text(text) => text.clone(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Text(text) => Value::String(text.clone()),
            Self::Number(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (Err(_), Ok(number)) => number.into(),
                (Err(_), Err(_)) => Value::String(number.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_aligned_and_safe_to_print_and_json_has_what_it_has() {
        let mut table = Table::new(&["name", "end_offset"]);
        table.push(vec!["a\u{1b}[2J".into(), 7_i64.into()]);
        table.push(vec!["long name".into(), Cell::None]);
        table.push(vec![Cell::None, u64::MAX.into()]);
        let text = table.text();
        let expected = "NAME                  END-OFFSET\n\
                        a\\u{1b}[2J                     7\n\
                        long name                      -\n\
                        -           18446744073709551615\n";
        assert_eq!(text, expected);
        let json: Value = serde_json::from_str(&table.json()).unwrap();
        assert_eq!(json[0]["name"], "a\u{1b}[2J");
        assert_eq!(json[1]["end_offset"], Value::Null);
        assert_eq!(json[2]["end_offset"], u64::MAX);
    }
}
