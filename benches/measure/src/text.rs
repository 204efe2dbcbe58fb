//! How reports spell what they report, and how they get into their files.

use std::fs;
use std::io;
use std::path::Path;

use crate::spread::Spread;

/// A number to be read, with some three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// A share of the whole.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A ratio over pairs of samples.
pub fn ratio(ratio: Spread) -> String {
    let Spread { median, least, most, count } = ratio;
    format!("{median:.2} ({least:.2} – {most:.2}, n={count})")
}

/// Whom the load may have held up, if anybody.
pub fn limit_of_load(limited: &[&str]) -> String {
    if limited.is_empty() {
        return "The load was not the limit.".to_owned();
    }
    format!("The load may have been the limit of {}.", limited.join(", "))
}

/// Writes a file anew, with its folder if need be; whoever breaks this off finds the old one.
///
/// # Errors
/// Those of the file system.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&new, text)?;
    fs::rename(new, path)
}
