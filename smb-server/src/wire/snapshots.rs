//! Previous versions: the list that FSCTL_SRV_ENUMERATE_SNAPSHOTS gives, and the tokens that stand for moments in it and in
//! paths. MS-SMB2 2.2.32.2.

use crate::calendar::Moment;

use super::codec::Writer;
use super::utf16::Utf16;

/// What no response is shorter than, MS-SMB2 3.3.5.15.1.
pub const SIZE_MIN: usize = 16;

/// Bytes in front of the tokens.
const HEAD: usize = 12;

/// `@GMT-YYYY.MM.DD-HH.MM.SS`.
pub fn token(seconds: i64) -> String {
    let Moment { year, month, day, hour, minute, second } = Moment::from_unix(seconds);
    format!("@GMT-{year:04}.{month:02}.{day:02}-{hour:02}.{minute:02}.{second:02}")
}

/// The moment that a token stands for, in seconds since 1970.
pub fn parse_token(text: &str) -> Option<i64> {
    let (date, clock) = text.strip_prefix("@GMT-")?.split_once('-')?;
    let [year, month, day] = numbers(date, [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, [2, 2, 2])?;
    Moment { year, month, day, hour, minute, second }.to_unix()
}

fn numbers(text: &str, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split('.');
    let mut numbers = [0; 3];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width)?;
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        *number = digits.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

/// SRV_SNAPSHOT_ARRAY of these moments, or, where there is no room for all, how much they take.
pub fn encode_array(moments: &[i64], room: usize, w: &mut Writer<'_>) {
    let mut tokens = Vec::new();
    for moment in moments {
        tokens.extend_from_slice(&Utf16::from_str(&token(*moment)).to_bytes());
        tokens.extend_from_slice(&[0, 0]);
    }
    if !moments.is_empty() {
        tokens.extend_from_slice(&[0, 0]);
    }
    let fits = !moments.is_empty() && tokens.len().saturating_add(HEAD) <= room;
    w.put_length_u32(moments.len());
    w.put_length_u32(if fits { moments.len() } else { 0 });
    w.put_length_u32(tokens.len());
    if fits {
        w.put_bytes(&tokens);
    } else {
        w.put_zeros(SIZE_MIN.saturating_sub(HEAD));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(moments: &[i64], room: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_array(moments, room, &mut Writer::new(&mut bytes));
        bytes
    }

    /// The tokens are those of a Windows server, as the change of Linux's client tells them that reads such lists.
    #[test]
    fn tokens_are_read_and_written() {
        for (text, seconds) in [
            ("@GMT-2018.06.30-19.34.17", 1_530_387_257),
            ("@GMT-2018.06.30-19.33.37", 1_530_387_217),
        ] {
            assert_eq!((token(seconds).as_str(), parse_token(text)), (text, Some(seconds)));
        }
        for text in [
            "@GMT-2018.06.31-19.34.17",
            "@GMT-2018.6.30-19.34.17",
            "@GMT-2018.06.30-19.34",
            "@GMT-2018.06.30-19.34.17.1",
            "@GMT-2018.06.30-19.34.+7",
            "@gmt-2018.06.30-19.34.17",
            "2018.06.30-19.34.17",
            "",
        ] {
            assert_eq!(parse_token(text), None, "{text}");
        }
    }

    /// The same says 102 of the array's size with two.
    #[test]
    fn a_list_that_does_not_fit_tells_how_much_it_takes() {
        let moments = [1_530_387_257, 1_530_387_217];
        let whole = array(&moments, 114);
        assert_eq!(whole.len(), 114);
        assert_eq!(whole[..16], [2, 0, 0, 0, 2, 0, 0, 0, 102, 0, 0, 0, b'@', 0, b'G', 0]);
        assert_eq!(whole[110..], [0; 4]);
        assert_eq!(array(&moments, 113), [2, 0, 0, 0, 0, 0, 0, 0, 102, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(array(&[], 1000), [0; 16]);
    }
}
