//! `weir.toml` as it is written, before anything is checked.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) server: Option<Server>,
    #[serde(default)]
    pub(super) site: Vec<Spanned<Site>>,
    #[serde(default)]
    pub(super) pool: Vec<Spanned<Pool>>,
    pub(super) log: Option<Log>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) directory: Spanned<String>,
    pub(super) format: Option<Spanned<String>>,
    pub(super) fields: Option<Vec<Spanned<String>>>,
    pub(super) errors: Option<bool>,
    pub(super) computer: Option<Spanned<String>>,
    pub(super) rotate: Option<Spanned<String>>,
    pub(super) max_size: Option<Spanned<String>>,
    pub(super) keep: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) address: Option<Spanned<String>>,
    pub(super) gateway: Option<Spanned<String>>,
    pub(super) bandwidth: Option<ServerBandwidth>,
    pub(super) limits: Option<Limits>,
    pub(super) http: Option<Http>,
    pub(super) shutdown_limit: Option<Spanned<i64>>,
    pub(super) trusted_proxies: Option<Vec<Spanned<String>>>,
    pub(super) client_field: Option<Spanned<String>>,
    pub(super) proxy_protocol: Option<Vec<Spanned<i64>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) compat: Option<Spanned<String>>,
    pub(super) max_request_bytes: Option<Spanned<i64>>,
    pub(super) max_field_length: Option<Spanned<i64>>,
    pub(super) url_segment_max_length: Option<Spanned<i64>>,
    pub(super) url_segment_max_count: Option<Spanned<i64>>,
    pub(super) max_content: Option<Spanned<String>>,
    pub(super) header_wait: Option<Spanned<i64>>,
    pub(super) idle_connection: Option<Spanned<i64>>,
    pub(super) tunnel_idle: Option<Spanned<i64>>,
    pub(super) stream_idle: Option<Spanned<i64>>,
    pub(super) entity_body: Option<Spanned<i64>>,
    pub(super) drain_entity_body: Option<Spanned<i64>>,
    pub(super) entity_body_rate: Option<Spanned<String>>,
    pub(super) trace: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerBandwidth {
    pub(super) ceil: Option<Spanned<String>>,
    pub(super) upload_ceil: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteBandwidth {
    pub(super) rate: Option<Spanned<String>>,
    pub(super) ceil: Option<Spanned<String>>,
    pub(super) burst: Option<Spanned<String>>,
    pub(super) weight: Option<Spanned<i64>>,
    pub(super) client_ceil: Option<Spanned<String>>,
    pub(super) upload_ceil: Option<Spanned<String>>,
    pub(super) client_upload_ceil: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) connections: Option<Spanned<i64>>,
    pub(super) client_connections: Option<Spanned<i64>>,
    pub(super) requests: Option<Spanned<String>>,
    pub(super) requests_burst: Option<Spanned<i64>>,
    pub(super) client_requests: Option<Spanned<String>>,
    pub(super) client_requests_burst: Option<Spanned<i64>>,
    pub(super) min_send_rate: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) prefix: Vec<Spanned<Prefix>>,
    pub(super) bandwidth: Option<SiteBandwidth>,
    pub(super) limits: Option<Limits>,
    pub(super) http: Option<Http>,
    #[serde(default)]
    pub(super) certificate: Vec<Spanned<Certificate>>,
    pub(super) tls: Option<Spanned<Tls>>,
    pub(super) redirect_https: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prefix {
    pub(super) url: Spanned<String>,
    pub(super) files: Option<Spanned<String>>,
    pub(super) pool: Option<Spanned<String>>,
    pub(super) nobody: Option<Spanned<String>>,
    pub(super) client_certificates: Option<Spanned<String>>,
    pub(super) upgrade: Option<Vec<Spanned<String>>>,
    pub(super) pass_fields: Option<Vec<Spanned<String>>>,
    pub(super) paths: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) chain: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) dev: Vec<Spanned<String>>,
    pub(super) ocsp: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) tls12: Option<bool>,
    pub(super) resumption: Option<bool>,
    pub(super) client_certificates: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) client_ca: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) client_crl: Vec<Spanned<String>>,
    pub(super) hsts: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    pub(super) name: Spanned<String>,
    pub(super) queue_length: Option<Spanned<i64>>,
    pub(super) queue_timeout: Option<Spanned<i64>>,
    pub(super) response_timeout: Option<Spanned<i64>>,
    pub(super) verbosity: Option<Spanned<String>>,
    pub(super) requests_per_worker: Option<Spanned<i64>>,
    pub(super) response_head_bytes: Option<Spanned<i64>>,
    pub(super) response_fields: Option<Spanned<i64>>,
    pub(super) min_workers: Option<Spanned<i64>>,
    pub(super) max_workers: Option<Spanned<i64>>,
    pub(super) start_limit: Option<Spanned<i64>>,
    pub(super) stop_limit: Option<Spanned<i64>>,
    pub(super) idle_stop: Option<Spanned<i64>>,
    pub(super) ping: Option<Ping>,
    pub(super) rapid_fail: Option<RapidFail>,
    pub(super) recycle: Option<Recycle>,
    pub(super) orphan: Option<Spanned<Vec<String>>>,
    pub(super) tls: Option<PoolTls>,
    #[serde(default)]
    pub(super) worker: Vec<Spanned<Worker>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolTls {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) ca: Vec<Spanned<String>>,
    pub(super) certificate: Spanned<Certificate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ping {
    pub(super) interval: Option<Spanned<i64>>,
    pub(super) limit: Option<Spanned<i64>>,
    pub(super) path: Option<Spanned<String>>,
    pub(super) host: Option<Spanned<String>>,
    pub(super) expect: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RapidFail {
    pub(super) failures: Option<Spanned<i64>>,
    pub(super) interval: Option<Spanned<i64>>,
    pub(super) recover: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recycle {
    pub(super) age: Option<Spanned<i64>>,
    pub(super) requests: Option<Spanned<i64>>,
    pub(super) memory: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Worker {
    pub(super) kind: Spanned<String>,
    pub(super) image: Option<Spanned<String>>,
    pub(super) kernel: Option<Spanned<String>>,
    pub(super) initrd: Option<Spanned<String>>,
    pub(super) append: Option<Spanned<String>>,
    pub(super) memory: Option<Spanned<String>>,
    pub(super) at: Option<Spanned<String>>,
    pub(super) command: Option<Spanned<Vec<String>>>,
    pub(super) directory: Option<Spanned<String>>,
    pub(super) environment: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) instances: Option<Spanned<i64>>,
}
