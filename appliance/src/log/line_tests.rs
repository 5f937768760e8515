use super::*;
use core::net::{IpAddr, Ipv4Addr};
use model::id::{PoolId, SiteId};
use model::settings::{self, Pool, Settings, Site};

fn log(format: LogFormat, fields: &[Field]) -> Log {
    let settings = Settings {
        sites: vec![Site { name: "demo".into(), ..Site::default() }],
        pools: vec![Pool { name: "app".into(), ..Pool::default() }],
        log: Some(settings::Log {
            port: 9,
            format,
            fields: fields.to_vec(),
            errors: true,
            computer: "edge-1".into(),
        }),
        ..Settings::default()
    };
    Log::new(&settings, 10_000)
}

fn record() -> Record {
    let mut record = Record::default();
    record.began = Instant::from_nanos(5_000_000);
    record.version = Some((1, 1));
    (record.site, record.pool) = (Some(SiteId(0)), Some(PoolId(0)));
    record.set(Value::Method, b"GET");
    record.set(Value::Stem, b"/a b");
    record.set(Value::Query, b"x=1");
    record.set(Value::Host, b"h:80");
    record.set(Value::UserAgent, b"curl/8 \"x\"\r\n2026-01-01 00:00:00 injected");
    record
}

const ENDS: Endpoints = Endpoints {
    client: (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), 50_000),
    server: (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80),
};
const MOMENT: Moment = Moment { unix: 784_111_777, now: Instant::from_nanos(17_900_000) };

fn line(log: Log) -> String {
    String::from_utf8(log.spool.unsent().to_vec()).unwrap().trim_end().to_owned()
}

fn access(format: LogFormat, fields: &[Field], outcome: Outcome) -> String {
    let mut log = log(format, fields);
    log.access(&record(), &ENDS, &outcome, MOMENT);
    line(log)
}

const FINE: Outcome = Outcome { status: 200, sent: 345, received: 67, reason: None, complete: true };

#[test]
fn the_default_fields_in_w3c_form() {
    assert_eq!(
        access(LogFormat::W3c, Field::DEFAULT, FINE),
        "a1994-11-06 08:49:37 10.0.0.1 GET /a+b x=1 80 - 10.0.0.9 \
         curl/8+\"x\"++2026-01-01+00:00:00+injected - 200 0 0 12"
    );
}

#[test]
fn all_fields_in_json_form() {
    let text = access(LogFormat::Json, Field::ALL, FINE);
    assert_eq!(
        text,
        concat!(
            r#"a{"date":"1994-11-06","time":"08:49:37","s-sitename":"demo","s-computername":"edge-1","s-ip":"10.0.0.1","#,
            r#""cs-method":"GET","cs-uri-stem":"/a b","cs-uri-query":"x=1","s-port":80,"cs-username":"","#,
            r#""c-ip":"10.0.0.9","c-port":50000,"cs-version":"HTTP/1.1","#,
            r#""cs(User-Agent)":"curl/8 \"x\"\u000d\u000a2026-01-01 00:00:00 injected","cs(Cookie)":"","cs(Referer)":"","#,
            r#""cs-host":"h:80","sc-status":200,"sc-substatus":0,"sc-win32-status":0,"sc-bytes":345,"cs-bytes":67,"#,
            r#""time-taken":12,"s-reason":"","s-queuename":"app","cs-cert-subject":"","cs-cert-serial":"","#,
            r#""cs-cert-fingerprint":""}"#
        )
    );
}

#[test]
fn an_incomplete_response_has_a_windows_error_code() {
    let status =
        |reason| access(LogFormat::W3c, &[Field::Win32Status], Outcome { reason, complete: false, ..FINE });
    assert_eq!(status(Some(Reason::TimerEntityBody)), "a121");
    assert_eq!(status(Some(Reason::ConnectionDropped)), "a64");
    assert_eq!(status(None), "a64");
}

#[test]
fn no_line_looks_like_a_directive() {
    let mut log = log(LogFormat::W3c, &[Field::Method]);
    let mut record = Record::default();
    record.set(Value::Method, b"#Fields:");
    log.access(&record, &ENDS, &FINE, MOMENT);
    assert_eq!(line(log), "a+Fields:");
}

#[test]
fn error_lines_have_the_documented_fields() {
    let error = |record: Option<&Record>, status, reason| {
        let mut log = log(LogFormat::W3c, &[]);
        log.error(record, &ENDS, status, reason, MOMENT.unix);
        line(log)
    };
    assert_eq!(
        error(Some(&record()), Some(503), Reason::QueueFull),
        "e1994-11-06 08:49:37 10.0.0.9 50000 10.0.0.1 80 HTTP/1.1 GET /a+b?x=1 503 1 QueueFull app"
    );
    for &reason in Reason::ALL {
        let line = error(None, None, reason);
        assert_eq!(
            line,
            format!("e1994-11-06 08:49:37 10.0.0.9 50000 10.0.0.1 80 - - - - - {reason} -"),
            "{reason:?}"
        );
    }
    let mut long = Record::default();
    long.set(Value::Method, &[b'M'; 400]);
    long.set(Value::Stem, &[b's'; 4090]);
    long.set(Value::Query, &[b'q'; 4090]);
    let line = error(Some(&long), Some(400), Reason::BadRequest);
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words.len(), words[7].len(), words[8].len()), (13, 255, 4096));
}

#[test]
fn disabled_logs_write_nothing() {
    let mut log = Log::new(&Settings::default(), 1000);
    log.access(&record(), &ENDS, &FINE, MOMENT);
    log.error(None, &ENDS, None, Reason::BadRequest, 0);
    assert!(log.spool.is_empty() && log.spool.dropped() == 0);
}
