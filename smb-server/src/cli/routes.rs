//! The table of routes, for people.

use std::fmt::Write;

use usmbd::datapath::plan::TABLE;

/// A line for each row, in their order: the first that fits decides.
pub(crate) fn routes() -> String {
    let width = TABLE.iter().map(|row| row.when.len()).max().unwrap_or_default();
    let mut text = String::from("the first line that fits a transfer decides\n");
    for row in TABLE {
        let (direction, when, route) = (row.direction, row.when, row.route);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{direction:<5}  {when:<width$}  {route:<9}  {}", row.because);
    }
    text
}
