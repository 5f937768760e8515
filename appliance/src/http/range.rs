//! Range requests (RFC 9110 §14). Only a single byte range is supported; several are answered with the whole.

use super::fields;
use super::number;

/// The range requested of a representation of known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// Not a byte range, malformed, or several: ignore the field (200).
    Ignored,
    /// `first..end` (end exclusive) of the representation (206). Never empty.
    Satisfiable {
        /// First byte.
        first: u64,
        /// One past the last byte.
        end: u64,
    },
    /// Begins beyond the end, or a suffix of zero bytes (416).
    Unsatisfiable,
}

/// Parses a `Range` value. All arithmetic is checked (CVE-2015-1635).
pub fn parse(value: &[u8], len: u64) -> ByteRange {
    parse_single(value, len).unwrap_or(ByteRange::Ignored)
}

fn parse_single(value: &[u8], len: u64) -> Option<ByteRange> {
    let (unit, set) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut ranges = fields::elements(set);
    let range = ranges.next()?;
    if ranges.next().is_some() {
        return None;
    }
    let dash = range.iter().position(|&b| b == b'-')?;
    let (first, last) = (range.get(..dash)?, range.get(dash + 1..)?);
    if first.is_empty() {
        // The last `suffix` bytes.
        let suffix = bound(last)?;
        if suffix == 0 || len == 0 {
            return Some(ByteRange::Unsatisfiable);
        }
        return Some(ByteRange::Satisfiable { first: len.saturating_sub(suffix), end: len });
    }
    let first = bound(first)?;
    let last = if last.is_empty() { u64::MAX } else { bound(last)? };
    if last < first {
        return None;
    }
    if first >= len {
        return Some(ByteRange::Unsatisfiable);
    }
    Some(ByteRange::Satisfiable { first, end: last.saturating_add(1).min(len) })
}

/// A number of any size: values above 64 bits are beyond every representation.
fn bound(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(number::decimal(digits).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::ByteRange::*;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        let part = |first, end| Satisfiable { first, end };
        for (value, len, expected) in [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=0-9", 10, part(0, 10)),
            ("bytes=0-", 10, part(0, 10)),
            ("BYTES=2-4", 10, part(2, 5)),
            ("bytes= 2-4 ", 10, part(2, 5)),
            ("bytes=,2-4,", 10, part(2, 5)),
            ("bytes=9-100", 10, part(9, 10)),
            ("bytes=-1", 10, part(9, 10)),
            ("bytes=-10", 10, part(0, 10)),
            ("bytes=-11", 10, part(0, 10)),
            ("bytes=-18446744073709551615", 10, part(0, 10)),
            ("bytes=-18446744073709551616", 10, part(0, 10)),
            ("bytes=0-18446744073709551615", 10, part(0, 10)),
            ("bytes=18-18446744073709551615", 10, Unsatisfiable),
            ("bytes=1-18446744073709551616", 10, part(1, 10)),
            ("bytes=18446744073709551615-", 10, Unsatisfiable),
            ("bytes=18446744073709551615-", u64::MAX, Unsatisfiable),
            ("bytes=18446744073709551614-18446744073709551615", u64::MAX, part(u64::MAX - 1, u64::MAX)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-5", 0, Unsatisfiable),
            ("bytes=0-1,3-4", 10, Ignored),
            ("bytes=4-2", 10, Ignored),
            ("bytes=", 10, Ignored),
            ("bytes=-", 10, Ignored),
            ("bytes=,", 10, Ignored),
            ("bytes=a-b", 10, Ignored),
            ("bytes=+1-2", 10, Ignored),
            ("bytes=1--2", 10, Ignored),
            ("bytes=1-2-3", 10, Ignored),
            ("items=0-1", 10, Ignored),
            ("bytes", 10, Ignored),
            ("", 10, Ignored),
        ] {
            assert_eq!(parse(value.as_bytes(), len), expected, "{value} of {len}");
        }
    }

    proptest! {
        #[test]
        fn a_range_lies_within_the_content(value in "bytes=[0-9]{0,21}-[0-9]{0,21}", len: u64) {
            if let Satisfiable { first, end } = parse(value.as_bytes(), len) {
                prop_assert!(first < end && end <= len);
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(value: Vec<u8>, len: u64) {
            let _ = parse(&value, len);
        }
    }
}
