//! `[server.http]` and `[site.http]`: limits and timers with HTTP.sys's names and ranges.

use super::bounds::{self, Whole};
use super::error::{Fault, Faults};
use super::{raw, units};
use model::settings::{Http, Nobody, Profile};
use std::time::Duration;
use toml::Spanned;

type Result<T> = std::result::Result<T, Fault>;

/// Parser of a string value, given its key.
type Parse = fn(&str, &str) -> std::result::Result<u64, String>;

pub(super) fn http(written: Option<&raw::Http>, faults: &Faults) -> Http {
    let Some(written) = written else { return Http::default() };
    let count = |key, value: &Option<_>, bounds: Whole| faults.value(bounds.read(key, value.as_ref()));
    let seconds = |key, value: &Option<_>| count(key, value, bounds::TIMER);
    let with = |key: &str, value: &Option<Spanned<String>>, parse: Parse| {
        let read = |v: &Spanned<String>| parse(key, v.get_ref()).map_err(|what| (v.span().start, what));
        faults.value(value.as_ref().map(read).transpose())
    };
    Http {
        profile: faults.value(profile(&written.compat)),
        max_request_bytes: count("max_request_bytes", &written.max_request_bytes, bounds::REQUEST_BYTES),
        max_field_length: count("max_field_length", &written.max_field_length, bounds::FIELD_LENGTH),
        url_segment_max_length: count(
            "url_segment_max_length",
            &written.url_segment_max_length,
            bounds::SEGMENT_LENGTH,
        ),
        url_segment_max_count: count(
            "url_segment_max_count",
            &written.url_segment_max_count,
            bounds::SEGMENT_COUNT,
        ),
        max_content: with("max_content", &written.max_content, units::size),
        header_wait_s: seconds("header_wait", &written.header_wait),
        idle_connection_s: seconds("idle_connection", &written.idle_connection),
        tunnel_idle_s: seconds("tunnel_idle", &written.tunnel_idle),
        stream_idle_s: seconds("stream_idle", &written.stream_idle),
        entity_body_s: seconds("entity_body", &written.entity_body),
        drain_entity_body_s: seconds("drain_entity_body", &written.drain_entity_body),
        entity_body_rate: with("entity_body_rate", &written.entity_body_rate, units::rate),
        trace: written.trace,
    }
}

/// How long requests in progress may take during shutdown. The default of `compat = "http.sys"` is IIS's `shutdownTimeLimit`, 90
/// s; Weir's own, 30 s, is how long orchestrators usually wait before they kill.
pub(super) fn shutdown_limit(server: Option<&raw::Server>, faults: &Faults) -> Duration {
    const STRICT: u32 = 30;
    const HTTP_SYS: u32 = 90;
    let Some(server) = server else { return Duration::from_secs(STRICT.into()) };
    let profile = server.http.as_ref().and_then(|http| profile(&http.compat).ok()).flatten();
    let usual = if profile == Some(Profile::HttpSys) { HTTP_SYS } else { STRICT };
    let seconds = bounds::SHUTDOWN.read("shutdown_limit", server.shutdown_limit.as_ref());
    Duration::from_secs(faults.value(seconds).unwrap_or(usual).into())
}

fn profile(written: &Option<Spanned<String>>) -> Result<Option<Profile>> {
    let Some(written) = written else { return Ok(None) };
    match written.get_ref().as_str() {
        "strict" => Ok(Some(Profile::Strict)),
        "http.sys" => Ok(Some(Profile::HttpSys)),
        other => {
            Err((written.span().start, format!("compat {other:?}, expected \"strict\" or \"http.sys\"")))
        }
    }
}

/// Parses `nobody` of a prefix.
pub(super) fn nobody(written: &Spanned<String>) -> Result<Nobody> {
    match written.get_ref().as_str() {
        "reserved" => Ok(Nobody::Reserved),
        "unbound" => Ok(Nobody::Unbound),
        "disabled" => Ok(Nobody::Disabled),
        other => Err((
            written.span().start,
            format!("nobody {other:?}, expected \"reserved\", \"unbound\" or \"disabled\""),
        )),
    }
}
