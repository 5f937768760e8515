//! Validation of settings for bandwidth and limits: on the host when it checks a configuration, and in the
//! appliance before a change is applied.

use super::rate::BytesPerSec;
use core::fmt;
use model::settings::{Limits, RequestRate, Settings};

/// Largest weight of a site.
pub const WEIGHT_MAX: u32 = 10_000;

/// An invalid setting, of a site or, without one, of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowError {
    /// Index into [`Settings::sites`].
    pub site: Option<usize>,
    /// Which setting.
    pub field: FlowSetting,
    /// What is wrong.
    pub kind: FlowErrorKind,
}

/// A setting of bandwidth or limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the settings of the same names")]
pub enum FlowSetting {
    Rate,
    Ceil,
    Burst,
    Weight,
    ClientCeil,
    UploadCeil,
    ClientUploadCeil,
    Connections,
    ClientConnections,
    Requests,
    ClientRequests,
    MinSendRate,
    /// The list of sites.
    Sites,
}

/// What is wrong with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowErrorKind {
    /// A rate outside [`BytesPerSec::MIN`] to [`BytesPerSec::MAX`].
    Rate,
    /// A site's guaranteed rate exceeds its own ceiling.
    AboveCeil,
    /// The guarantees of this site and those before it exceed the server's ceiling together.
    AboveServer,
    /// 0 where nothing could pass.
    Zero,
    /// A weight above [`WEIGHT_MAX`].
    Weight,
    /// The number of sites differs from those being served.
    Count,
}

impl fmt::Display for FlowErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => write!(f, "expected {} to {} bytes per second", BytesPerSec::MIN, BytesPerSec::MAX),
            Self::AboveCeil => f.write_str("expected at most the site's ceil"),
            Self::AboveServer => {
                f.write_str("expected all guaranteed rates together to be at most the server's ceil")
            }
            Self::Zero => f.write_str("expected more than 0"),
            Self::Weight => write!(f, "expected 1 to {WEIGHT_MAX}"),
            Self::Count => f.write_str("expected the sites that are served"),
        }
    }
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.site {
            Some(site) => write!(f, "site {site}: {:?}: {}", self.field, self.kind),
            None => write!(f, "server: {:?}: {}", self.field, self.kind),
        }
    }
}

impl core::error::Error for FlowError {}

/// Checks all settings for bandwidth and limits.
pub fn check(settings: &Settings) -> Result<(), FlowError> {
    let server = &settings.server;
    let at_server = |(field, kind)| FlowError { site: None, field, kind };
    rate(FlowSetting::Ceil, server.bandwidth.ceil).map_err(at_server)?;
    rate(FlowSetting::UploadCeil, server.bandwidth.upload_ceil).map_err(at_server)?;
    limits(&server.limits).map_err(at_server)?;
    let mut guaranteed = 0_u64;
    for (index, site) in settings.sites.iter().enumerate() {
        let fail = |(field, kind)| FlowError { site: Some(index), field, kind };
        let b = &site.bandwidth;
        for (field, value) in [
            (FlowSetting::Rate, b.rate),
            (FlowSetting::Ceil, b.ceil),
            (FlowSetting::ClientCeil, b.client_ceil),
            (FlowSetting::UploadCeil, b.upload_ceil),
            (FlowSetting::ClientUploadCeil, b.client_upload_ceil),
        ] {
            rate(field, value).map_err(fail)?;
        }
        if b.burst == Some(0) {
            return Err(fail((FlowSetting::Burst, FlowErrorKind::Zero)));
        }
        if !(1..=WEIGHT_MAX).contains(&b.weight) {
            return Err(fail((FlowSetting::Weight, FlowErrorKind::Weight)));
        }
        if let (Some(rate), Some(ceil)) = (b.rate, b.ceil)
            && rate > ceil
        {
            return Err(fail((FlowSetting::Rate, FlowErrorKind::AboveCeil)));
        }
        guaranteed = guaranteed.saturating_add(b.rate.unwrap_or(0));
        if b.rate.is_some() && server.bandwidth.ceil.is_some_and(|ceil| guaranteed > ceil) {
            return Err(fail((FlowSetting::Rate, FlowErrorKind::AboveServer)));
        }
        limits(&site.limits).map_err(fail)?;
    }
    Ok(())
}

type FieldError = (FlowSetting, FlowErrorKind);

fn rate(field: FlowSetting, value: Option<u64>) -> Result<(), FieldError> {
    match value {
        Some(value) if BytesPerSec::new(value).is_none() => Err((field, FlowErrorKind::Rate)),
        _ => Ok(()),
    }
}

fn limits(limits: &Limits) -> Result<(), FieldError> {
    let positive =
        |field, value: Option<u32>| if value == Some(0) { Err((field, FlowErrorKind::Zero)) } else { Ok(()) };
    let requests = |field, value: Option<RequestRate>| match value {
        Some(RequestRate { requests, per_secs, burst }) if requests == 0 || per_secs == 0 || burst == 0 => {
            Err((field, FlowErrorKind::Zero))
        }
        _ => Ok(()),
    };
    positive(FlowSetting::Connections, limits.connections)?;
    positive(FlowSetting::ClientConnections, limits.client_connections)?;
    requests(FlowSetting::Requests, limits.requests)?;
    requests(FlowSetting::ClientRequests, limits.client_requests)?;
    // A floor of 0 disables it; there is no minimum.
    match limits.min_send_rate {
        Some(floor) if floor > BytesPerSec::MAX => Err((FlowSetting::MinSendRate, FlowErrorKind::Rate)),
        _ => Ok(()),
    }
}
