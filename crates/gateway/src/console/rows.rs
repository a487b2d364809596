//! Tables of the console: rows of named cells, as maps in RESP3 and flat arrays in RESP2.

use resp::{Protocol, write_array, write_bulk, write_integer, write_map};

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Number(i64),
    Text(String),
    List(Vec<String>),
}

/// Named values in the order shown.
pub(crate) type Row = Vec<(&'static str, Cell)>;

/// A number, as far as an integer reply can say it.
pub(crate) fn number<N: TryInto<i64>>(number: N) -> Cell {
    Cell::Number(number.try_into().unwrap_or(i64::MAX))
}

pub(crate) fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

/// Writes one row.
pub(crate) fn write_row(out: &mut Vec<u8>, protocol: Protocol, row: &Row) {
    write_map(out, protocol, row.len());
    for (name, cell) in row {
        write_bulk(out, name.as_bytes());
        match cell {
            Cell::Number(number) => write_integer(out, *number),
            Cell::Text(text) => write_bulk(out, text.as_bytes()),
            Cell::List(items) => {
                write_array(out, items.len());
                items.iter().for_each(|item| write_bulk(out, item.as_bytes()));
            }
        }
    }
}

/// Writes an array of rows.
pub(crate) fn write_rows(out: &mut Vec<u8>, protocol: Protocol, rows: &[Row]) {
    write_array(out, rows.len());
    rows.iter().for_each(|row| write_row(out, protocol, row));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_maps_in_resp3_and_flat_in_resp2() {
        let row = vec![("a", number(1_u64)), ("b", Cell::List(vec!["x".into()]))];
        let mut out = Vec::new();
        write_rows(&mut out, Protocol::Resp2, std::slice::from_ref(&row));
        assert_eq!(out, b"*1\r\n*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*1\r\n$1\r\nx\r\n");
        out.clear();
        write_row(&mut out, Protocol::Resp3, &row);
        assert!(out.starts_with(b"%2\r\n"));
    }
}
