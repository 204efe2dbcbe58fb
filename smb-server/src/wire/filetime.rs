//! FILETIME: 100-nanosecond steps since 1601-01-01 UTC. MS-DTYP 2.3.3. Conversion only; there is no
//! clock here.

use super::codec::{Malformed, Reader, Writer};

/// A point in time, or one of the special values of MS-FSCC FileBasicInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime(pub u64);

/// Seconds from 1601-01-01 to 1970-01-01: 369 years with 89 leap days.
const UNIX_EPOCH_SECONDS: i64 = (369 * 365 + 89) * 86_400;
const STEPS_PER_SECOND: i128 = 10_000_000;

impl FileTime {
    /// In a set: leave this time as it is. In an answer: not known.
    pub const OMIT: Self = Self(0);
    /// In a set (-1): stop changing this time through this handle.
    pub const FREEZE: Self = Self(u64::MAX);
    /// In a set (-2): resume changing this time through this handle.
    pub const THAW: Self = Self(u64::MAX - 1);

    /// From a Unix time; times outside FILETIME's positive signed range saturate.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let seconds = i128::from(seconds).saturating_add(i128::from(UNIX_EPOCH_SECONDS));
        let steps = seconds
            .saturating_mul(STEPS_PER_SECOND)
            .saturating_add(i128::from(nanoseconds / 100))
            .clamp(0, i128::from(i64::MAX));
        Self(u64::try_from(steps).unwrap_or_default())
    }

    /// To a Unix time: seconds and the nanoseconds (below 10^9) that follow them. The value is read
    /// as signed, as Windows does, so it may lie before 1601.
    pub fn to_unix(self) -> (i64, u32) {
        let steps = i128::from(self.0.cast_signed());
        let seconds = steps.div_euclid(STEPS_PER_SECOND);
        let nanoseconds = steps.rem_euclid(STEPS_PER_SECOND).saturating_mul(100);
        let seconds = seconds.saturating_sub(i128::from(UNIX_EPOCH_SECONDS));
        (i64::try_from(seconds).unwrap_or(i64::MIN), u32::try_from(nanoseconds).unwrap_or_default())
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.u64().map(Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Python: (datetime(…) - datetime(1601, 1, 1)) // timedelta(microseconds=1) * 10
    const UNIX_EPOCH: FileTime = FileTime(116_444_736_000_000_000);
    const Y2026: FileTime = FileTime(134_117_856_000_000_000);

    #[test]
    fn known_times_convert_both_ways() {
        for (time, unix) in [(UNIX_EPOCH, (0, 0)), (Y2026, (1_767_312_000, 0))] {
            assert_eq!(time.to_unix(), unix);
            assert_eq!(FileTime::from_unix(unix.0, unix.1), time);
        }
        let time = FileTime(UNIX_EPOCH.0 - 1);
        assert_eq!(time.to_unix(), (-1, 999_999_900));
        assert_eq!(FileTime::from_unix(-1, 999_999_900), time);
    }

    #[test]
    fn times_that_do_not_fit_saturate() {
        assert_eq!(FileTime::from_unix(i64::MAX, 999_999_999), FileTime(i64::MAX as u64));
        assert_eq!(FileTime::from_unix(i64::MIN, 0), FileTime(0));
        assert_eq!(FileTime::from_unix(-11_644_473_600, 0), FileTime(0));
        assert_eq!(FileTime::from_unix(-11_644_473_601, 0), FileTime(0));
    }

    #[test]
    fn special_values_are_minus_one_and_minus_two() {
        assert_eq!(FileTime::FREEZE.0.cast_signed(), -1);
        assert_eq!(FileTime::THAW.0.cast_signed(), -2);
    }
}
