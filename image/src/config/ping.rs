//! `[pool.ping]`: health checks of workers.

use super::bounds::SECONDS;
use super::error::Faults;
use super::raw;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;

type Result<T> = std::result::Result<T, (usize, String)>;

/// Defaults of IIS.
const INTERVAL: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(90);
/// Maximum length of path and host.
const MAX_LENGTH: usize = 1024;

/// How workers are pinged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Interval between two pings.
    pub interval: Duration,
    /// How long a worker may go without responding to a ping before it has failed.
    pub limit: Duration,
    /// HTTP health check; `None`: a check that depends on the worker's kind.
    pub check: Option<HttpCheck>,
}

/// An HTTP GET and the status codes of a healthy worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Path and query.
    pub path: String,
    /// Value of the Host field.
    pub host: String,
    /// Status codes of a healthy worker.
    pub expect: Vec<RangeInclusive<u16>>,
}

impl Default for Ping {
    fn default() -> Self {
        Self { interval: INTERVAL, limit: LIMIT, check: None }
    }
}

/// Settings of a pool. `secured`: its workers use TLS.
pub(super) fn ping(raw: Option<&raw::Ping>, secured: bool, faults: &Faults) -> Ping {
    let Some(raw) = raw else { return Ping::default() };
    let seconds = |key, written| {
        let found = faults.value(SECONDS.read(key, written));
        found.map(|s| Duration::from_secs(s.into()))
    };
    let limit = seconds("limit", raw.limit.as_ref());
    let interval = seconds("interval", raw.interval.as_ref());
    if let (Some(limit), Some(interval), Some(written)) = (limit, interval, raw.limit.as_ref())
        && limit <= interval
    {
        let (limit, interval) = (limit.as_secs(), interval.as_secs());
        let what = format!("limit {limit}, expected more seconds than interval, which is {interval}");
        faults.error(written.span().start, what);
    }
    // The default interval allows three pings within the limit.
    let third = |limit: Duration| INTERVAL.min((limit / 3).max(Duration::from_secs(1)));
    Ping {
        interval: interval.unwrap_or_else(|| limit.map_or(INTERVAL, third)),
        limit: limit.unwrap_or_else(|| LIMIT.max(interval.unwrap_or_default() * 3)),
        check: faults.value(check(raw, secured)),
    }
}

fn check(raw: &raw::Ping, secured: bool) -> Result<Option<HttpCheck>> {
    let Some(path) = &raw.path else {
        let alone = raw.expect.as_ref().map(|e| (e.span().start, "expect"));
        let alone = alone.or(raw.host.as_ref().map(|h| (h.span().start, "host")));
        return match alone {
            Some((at, key)) => Err((at, format!("{key} without path, expected both"))),
            None => Ok(None),
        };
    };
    let at = path.span().start;
    if secured {
        return Err((at, "path in a pool with tls, expected none: pings are plain HTTP".into()));
    }
    let plain = |text: &str| text.len() <= MAX_LENGTH && text.bytes().all(|b| b.is_ascii_graphic());
    if !path.get_ref().starts_with('/') || !plain(path.get_ref()) {
        return Err((
            at,
            format!("path {:?}, expected a path and query such as \"/health\"", path.get_ref()),
        ));
    }
    let host = match &raw.host {
        None => "localhost".to_owned(),
        Some(host) if !host.get_ref().is_empty() && plain(host.get_ref()) => host.get_ref().clone(),
        Some(host) => {
            let what = format!("host {:?}, expected a host such as \"shop.test\"", host.get_ref());
            return Err((host.span().start, what));
        }
    };
    let expect = raw.expect.as_ref().map_or(Ok(vec![200..=399]), expect)?;
    Ok(Some(HttpCheck { path: path.get_ref().clone(), host, expect }))
}

/// Parses a status (200), a range ("200-299"), or a list of both.
fn expect(written: &Spanned<toml::Value>) -> Result<Vec<RangeInclusive<u16>>> {
    let wrong = || {
        let what = format!(
            "expect {}, expected a status from 100 to 999 such as 200, a range such as \"200-299\", or a list of both",
            written.get_ref()
        );
        (written.span().start, what)
    };
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|s| (100..=999).contains(s));
    let one = |value: &toml::Value| match value {
        toml::Value::Integer(n) => status(&n.to_string()).map(|s| s..=s),
        toml::Value::String(text) => match text.split_once('-') {
            None => status(text).map(|s| s..=s),
            Some((first, last)) => status(first).zip(status(last)).map(|(first, last)| first..=last),
        },
        _ => None,
    };
    let all: Option<Vec<_>> = match written.get_ref() {
        toml::Value::Array(list) => list.iter().map(one).collect(),
        value => one(value).map(|range| vec![range]),
    };
    all.filter(|all| !all.is_empty() && all.iter().all(|range| !range.is_empty())).ok_or_else(wrong)
}
