//! `[server.bandwidth]`, `[site.bandwidth]` and both `limits`: converts them to settings, and maps errors of `appliance::flow`
//! back to positions in the file.

use super::error::{Fault, Faults};
use super::{raw, units};
use appliance::flow::{FlowError, FlowErrorKind, FlowSetting, WEIGHT_MAX};
use model::settings::{Limits, RequestRate, ServerBandwidth, Settings, SiteBandwidth};
use toml::Spanned;

type Result<T> = std::result::Result<T, Fault>;

type Text = Option<Spanned<String>>;

pub(super) fn server(written: Option<&raw::ServerBandwidth>, faults: &Faults) -> ServerBandwidth {
    let Some(raw::ServerBandwidth { ceil, upload_ceil }) = written else {
        return ServerBandwidth::default();
    };
    ServerBandwidth {
        ceil: faults.value(rate("ceil", ceil)),
        upload_ceil: faults.value(rate("upload_ceil", upload_ceil)),
    }
}

pub(super) fn site(written: Option<&raw::SiteBandwidth>, faults: &Faults) -> SiteBandwidth {
    let Some(written) = written else { return SiteBandwidth::default() };
    let rate = |key, value| faults.value(rate(key, value));
    let weight = written.weight.as_ref().and_then(|weight| {
        let wrong =
            |_| (weight.span().start, format!("weight {}, expected 1 to {WEIGHT_MAX}", weight.get_ref()));
        faults.ok(u32::try_from(*weight.get_ref()).map_err(wrong))
    });
    SiteBandwidth {
        rate: rate("rate", &written.rate),
        ceil: rate("ceil", &written.ceil),
        burst: faults.value(with(&written.burst, |text| units::size("burst", text))),
        weight: weight.unwrap_or(SiteBandwidth::default().weight),
        client_ceil: rate("client_ceil", &written.client_ceil),
        upload_ceil: rate("upload_ceil", &written.upload_ceil),
        client_upload_ceil: rate("client_upload_ceil", &written.client_upload_ceil),
    }
}

pub(super) fn limits(written: Option<&raw::Limits>, faults: &Faults) -> Limits {
    let Some(written) = written else { return Limits::default() };
    let count = |key, value| faults.value(count(key, value));
    let requests = |key, value, burst| faults.value(requests(key, value, burst));
    Limits {
        connections: count("connections", &written.connections),
        client_connections: count("client_connections", &written.client_connections),
        requests: requests("requests", &written.requests, &written.requests_burst),
        client_requests: requests(
            "client_requests",
            &written.client_requests,
            &written.client_requests_burst,
        ),
        min_send_rate: faults.value(rate("min_send_rate", &written.min_send_rate)),
    }
}

/// Removes a rejected setting, so that the next error is found. False if it cannot be removed.
pub(super) fn leave_out(settings: &mut Settings, error: &FlowError) -> bool {
    let Some(index) = error.site else {
        let server = &mut settings.server;
        match error.field {
            FlowSetting::Ceil => server.bandwidth.ceil = None,
            FlowSetting::UploadCeil => server.bandwidth.upload_ceil = None,
            field => return no_limit(&mut server.limits, field),
        }
        return true;
    };
    let Some(site) = settings.sites.get_mut(index) else { return false };
    let bandwidth = &mut site.bandwidth;
    match error.field {
        FlowSetting::Rate => bandwidth.rate = None,
        FlowSetting::Ceil => bandwidth.ceil = None,
        FlowSetting::Burst => bandwidth.burst = None,
        FlowSetting::Weight => bandwidth.weight = SiteBandwidth::default().weight,
        FlowSetting::ClientCeil => bandwidth.client_ceil = None,
        FlowSetting::UploadCeil => bandwidth.upload_ceil = None,
        FlowSetting::ClientUploadCeil => bandwidth.client_upload_ceil = None,
        field => return no_limit(&mut site.limits, field),
    }
    true
}

fn no_limit(limits: &mut Limits, field: FlowSetting) -> bool {
    match field {
        FlowSetting::Connections => limits.connections = None,
        FlowSetting::ClientConnections => limits.client_connections = None,
        FlowSetting::Requests => limits.requests = None,
        FlowSetting::ClientRequests => limits.client_requests = None,
        FlowSetting::MinSendRate => limits.min_send_rate = None,
        _ => return false,
    }
    true
}

/// Position and message of a rejected setting.
pub(super) fn explain(file: &raw::File, error: &FlowError) -> Fault {
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
        FlowSetting::Rate => ("rate", site(|b| &b.rate)),
        FlowSetting::Ceil => ("ceil", site(|b| &b.ceil).or(server(|b| &b.ceil))),
        FlowSetting::Burst => ("burst", site(|b| &b.burst)),
        FlowSetting::Weight => ("weight", bandwidth.and_then(|b| number(&b.weight))),
        FlowSetting::ClientCeil => ("client_ceil", site(|b| &b.client_ceil)),
        FlowSetting::UploadCeil => ("upload_ceil", site(|b| &b.upload_ceil).or(server(|b| &b.upload_ceil))),
        FlowSetting::ClientUploadCeil => ("client_upload_ceil", site(|b| &b.client_upload_ceil)),
        FlowSetting::Connections => ("connections", limits.and_then(|l| number(&l.connections))),
        FlowSetting::ClientConnections => {
            ("client_connections", limits.and_then(|l| number(&l.client_connections)))
        }
        FlowSetting::Requests => ("requests", limits.and_then(|l| zero_of(&l.requests, &l.requests_burst))),
        FlowSetting::ClientRequests => {
            ("client_requests", limits.and_then(|l| zero_of(&l.client_requests, &l.client_requests_burst)))
        }
        FlowSetting::MinSendRate => ("min_send_rate", limits.and_then(|l| text(&l.min_send_rate))),
        FlowSetting::Sites => ("site", None),
    };
    let (at, written) = found.unwrap_or_default();
    let expected = match error.kind {
        FlowErrorKind::Rate => "expected 1024 B/s to 1 TB/s".to_owned(),
        kind => kind.to_string(),
    };
    (at, format!("{key} {written}, {expected}"))
}

/// Whichever of a request rate and its burst is 0.
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
