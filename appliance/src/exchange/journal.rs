//! Collects what the logs record about the request in progress on a connection, and writes it at the right
//! time.
//!
//! A request has one line in the access log, written when its response is out or its connection ends. It has
//! at most one line in the error log, with the first reason. Connections that end without a request have a
//! line in the error log only.

use crate::budget::{Budget, Lease};
use crate::http::{RequestHead, Version};
use crate::log::line::Moment;
use crate::log::{Endpoints, Log, Outcome, Record, Value};
use crate::tcp::FlowKey;
use crate::time::Instant;
use crate::tls::{ClientCertificate, ClientStatus};
use alloc::boxed::Box;
use core::net::IpAddr;
use model::id::{PoolId, SiteId};
use model::reason::Reason;

/// Shared by all journals of a shard.
pub(crate) struct LogContext {
    pub(crate) log: Log,
    /// Memory for the records of requests in progress.
    records: Budget,
    moment: Moment,
}

impl LogContext {
    pub(crate) fn new(log: Log, records: Budget) -> Self {
        Self { log, records, moment: Moment { unix: 0, now: Instant::ZERO } }
    }

    /// Sets the time at the start of a turn of the shard.
    pub(crate) fn begin_turn(&mut self, now: Instant, unix: u64) {
        self.moment = Moment { unix, now };
    }
}

/// The journal of one connection. Takes no memory if nothing is logged.
#[derive(Default)]
pub(crate) struct Journal(Option<Box<Entry>>);

struct Entry {
    endpoints: Endpoints,
    /// Client that a trusted proxy named for the current request.
    client: Option<IpAddr>,
    /// When the first byte of the request arrived.
    began: Option<Instant>,
    record: Option<Box<Record>>,
    /// Memory for the values in the record.
    lease: Option<Lease>,
    outcome: Outcome,
}

impl Journal {
    /// Sets the addresses of the connection.
    pub(crate) fn set_endpoints(&mut self, key: &FlowKey, log: &Log) {
        if log.is_on() && self.0.is_none() {
            let endpoints =
                Endpoints { client: (key.remote, key.remote_port), server: (key.local, key.local_port) };
            let outcome = Outcome::default();
            self.0 = Some(Box::new(Entry {
                endpoints,
                client: None,
                began: None,
                record: None,
                lease: None,
                outcome,
            }));
        }
    }

    /// Replaces the client's address by the one in a PROXY protocol header.
    pub(crate) fn set_proxied_client(&mut self, client: (IpAddr, u16)) {
        if let Some(entry) = &mut self.0 {
            entry.endpoints.client = client;
        }
    }

    /// Replaces the client's address for the current request by the one a trusted proxy named. The logged
    /// port stays the connection's.
    pub(crate) fn set_forwarded_client(&mut self, client: IpAddr) {
        if let Some(entry) = &mut self.0 {
            entry.client = Some(client);
        }
    }

    /// Notes the time at which the first byte of a request arrived.
    pub(crate) fn note_first_byte(&mut self, logs: &LogContext) {
        if let Some(entry) = &mut self.0 {
            entry.began.get_or_insert(logs.moment.now);
        }
    }

    /// Begins the record of a complete head. `len`: its length in bytes; `client`: the client's certificate.
    pub(crate) fn begin_record(
        &mut self,
        head: &RequestHead<'_>,
        len: usize,
        client: Option<&ClientCertificate>,
        logs: &mut LogContext,
    ) {
        let Some(entry) = &mut self.0 else { return };
        let record = entry.begin(len, &mut logs.log);
        record.set(Value::Method, head.method.as_str().as_bytes());
        record.set(Value::Stem, head.raw_path().as_bytes());
        record.set(Value::Query, head.query().unwrap_or_default().as_bytes());
        record.set(Value::Host, head.host);
        for field in head.fields {
            let value = match field.name.len() {
                10 if field.is("user-agent") => Value::UserAgent,
                7 if field.is("referer") => Value::Referer,
                6 if field.is("cookie") => Value::Cookie,
                _ => continue,
            };
            record.set(value, field.value);
        }
        record.version = Some(match head.version {
            Version::Http10 => (1, 0),
            Version::Http11 => (1, 1),
        });
        if let Some(client) = client.filter(|client| client.status == ClientStatus::Verified) {
            record.set(Value::CertSubject, client.subject.as_bytes());
            record.set(Value::CertSerial, client.serial.as_bytes());
            record.set(Value::CertFingerprint, client.fingerprint.as_bytes());
        }
        entry.charge(&logs.records);
    }

    /// Begins the record of a refused head. `head`: the bytes received of it.
    pub(crate) fn begin_refused(&mut self, head: &[u8], logs: &mut LogContext) {
        if let Some(entry) = &mut self.0 {
            entry.begin(head.len(), &mut logs.log).read_refused(head);
            entry.charge(&logs.records);
        }
    }

    /// Records the site and pool that the request was routed to.
    pub(crate) fn routed(&mut self, site: SiteId, pool: Option<PoolId>) {
        if let Some(record) = self.0.as_mut().and_then(|entry| entry.record.as_mut()) {
            (record.site, record.pool) = (Some(site), pool);
        }
    }

    /// Records the status of the response.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(entry) = &mut self.0 {
            entry.outcome.status = status;
        }
    }

    /// Records why the request was refused or its connection ended. `status`: of the response, if there is
    /// one.
    pub(crate) fn refused(&mut self, status: Option<u16>, reason: Reason, logs: &mut LogContext) {
        let Some(entry) = &mut self.0 else { return };
        if entry.outcome.reason.is_some() {
            return;
        }
        entry.outcome.reason = Some(reason);
        if let Some(status) = status {
            entry.outcome.status = status;
        }
        logs.log.error(entry.record.as_deref(), &entry.endpoints(), status, reason, logs.moment.unix);
    }

    /// Ends the record and writes the access log line. `complete`: the whole response was sent; `sent` and
    /// `content` are in bytes.
    pub(crate) fn close(&mut self, complete: bool, (sent, content): (u64, u64), logs: &mut LogContext) {
        let Some(entry) = &mut self.0 else { return };
        entry.began = None;
        entry.lease = None;
        let mut outcome = core::mem::take(&mut entry.outcome);
        let endpoints = entry.endpoints();
        entry.client = None;
        let Some(record) = entry.record.take() else { return };
        outcome.complete = complete;
        outcome.sent = sent;
        outcome.received += content;
        logs.log.access(&record, &endpoints, &outcome, logs.moment);
        logs.log.recycle(record);
    }
}

impl Entry {
    fn endpoints(&self) -> Endpoints {
        let (address, port) = self.endpoints.client;
        Endpoints { client: (self.client.unwrap_or(address), port), server: self.endpoints.server }
    }

    fn begin(&mut self, len: usize, log: &mut Log) -> &mut Record {
        self.outcome = Outcome { received: len as u64, ..Outcome::default() };
        let mut record = log.record();
        record.began = self.began.take().unwrap_or_default();
        self.record.insert(record)
    }

    /// Charges the values to the memory budget, and drops them if there is no room.
    fn charge(&mut self, budget: &Budget) {
        let Some(record) = &mut self.record else { return };
        self.lease = budget.lease(record.len());
        if self.lease.is_none() {
            record.forget_values();
        }
    }
}
