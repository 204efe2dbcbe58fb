//! Whether somebody else was at work on the cores while a sample was taken.

use std::time::Duration;

/// A sample is disturbed if other processes had more of the cores than this per second, and what was measured waited for
/// a core more than this. One alone says little: others may have used what was idle, and the threads of a pool wait for
/// each other.
const FOREIGN_MAX: f64 = 0.15;
const DELAY_MAX: f64 = 0.05;

/// How often a sample that is disturbed, or in which the cores' distance changed, is taken again.
pub const RETRIES: usize = 2;

/// Whether little enough was taken away: in `wall`, others had the cores for `foreign`, and what was measured waited for
/// one for `delay`.
pub fn is_undisturbed(wall: Duration, foreign: Duration, delay: Duration) -> bool {
    let wall = wall.as_secs_f64();
    foreign.as_secs_f64() <= wall * FOREIGN_MAX || delay.as_secs_f64() <= wall * DELAY_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_disturbed_only_by_others_who_made_it_wait() {
        let [none, tenth, half] = [0, 100, 500].map(Duration::from_millis);
        let second = Duration::from_secs(1);
        assert!(is_undisturbed(second, half, none));
        assert!(is_undisturbed(second, none, half));
        assert!(is_undisturbed(second, tenth, tenth));
        assert!(!is_undisturbed(second, half, tenth));
    }
}
