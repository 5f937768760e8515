//! Formatting of log lines.

use super::record::{Endpoints, Outcome, Record, Value};
use super::{Log, escape};
use crate::time::Instant;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use model::date::Civil;
use model::id::PoolId;
use model::log::{Field, Kind};
use model::reason::Reason;
use model::settings::LogFormat;

/// ERROR_NETNAME_DELETED: the client disconnected.
const NETNAME_DELETED: u16 = 64;
/// ERROR_SEM_TIMEOUT: a timer ended the connection.
const SEM_TIMEOUT: u16 = 121;

/// The time at which a line is written.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seconds since 1970-01-01 UTC.
    pub unix: u64,
    /// The same on the shard's clock.
    pub now: Instant,
}

/// Formats into a line. Cannot fail.
fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    struct Line<'l>(&'l mut Vec<u8>);
    impl fmt::Write for Line<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    let _ = fmt::write(&mut Line(out), text);
}

impl Log {
    /// Writes the access log line of a request.
    pub fn access(&mut self, record: &Record, endpoints: &Endpoints, outcome: &Outcome, moment: Moment) {
        let Some(settings) = self.settings.as_ref().filter(|settings| !settings.fields.is_empty()) else {
            return;
        };
        // No early return up to where the buffer is put back, or the next line would allocate another one.
        let mut line = core::mem::take(&mut self.line);
        line.clear();
        let entry =
            Entry { log: self, record, endpoints, outcome, moment, civil: Civil::from_unix(moment.unix) };
        match settings.format {
            LogFormat::W3c => entry.w3c(&settings.fields, &mut line),
            LogFormat::Json => entry.json(&settings.fields, &mut line),
        }
        self.spool.push(Kind::Access, &line);
        self.line = line;
    }

    /// Writes an error log line: `date time c-ip c-port s-ip s-port cs-version cs-method cs-uri sc-status
    /// s-siteid s-reason s-queuename`. `status`: `None` if no response is sent.
    pub fn error(
        &mut self,
        record: Option<&Record>,
        endpoints: &Endpoints,
        status: Option<u16>,
        reason: Reason,
        unix: u64,
    ) {
        if !self.settings.as_ref().is_some_and(|settings| settings.errors) {
            return;
        }
        let mut line = core::mem::take(&mut self.line);
        line.clear();
        let none = Record::default();
        let record = record.unwrap_or(&none);
        let civil = Civil::from_unix(unix);
        date(&civil, &mut line);
        line.push(b' ');
        time(&civil, &mut line);
        for (address, port) in [endpoints.client, endpoints.server] {
            put(&mut line, format_args!(" {address} {port}"));
        }
        line.push(b' ');
        version(record.version, &mut line);
        line.push(b' ');
        escape::w3c(record.get(Value::Method), &mut line);
        line.push(b' ');
        let uri = line.len();
        escape::w3c(record.get(Value::Stem), &mut line);
        if !record.get(Value::Query).is_empty() {
            line.push(b'?');
            escape::w3c(record.get(Value::Query), &mut line);
        }
        line.truncate(uri + 4096);
        match status {
            Some(status) => put(&mut line, format_args!(" {status} ")),
            None => line.extend_from_slice(b" - "),
        }
        match record.site {
            // IIS counts from 1.
            Some(site) => put(&mut line, format_args!("{}", site.index() + 1)),
            None => line.push(b'-'),
        }
        line.push(b' ');
        line.extend_from_slice(reason.as_str().as_bytes());
        line.push(b' ');
        let pool = record.pool.and_then(|pool| self.pools.get(pool.index()));
        escape::w3c(pool.map_or(&[], |name| name.as_bytes()), &mut line);
        self.spool.push(Kind::Error, &line);
        self.line = line;
    }
}

struct Entry<'l> {
    log: &'l Log,
    record: &'l Record,
    endpoints: &'l Endpoints,
    outcome: &'l Outcome,
    moment: Moment,
    civil: Civil,
}

impl Entry<'_> {
    fn w3c(&self, fields: &[Field], out: &mut Vec<u8>) {
        for (i, &field) in fields.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            match self.text(field) {
                Some(value) => escape::w3c(value, out),
                None => self.computed(field, out),
            }
        }
        // A line with this first character would be a directive.
        if let Some(first @ b'#') = out.first_mut() {
            *first = b'+';
        }
    }

    fn json(&self, fields: &[Field], out: &mut Vec<u8>) {
        out.push(b'{');
        for (i, &field) in fields.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            escape::json(field.name().as_bytes(), out);
            out.push(b':');
            if let Some(value) = self.text(field) {
                escape::json(value, out);
            } else if field.is_number() {
                self.computed(field, out);
            } else {
                // Dates, addresses and versions need no escaping.
                out.push(b'"');
                self.computed(field, out);
                out.push(b'"');
            }
        }
        out.push(b'}');
    }

    /// Values from clients or from the configuration.
    fn text(&self, field: Field) -> Option<&[u8]> {
        fn name(found: Option<&String>) -> &str {
            found.map_or("", String::as_str)
        }
        let pool = self.record.pool.map(PoolId::index);
        Some(match field {
            Field::Method => self.record.get(Value::Method),
            Field::UriStem => self.record.get(Value::Stem),
            Field::UriQuery => self.record.get(Value::Query),
            Field::UserAgent => self.record.get(Value::UserAgent),
            Field::Cookie => self.record.get(Value::Cookie),
            Field::Referer => self.record.get(Value::Referer),
            Field::Host => self.record.get(Value::Host),
            Field::UserName => b"",
            Field::ClientCertSubject => self.record.get(Value::CertSubject),
            Field::ClientCertSerial => self.record.get(Value::CertSerial),
            Field::ClientCertFingerprint => self.record.get(Value::CertFingerprint),
            Field::SiteName => {
                name(self.record.site.and_then(|site| self.log.sites.get(site.index()))).as_bytes()
            }
            Field::QueueName => name(pool.and_then(|pool| self.log.pools.get(pool))).as_bytes(),
            Field::ComputerName => name(self.log.settings.as_ref().map(|s| &s.computer)).as_bytes(),
            Field::Reason => self.outcome.reason.map_or("", Reason::as_str).as_bytes(),
            _ => return None,
        })
    }

    fn computed(&self, field: Field, out: &mut Vec<u8>) {
        let number = match field {
            Field::Date => return date(&self.civil, out),
            Field::Time => return time(&self.civil, out),
            Field::Version => return version(self.record.version, out),
            Field::ServerIp => return put(out, format_args!("{}", self.endpoints.server.0)),
            Field::ClientIp => return put(out, format_args!("{}", self.endpoints.client.0)),
            Field::ServerPort => self.endpoints.server.1.into(),
            Field::ClientPort => self.endpoints.client.1.into(),
            Field::Status => self.outcome.status.into(),
            Field::Win32Status => self.win32_status().into(),
            Field::BytesSent => self.outcome.sent,
            Field::BytesReceived => self.outcome.received,
            Field::TimeTaken => self.moment.now.since(self.record.began).as_millis() as u64,
            _ => 0,
        };
        put(out, format_args!("{number}"));
    }

    fn win32_status(&self) -> u16 {
        match self.outcome.reason {
            _ if self.outcome.complete => 0,
            Some(reason) if reason.is_timer() => SEM_TIMEOUT,
            _ => NETNAME_DELETED,
        }
    }
}

fn date(civil: &Civil, out: &mut Vec<u8>) {
    put(out, format_args!("{:04}-{:02}-{:02}", civil.year, civil.month, civil.day));
}

fn time(civil: &Civil, out: &mut Vec<u8>) {
    put(out, format_args!("{:02}:{:02}:{:02}", civil.hour, civil.minute, civil.second));
}

fn version(version: Option<(u8, u8)>, out: &mut Vec<u8>) {
    match version {
        Some((major, minor)) => put(out, format_args!("HTTP/{major}.{minor}")),
        None => out.push(b'-'),
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
