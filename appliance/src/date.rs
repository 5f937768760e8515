//! HTTP dates (RFC 9110 §5.6.7). Below every other module, because stored responses and logs need them as well.

/// Length of an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const IMF_LEN: usize = 29;

/// Formats seconds since 1970-01-01 UTC as IMF-fixdate. Years beyond 9999 are shown as 9999-12-31 23:59:59.
pub fn format(unix: u64) -> [u8; IMF_LEN] {
    todo!("{unix}")
}

/// Parses any of the three forms of RFC 9110 §5.6.7 into seconds since 1970-01-01 UTC. `now` resolves the
/// two-digit years of RFC 850 dates (at most 50 years in the future). Dates before 1970 give 0.
pub fn parse(value: &[u8], now: u64) -> Option<u64> {
    todo!("{value:?} {now}")
}

/// The `Date` field, rendered again at most once a second.
#[derive(Clone, Debug)]
pub struct DateCache {
    unix: u64,
    line: [u8; DATE_LINE_LEN],
}

/// Length of `Date: <IMF-fixdate>\r\n`.
pub const DATE_LINE_LEN: usize = 6 + IMF_LEN + 2;

impl DateCache {
    /// A cache showing this time.
    pub fn new(unix: u64) -> Self {
        Self { unix, line: [0; DATE_LINE_LEN] }
    }

    /// Moves to another time; cheap when it is the same second.
    pub fn set(&mut self, unix: u64) {
        self.unix = unix;
    }

    /// The time shown, seconds since 1970-01-01 UTC.
    pub fn unix(&self) -> u64 {
        self.unix
    }

    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n`
    pub fn line(&self) -> &[u8; DATE_LINE_LEN] {
        &self.line
    }
}
