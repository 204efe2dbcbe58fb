//! Values on a command line.

use std::str::FromStr;
use std::time::Duration;

/// A time in seconds, as long as a sample may take.
///
/// # Errors
/// A text for the user, here and below.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = number(text)?;
    if (0.01..=1000.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("not {text} seconds"))
    }
}

/// A number of any kind.
pub fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number that makes sense here"))
}
