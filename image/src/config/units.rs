//! Numbers with units: `"2 MB/s"`, `"512 KiB/s"`, `"10 Mbit/s"`, `"64 KiB"`, `"100/s"`. Errors are messages, `what, expected
//! what`; the caller adds the position.

use model::settings::RequestRate;

type Result<T> = std::result::Result<T, String>;

const RATES: &str =
    "a number with B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s, bit/s, kbit/s, Mbit/s or Gbit/s";
const SIZES: &str = "a number with B, kB, MB, GB, KiB, MiB or GiB";

/// Parses a rate such as `"2 MB/s"` to bytes per second, rounded down. The error message begins with `key`.
pub fn rate(key: &str, text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("{key} {text:?}, expected {RATES}");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let unit = unit.strip_suffix("/s").ok_or_else(wrong)?;
    let (multiple, divisor) = match unit.strip_suffix("bit") {
        Some(prefix) => (prefix_value(prefix).filter(|_| !prefix.ends_with('i')), 8),
        None => (unit.strip_suffix('B').and_then(prefix_value), 1),
    };
    number.times(multiple.ok_or_else(wrong)?, divisor).ok_or_else(wrong)
}

/// Parses a size to bytes.
pub(super) fn size(key: &str, text: &str) -> Result<u64> {
    let wrong = || format!("{key} {text:?}, expected {SIZES}");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let multiple = unit.strip_suffix('B').and_then(prefix_value).ok_or_else(wrong)?;
    number.times(multiple, 1).ok_or_else(wrong)
}

/// Parses a request rate per second, minute or hour. The default burst is one second's worth.
pub(super) fn requests(key: &str, text: &str, burst: Option<u32>) -> Result<RequestRate> {
    let wrong = || format!("{key} {text:?}, expected a whole number with /s, /min or /h");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let per_secs = match unit.trim_start() {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let plain = number.trim_end();
    let requests: u32 = plain.parse().ok().filter(|n: &u32| n.to_string() == plain).ok_or_else(wrong)?;
    let burst = burst.unwrap_or_else(|| requests.div_ceil(per_secs));
    Ok(RequestRate { requests, per_secs, burst })
}

fn prefix_value(prefix: &str) -> Option<u64> {
    Some(match prefix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    })
}

/// A decimal number: `digits / 10^scale`.
struct Decimal {
    digits: u64,
    scale: u32,
}

impl Decimal {
    fn times(&self, multiple: u64, divisor: u64) -> Option<u64> {
        let product = u128::from(self.digits) * u128::from(multiple);
        u64::try_from(product / u128::from(divisor) / 10_u128.pow(self.scale)).ok()
    }
}

/// Splits off the number from its unit, with or without a space between them.
fn split(text: &str) -> Option<(Decimal, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    let fraction = fraction.unwrap_or("0");
    let plain =
        |digits: &str| !digits.is_empty() && digits.len() <= 12 && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() > 6 {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((Decimal { digits, scale: fraction.len() as u32 }, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_sizes() {
        for (text, bytes) in [
            ("2 MB/s", 2_000_000),
            ("512 KiB/s", 512 << 10),
            ("10 Mbit/s", 1_250_000),
            ("1.5 GiB/s", 3 << 29),
            ("9 bit/s", 1),
            ("1024B/s", 1024),
            ("400 Gbit/s", 50_000_000_000),
            ("0 B/s", 0),
            ("0.5 kB/s", 500),
        ] {
            assert_eq!(rate("ceil", text), Ok(bytes), "{text}");
        }
        assert_eq!(size("burst", "64 KiB"), Ok(64 << 10));
        for text in [
            "",
            "5",
            "MB/s",
            "5 MB",
            "5 mb/s",
            "5 Kib/s",
            "5 Mibit/s",
            "-5 B/s",
            "5  B/s",
            "1e3 B/s",
            "5 B/s ",
            ".5 B/s",
            "5. B/s",
            "1.2.3 B/s",
            "5 TB/s",
            "9999999999999 B/s",
            "5 parsecs",
        ] {
            let error = rate("ceil", text).expect_err(text);
            assert!(error.starts_with(&format!("ceil {text:?}, expected a number with B/s")), "{error}");
        }
        assert!(size("burst", "5 B/s").is_err());
    }

    #[test]
    fn request_rates() {
        let rate = |requests, per_secs, burst| Ok(RequestRate { requests, per_secs, burst });
        assert_eq!(requests("requests", "100/s", None), rate(100, 1, 100));
        assert_eq!(requests("requests", "90 / min", None), rate(90, 60, 2));
        assert_eq!(requests("requests", "1/h", Some(5)), rate(1, 3600, 5));
        for text in ["", "100", "/s", "1.5/s", "01/s", "1/day", "-1/s"] {
            assert!(requests("requests", text, None).is_err(), "{text}");
        }
    }
}
