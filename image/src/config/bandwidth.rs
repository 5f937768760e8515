//! `[server.bandwidth]`, `[site.bandwidth]` and both `limits`: from what is written to settings, and where in the file a
//! setting stands that `appliance::flow` refuses.

use super::{raw, units};
use appliance::flow::{Field, FlowError, FlowErrorKind, WEIGHT_MAX};
use appliance::settings::{Limits, RequestRate, ServerBandwidth, SiteBandwidth};
use toml::Spanned;

/// What is wrong, and at which byte of the file.
type Wrong = (usize, String);
type Result<T> = std::result::Result<T, Wrong>;

type Text = Option<Spanned<String>>;

pub(super) fn server(written: Option<&raw::ServerBandwidth>) -> Result<ServerBandwidth> {
    let Some(raw::ServerBandwidth { ceil, upload_ceil }) = written else {
        return Ok(ServerBandwidth::default());
    };
    Ok(ServerBandwidth { ceil: rate("ceil", ceil)?, upload_ceil: rate("upload_ceil", upload_ceil)? })
}

pub(super) fn site(written: Option<&raw::SiteBandwidth>) -> Result<SiteBandwidth> {
    let Some(written) = written else { return Ok(SiteBandwidth::default()) };
    let burst = with(&written.burst, |text| units::size("burst", text))?;
    let weight = match &written.weight {
        Some(weight) => u32::try_from(*weight.get_ref()).map_err(|_| {
            (weight.span().start, format!("weight {}, expected 1 to {WEIGHT_MAX}", weight.get_ref()))
        })?,
        None => SiteBandwidth::default().weight,
    };
    Ok(SiteBandwidth {
        rate: rate("rate", &written.rate)?,
        ceil: rate("ceil", &written.ceil)?,
        burst,
        weight,
        client_ceil: rate("client_ceil", &written.client_ceil)?,
        upload_ceil: rate("upload_ceil", &written.upload_ceil)?,
        client_upload_ceil: rate("client_upload_ceil", &written.client_upload_ceil)?,
    })
}

pub(super) fn limits(written: Option<&raw::Limits>) -> Result<Limits> {
    let Some(written) = written else { return Ok(Limits::default()) };
    Ok(Limits {
        connections: count("connections", &written.connections)?,
        client_connections: count("client_connections", &written.client_connections)?,
        requests: requests("requests", &written.requests, &written.requests_burst)?,
        client_requests: requests(
            "client_requests",
            &written.client_requests,
            &written.client_requests_burst,
        )?,
        min_send_rate: rate("min_send_rate", &written.min_send_rate)?,
    })
}

/// Where a refused setting stands, and what to say about it.
pub(super) fn explain(file: &raw::File, error: &FlowError) -> Wrong {
    let (bandwidth, server_bandwidth, limits) = match error.site.and_then(|index| file.site.get(index)) {
        Some(site) => (site.get_ref().bandwidth.as_ref(), None, site.get_ref().limits.as_ref()),
        None => match &file.server {
            Some(server) => (None, server.bandwidth.as_ref(), server.limits.as_ref()),
            None => (None, None, None),
        },
    };
    let text = |value: &Text| value.as_ref().map(|v| (v.span().start, format!("{:?}", v.get_ref())));
    let number =
        |value: &Option<Spanned<i64>>| value.as_ref().map(|v| (v.span().start, v.get_ref().to_string()));
    let site = |pick: fn(&raw::SiteBandwidth) -> &Text| bandwidth.and_then(|b| text(pick(b)));
    let server = |pick: fn(&raw::ServerBandwidth) -> &Text| server_bandwidth.and_then(|b| text(pick(b)));
    let (key, found) = match error.field {
        Field::Rate => ("rate", site(|b| &b.rate)),
        Field::Ceil => ("ceil", site(|b| &b.ceil).or(server(|b| &b.ceil))),
        Field::Burst => ("burst", site(|b| &b.burst)),
        Field::Weight => ("weight", bandwidth.and_then(|b| number(&b.weight))),
        Field::ClientCeil => ("client_ceil", site(|b| &b.client_ceil)),
        Field::UploadCeil => ("upload_ceil", site(|b| &b.upload_ceil).or(server(|b| &b.upload_ceil))),
        Field::ClientUploadCeil => ("client_upload_ceil", site(|b| &b.client_upload_ceil)),
        Field::Connections => ("connections", limits.and_then(|l| number(&l.connections))),
        Field::ClientConnections => {
            ("client_connections", limits.and_then(|l| number(&l.client_connections)))
        }
        Field::Requests => ("requests", limits.and_then(|l| zero_of(&l.requests, &l.requests_burst))),
        Field::ClientRequests => {
            ("client_requests", limits.and_then(|l| zero_of(&l.client_requests, &l.client_requests_burst)))
        }
        Field::MinSendRate => ("min_send_rate", limits.and_then(|l| text(&l.min_send_rate))),
        Field::Sites => ("site", None),
    };
    let (at, written) = found.unwrap_or_default();
    let expected = match error.kind {
        FlowErrorKind::Rate => "expected 1024 B/s to 1 TB/s".to_owned(),
        kind => kind.to_string(),
    };
    (at, format!("{key} {written}, {expected}"))
}

/// Of a rate of requests and its burst, the one that is 0.
fn zero_of(rate: &Text, burst: &Option<Spanned<i64>>) -> Option<(usize, String)> {
    match burst {
        Some(burst) if *burst.get_ref() == 0 => Some((burst.span().start, "burst 0".to_owned())),
        _ => rate.as_ref().map(|v| (v.span().start, format!("{:?}", v.get_ref()))),
    }
}

fn with<T>(value: &Text, parse: impl FnOnce(&str) -> std::result::Result<T, String>) -> Result<Option<T>> {
    value.as_ref().map(|v| parse(v.get_ref()).map_err(|what| (v.span().start, what))).transpose()
}

fn rate(key: &str, value: &Text) -> Result<Option<u64>> {
    with(value, |text| units::rate(key, text))
}

fn count(key: &str, value: &Option<Spanned<i64>>) -> Result<Option<u32>> {
    let wrong =
        |v: &Spanned<i64>| (v.span().start, format!("{key} {}, expected 1 to {}", v.get_ref(), u32::MAX));
    value.as_ref().map(|v| u32::try_from(*v.get_ref()).map_err(|_| wrong(v))).transpose()
}

fn requests(key: &str, value: &Text, burst: &Option<Spanned<i64>>) -> Result<Option<RequestRate>> {
    let burst_count = count(&format!("{key}_burst"), burst)?;
    match (value, burst) {
        (None, Some(burst)) => {
            Err((burst.span().start, format!("{key}_burst without {key}, expected both or neither")))
        }
        _ => with(value, |text| units::requests(key, text, burst_count)),
    }
}
