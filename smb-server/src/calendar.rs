//! Days of the Gregorian calendar as seconds since 1970 and back, in UTC; as in unix there are no leap seconds.

/// A moment, as a clock and a calendar show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    pub(crate) year: i64,
    /// From 1 on, as the day.
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

const DAY: i64 = 86_400;

/// Days from the first of January of the year 1 to that of `year`.
const fn days_before(year: i64) -> i64 {
    let past = year - 1;
    365 * past + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400)
}

fn days_of_months(year: i64) -> [i64; 12] {
    let february = days_before(year + 1) - days_before(year) - 337;
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

impl Moment {
    /// `None` if no calendar of the years 1601 to 9999 has it.
    pub(crate) fn to_unix(self) -> Option<i64> {
        let Self { year, month, day, hour, minute, second } = self;
        let clock =
            (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
        if !clock || !(1601..=9999).contains(&year) {
            return None;
        }
        let months = days_of_months(year);
        let before = months.get(..usize::try_from(month.checked_sub(1)?).ok()?)?;
        let length = months.get(before.len())?;
        if !(1..=*length).contains(&day) {
            return None;
        }
        let days = days_before(year) - days_before(1970) + before.iter().sum::<i64>() + day - 1;
        Some(days * DAY + hour * 3600 + minute * 60 + second)
    }

    /// Years beyond four digits are the last that has four.
    pub(crate) fn from_unix(seconds: i64) -> Self {
        let last = (days_before(10_000) - days_before(1970)) * DAY - 1;
        let seconds = seconds.min(last).max(-days_before(1970) * DAY);
        let days = seconds.div_euclid(DAY) + days_before(1970);
        // Less than a year off.
        let near = days * 400 / 146_097 + 1;
        let year = if days < days_before(near) { near - 1 } else { near };
        let year = if days >= days_before(year + 1) { year + 1 } else { year };
        let (mut month, mut day) = (1, days - days_before(year) + 1);
        for length in days_of_months(year) {
            if day <= length {
                break;
            }
            day -= length;
            month += 1;
        }
        let clock = seconds.rem_euclid(DAY);
        Self { year, month, day, hour: clock / 3600, minute: clock / 60 % 60, second: clock % 60 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(date: [i64; 3], clock: [i64; 3]) -> Moment {
        let ([year, month, day], [hour, minute, second]) = (date, clock);
        Moment { year, month, day, hour, minute, second }
    }

    /// `date -u -d '…' +%s` says so.
    #[test]
    fn known_moments_convert_both_ways() {
        for (date, clock, seconds) in [
            ([1970, 1, 1], [0, 0, 0], 0),
            ([1969, 12, 31], [23, 59, 59], -1),
            ([2000, 2, 29], [12, 0, 0], 951_825_600),
            ([2026, 1, 2], [3, 4, 5], 1_767_323_045),
            ([2100, 3, 1], [0, 0, 0], 4_107_542_400),
            ([9999, 12, 31], [23, 59, 59], 253_402_300_799),
        ] {
            let moment = moment(date, clock);
            assert_eq!((moment.to_unix(), Moment::from_unix(seconds)), (Some(seconds), moment));
        }
    }

    #[test]
    fn every_day_of_five_centuries_comes_back() {
        for day in -60_000..130_000 {
            let seconds = day * DAY + day.rem_euclid(DAY);
            assert_eq!(Moment::from_unix(seconds).to_unix(), Some(seconds), "{day}");
        }
    }

    #[test]
    fn what_no_calendar_has_is_refused_and_what_is_too_far_is_cut_off() {
        for (date, clock) in [
            ([2026, 2, 29], [0, 0, 0]),
            ([2100, 2, 29], [0, 0, 0]),
            ([2026, 13, 1], [0, 0, 0]),
            ([2026, 0, 1], [0, 0, 0]),
            ([2026, 1, 0], [0, 0, 0]),
            ([2026, 1, 1], [24, 0, 0]),
            ([1600, 1, 1], [0, 0, 0]),
        ] {
            assert_eq!(moment(date, clock).to_unix(), None, "{date:?} {clock:?}");
        }
        assert_eq!(Moment::from_unix(i64::MAX).year, 9999);
        assert_eq!(Moment::from_unix(i64::MIN).year, 1);
    }
}
