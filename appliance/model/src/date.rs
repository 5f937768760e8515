//! HTTP dates (RFC 9110 §5.6.7).

/// Length of an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const IMF_LEN: usize = 29;

const DAYS: [&[u8]; 7] =
    [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const SECONDS_PER_DAY: u64 = 86_400;
/// 9999-12-31 23:59:59, the last second with a four-digit year.
const LAST: u64 = 253_402_300_799;

/// A UTC date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year, 1970 to 9999.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Day of the week, 0 is Sunday.
    pub weekday: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
}

impl Civil {
    /// Converts seconds since 1970-01-01 UTC. Times after the year 9999 become its last second.
    pub fn from_unix(unix: u64) -> Self {
        let unix = unix.min(LAST);
        let days = unix / SECONDS_PER_DAY;
        let second_of_day = unix % SECONDS_PER_DAY;
        // Years begin in March here, so that the leap day is the last day; days count from 0000-03-01.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: (era * 400 + year_of_era + u64::from(month <= 2)) as u16,
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            weekday: ((days + 4) % 7) as u8,
            hour: (second_of_day / 3_600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
        }
    }

    /// Seconds since 1970-01-01 UTC; 0 for earlier times, `None` for invalid dates.
    fn to_unix(self) -> Option<u64> {
        let (year, month, day) = (u64::from(self.year), u64::from(self.month), u64::from(self.day));
        // A leap second (60) counts as the first second of the next minute.
        if !(1..=12).contains(&month) || self.hour > 23 || self.minute > 59 || self.second > 60 {
            return None;
        }
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let month_len = match month {
            2 => 28 + u64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if day < 1 || day > month_len {
            return None;
        }
        let shifted_year = (year + 400) - u64::from(month <= 2);
        let shifted_month = if month > 2 { month - 3 } else { month + 9 };
        let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100
            + shifted_year / 400
            + (153 * shifted_month + 2) / 5
            + day
            - 1;
        let epoch = 719_468 + 146_097;
        let seconds = u64::from(self.hour) * 3_600 + u64::from(self.minute) * 60 + u64::from(self.second);
        Some(days.checked_sub(epoch).map_or(0, |days| days * SECONDS_PER_DAY + seconds))
    }
}

/// Formats seconds since 1970-01-01 UTC as IMF-fixdate. Times after the year 9999 become its last second.
pub fn format(unix: u64) -> [u8; IMF_LEN] {
    let civil = Civil::from_unix(unix);
    let mut out = *b"Sun, 00 Jan 0000 00:00:00 GMT";
    out[..3].copy_from_slice(&DAYS[usize::from(civil.weekday % 7)][..3]);
    out[5..7].copy_from_slice(&two_digits(civil.day));
    out[8..11].copy_from_slice(MONTHS[usize::from((civil.month + 11) % 12)]);
    out[12..14].copy_from_slice(&two_digits((civil.year / 100) as u8));
    out[14..16].copy_from_slice(&two_digits((civil.year % 100) as u8));
    out[17..19].copy_from_slice(&two_digits(civil.hour));
    out[20..22].copy_from_slice(&two_digits(civil.minute));
    out[23..25].copy_from_slice(&two_digits(civil.second));
    out
}

fn two_digits(n: u8) -> [u8; 2] {
    [b'0' + n / 10 % 10, b'0' + n % 10]
}

/// Parses any of the three forms of RFC 9110 §5.6.7 into seconds since 1970-01-01 UTC. `now` resolves the
/// two-digit years of RFC 850 dates (at most 50 years in the future). Dates before 1970 give 0.
pub fn parse(value: &[u8], now: u64) -> Option<u64> {
    match value.iter().position(|&b| b == b',') {
        Some(3) => imf_fixdate(value),
        Some(comma) => rfc850_date(value, comma, now),
        None => asctime_date(value),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(v: &[u8]) -> Option<u64> {
    if v.len() != IMF_LEN || !day_name(v.get(..3)?, 3) || v.get(3..5)? != b", " || v.get(25..)? != b" GMT" {
        return None;
    }
    if *v.get(7)? != b' ' || *v.get(11)? != b' ' || *v.get(16)? != b' ' {
        return None;
    }
    let year = number(v.get(12..14)?)? * 100 + number(v.get(14..16)?)?;
    civil(year, v.get(8..11)?, number(v.get(5..7)?)?, v.get(17..25)?)?.to_unix()
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(v: &[u8], comma: usize, now: u64) -> Option<u64> {
    let (day, rest) = v.split_at_checked(comma)?;
    if !day_name(day, usize::MAX) || rest.len() != 24 || rest.get(..2)? != b", " || rest.get(20..)? != b" GMT"
    {
        return None;
    }
    if *rest.get(4)? != b'-' || *rest.get(8)? != b'-' || *rest.get(11)? != b' ' {
        return None;
    }
    let this_year = Civil::from_unix(now).year;
    let mut year = this_year / 100 * 100 + number(rest.get(9..11)?)?;
    if year > this_year + 50 {
        year = year.checked_sub(100)?;
    }
    civil(year, rest.get(5..8)?, number(rest.get(2..4)?)?, rest.get(12..20)?)?.to_unix()
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(v: &[u8]) -> Option<u64> {
    if v.len() != 24 || !day_name(v.get(..3)?, 3) {
        return None;
    }
    if *v.get(3)? != b' ' || *v.get(7)? != b' ' || *v.get(10)? != b' ' || *v.get(19)? != b' ' {
        return None;
    }
    let day = match v.get(8..10)? {
        [b' ', units] => number(&[b'0', *units])?,
        digits => number(digits)?,
    };
    let year = number(v.get(20..22)?)? * 100 + number(v.get(22..24)?)?;
    civil(year, v.get(4..7)?, day, v.get(11..19)?)?.to_unix()
}

fn day_name(name: &[u8], len: usize) -> bool {
    DAYS.iter().any(|day| day.get(..len.min(day.len())) == Some(name))
}

fn number(two: &[u8]) -> Option<u16> {
    match two {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u16::from(a - b'0') * 10 + u16::from(b - b'0')),
        _ => None,
    }
}

fn civil(year: u16, month: &[u8], day: u16, time: &[u8]) -> Option<Civil> {
    let month = MONTHS.iter().position(|m| m[..] == *month)? as u8 + 1;
    if *time.get(2)? != b':' || *time.get(5)? != b':' {
        return None;
    }
    let part = |at: usize| number(time.get(at..at + 2)?).map(|n| n as u8);
    Some(Civil {
        year,
        month,
        day: day as u8,
        weekday: 0,
        hour: part(0)?,
        minute: part(3)?,
        second: part(6)?,
    })
}

/// Length of `Date: <IMF-fixdate>\r\n`.
pub const DATE_LINE_LEN: usize = 6 + IMF_LEN + 2;

/// The `Date` field, rendered at most once per second.
#[derive(Clone, Debug)]
pub struct DateCache {
    unix: u64,
    line: [u8; DATE_LINE_LEN],
}

impl DateCache {
    /// A cache for this time, in seconds since 1970-01-01 UTC.
    pub fn new(unix: u64) -> Self {
        Self { unix, line: render(unix) }
    }

    /// Sets the time. Cheap within the same second.
    #[inline]
    pub fn set(&mut self, unix: u64) {
        if unix != self.unix {
            *self = Self::new(unix);
        }
    }

    /// The time, in seconds since 1970-01-01 UTC.
    pub fn unix(&self) -> u64 {
        self.unix
    }

    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n`
    #[inline]
    pub fn line(&self) -> &[u8; DATE_LINE_LEN] {
        &self.line
    }
}

fn render(unix: u64) -> [u8; DATE_LINE_LEN] {
    let mut line = *b"Date: Sun, 00 Jan 0000 00:00:00 GMT\r\n";
    line[6..6 + IMF_LEN].copy_from_slice(&format(unix));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: u64 = 784_111_777;
    const NOW: u64 = 1_795_219_200; // 2026-11-21

    #[test]
    fn the_examples_of_rfc_9110() {
        assert_eq!(&format(EXAMPLE), b"Sun, 06 Nov 1994 08:49:37 GMT");
        for form in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(form.as_bytes(), NOW), Some(EXAMPLE), "{form}");
        }
    }

    #[test]
    fn known_days() {
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(core::str::from_utf8(&format(unix)).unwrap(), text);
        }
    }

    #[test]
    fn two_digit_years_are_at_most_fifty_years_ahead() {
        assert_eq!(
            parse(b"Sunday, 06-Nov-76 08:49:37 GMT", NOW).map(|t| Civil::from_unix(t).year),
            Some(2076)
        );
        assert_eq!(
            parse(b"Sunday, 06-Nov-77 08:49:37 GMT", NOW).map(|t| Civil::from_unix(t).year),
            Some(1977)
        );
    }

    #[test]
    fn invalid_dates() {
        for bad in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT ",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 06 08:49:37 1994 ",
            ",",
            "Sun,",
        ] {
            assert_eq!(parse(bad.as_bytes(), NOW), None, "{bad}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1904 08:49:37 GMT", NOW), Some(0));
    }

    #[test]
    fn the_cache_follows_the_clock() {
        let mut cache = DateCache::new(0);
        cache.set(EXAMPLE);
        assert_eq!(cache.line(), b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(cache.unix(), EXAMPLE);
    }

    proptest! {
        #[test]
        fn formatted_dates_parse(unix in 0..=LAST) {
            prop_assert_eq!(parse(&format(unix), NOW), Some(unix));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, now: u64) {
            let _ = parse(&bytes, now);
        }
    }
}
