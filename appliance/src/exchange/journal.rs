//! What the logs will say about the request under way on a connection, and when they are told.
//!
//! A request has one line in the access log: when its response is out, or when the connection ends before that. It has at
//! most one line in the error log: the first reason there is. Connections that end without a request have a line in the
//! error log only.

use crate::budget::{Budget, Lease};
use crate::http::{RequestHead, Version};
use crate::log::line::Moment;
use crate::log::{Ends, Log, Outcome, Record, Value};
use crate::tcp::FlowKey;
use crate::time::Instant;
use crate::tls::{ClientCertificate, ClientStatus};
use alloc::boxed::Box;
use core::net::IpAddr;
use model::id::{PoolId, SiteId};
use model::reason::Reason;

/// What all journals of a shard write to.
pub(crate) struct Books {
    pub(crate) log: Log,
    /// For what logs will say about requests under way.
    records: Budget,
    moment: Moment,
}

impl Books {
    pub(crate) fn new(log: Log, records: Budget) -> Self {
        Self { log, records, moment: Moment { unix: 0, now: Instant::ZERO } }
    }

    /// A turn of the shard begins.
    pub(crate) fn begin(&mut self, now: Instant, unix: u64) {
        self.moment = Moment { unix, now };
    }
}

/// Of one connection. Takes no memory where nothing is logged.
#[derive(Default)]
pub(crate) struct Journal(Option<Box<Entry>>);

struct Entry {
    ends: Ends,
    /// For whom a trusted proxy sent the request under way, if it said so.
    client: Option<IpAddr>,
    /// When the first byte of the request came.
    began: Option<Instant>,
    record: Option<Box<Record>>,
    /// Of the values in the record.
    lease: Option<Lease>,
    outcome: Outcome,
}

impl Journal {
    /// Says whose journal it is.
    pub(crate) fn name(&mut self, key: &FlowKey, log: &Log) {
        if log.is_on() && self.0.is_none() {
            let ends = Ends { client: (key.remote, key.remote_port), server: (key.local, key.local_port) };
            let outcome = Outcome::default();
            self.0 =
                Some(Box::new(Entry { ends, client: None, began: None, record: None, lease: None, outcome }));
        }
    }

    /// The connection is passed on from there, as the PROXY protocol says.
    pub(crate) fn comes_from(&mut self, client: (IpAddr, u16)) {
        if let Some(entry) = &mut self.0 {
            entry.ends.client = client;
        }
    }

    /// A trusted proxy sent the request for this client. The port in the logs stays the connection's.
    pub(crate) fn is_for(&mut self, client: IpAddr) {
        if let Some(entry) = &mut self.0 {
            entry.client = Some(client);
        }
    }

    /// A byte of a request is there.
    pub(crate) fn see(&mut self, books: &Books) {
        if let Some(entry) = &mut self.0 {
            entry.began.get_or_insert(books.moment.now);
        }
    }

    /// A head is complete. `len`: its bytes; `client`: the certificate of whoever sent it.
    pub(crate) fn open(
        &mut self,
        head: &RequestHead<'_>,
        len: usize,
        client: Option<&ClientCertificate>,
        books: &mut Books,
    ) {
        let Some(entry) = &mut self.0 else { return };
        let record = entry.begin(len, &mut books.log);
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
        entry.account(&books.records);
    }

    /// A head was refused. `head`: what there is of it.
    pub(crate) fn open_refused(&mut self, head: &[u8], books: &mut Books) {
        if let Some(entry) = &mut self.0 {
            entry.begin(head.len(), &mut books.log).read_refused(head);
            entry.account(&books.records);
        }
    }

    /// It was routed to this site.
    pub(crate) fn routed(&mut self, site: SiteId, pool: Option<PoolId>) {
        if let Some(record) = self.0.as_mut().and_then(|entry| entry.record.as_mut()) {
            (record.site, record.pool) = (Some(site), pool);
        }
    }

    /// It is answered with this status.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(entry) = &mut self.0 {
            entry.outcome.status = status;
        }
    }

    /// The request is refused or its connection ended, and why. `status`: of the response, if there is one.
    pub(crate) fn refused(&mut self, status: Option<u16>, reason: Reason, books: &mut Books) {
        let Some(entry) = &mut self.0 else { return };
        if entry.outcome.reason.is_some() {
            return;
        }
        entry.outcome.reason = Some(reason);
        if let Some(status) = status {
            entry.outcome.status = status;
        }
        books.log.error(entry.record.as_deref(), &entry.ends(), status, reason, books.moment.unix);
    }

    /// The request is done with. `complete`: its response went out whole.
    pub(crate) fn close(&mut self, complete: bool, (sent, content): (u64, u64), books: &mut Books) {
        let Some(entry) = &mut self.0 else { return };
        entry.began = None;
        entry.lease = None;
        let mut outcome = core::mem::take(&mut entry.outcome);
        let ends = entry.ends();
        entry.client = None;
        let Some(record) = entry.record.take() else { return };
        outcome.complete = complete;
        outcome.sent = sent;
        outcome.received += content;
        books.log.access(&record, &ends, &outcome, books.moment);
        books.log.recycle(record);
    }
}

impl Entry {
    fn ends(&self) -> Ends {
        let (address, port) = self.ends.client;
        Ends { client: (self.client.unwrap_or(address), port), server: self.ends.server }
    }

    fn begin(&mut self, len: usize, log: &mut Log) -> &mut Record {
        self.outcome = Outcome { received: len as u64, ..Outcome::default() };
        let mut record = log.record();
        record.began = self.began.take().unwrap_or_default();
        self.record.insert(record)
    }

    /// Values are memory: where there is none, the line has none.
    fn account(&mut self, budget: &Budget) {
        let Some(record) = &mut self.record else { return };
        self.lease = budget.lease(record.len());
        if self.lease.is_none() {
            record.forget_values();
        }
    }
}
