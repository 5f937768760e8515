//! Configurations in a directory with `www/`, `www/a.html` and `app.elf`.

mod errors;
mod pools;

use super::*;
use model::id::PoolId;
use model::settings::Handler;
use std::path::Path;

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    std::fs::create_dir(dir.path().join("www")).expect("directory");
    std::fs::write(dir.path().join("www/a.html"), "a").expect("file");
    std::fs::write(dir.path().join("app.elf"), "").expect("file");
    dir
}

pub(super) fn check_text(text: &str) -> Result<Config, ConfigError> {
    check_in(&directory(), text)
}

/// The configuration, or the first error.
fn check_in(dir: &tempfile::TempDir, text: &str) -> Result<Config, ConfigError> {
    check_all(dir, text).map_err(|errors| errors.0.into_iter().next().expect("an error"))
}

fn check_all(dir: &tempfile::TempDir, text: &str) -> Result<Config, ConfigErrors> {
    let path = dir.path().join("weir.toml");
    std::fs::write(&path, text).expect("file");
    check(&path)
}

pub(super) const SITE: &str =
    "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\n";
const POOL: &str = "[[pool]]\nname = \"p\"\n[[pool.worker]]\n";

/// Expected line, column, and beginning of the error.
pub(super) type Case<'a> = (&'a str, (usize, usize), &'a str);

pub(super) fn refuse(prefix: &str, cases: &[Case]) {
    for (text, at, what) in cases {
        let errors = check_all(&directory(), &format!("{prefix}{text}")).expect_err(text);
        let is = |e: &ConfigError| e.at == Some(*at) && e.what.starts_with(what);
        assert!(errors.0.iter().any(is), "{text}: {errors}");
        for error in &errors.0 {
            assert!(!error.to_string().contains('\n') && error.what.contains("expected"), "{error}");
        }
    }
}

#[test]
fn a_whole_configuration() {
    let dir = directory();
    let config = check_in(
        &dir,
        r#"
        [server]
        address = "10.0.2.15/24"
        gateway = "10.0.2.2"
        [[site]]
        name = "demo"
        [[site.prefix]]
        url = "http://WWW.Example.org:8080/"
        files = "www"
        [[site.prefix]]
        url = "http://*:80/api/"
        pool = "app"
        [[site]]
        name = "same-files"
        [[site.prefix]]
        url = "http://+:80/"
        files = "./www/../www"
        [[pool]]
        name = "app"
        [[pool.worker]]
        kind = "vm"
        image = "worker"
        memory = "32M"
        [[pool.worker]]
        kind = "address"
        at = "vsock:3:8080"
        [[pool.worker]]
        kind = "address"
        at = "tcp:[::1]:9000"
        [[pool.worker]]
        kind = "address"
        at = "unix:/run/app"
        [[pool.worker]]
        kind = "vm"
        image = "app.elf"
        memory = "1G"
        [[pool.worker]]
        kind = "vm"
        kernel = "app.elf"
        initrd = "./app.elf"
        append = "loglevel=7 weir"
        memory = "128M"
    "#,
    )
    .expect("right");
    assert_eq!(config.ports(), [80, 8080]);
    assert_eq!(config.trees.len(), 1);
    let prefix = |site: usize, n: usize| &config.sites[site].prefixes[n];
    assert_eq!(
        (prefix(0, 0).url.as_str(), prefix(0, 0).handler),
        ("http://www.example.org:8080/", Handler::Files(0))
    );
    assert_eq!(
        (prefix(0, 1).url.as_str(), prefix(0, 1).handler),
        ("http://*:80/api/", Handler::Pool(PoolId(0)))
    );
    assert_eq!(prefix(1, 0).handler, Handler::Files(0));
    let workers = &config.pools[0].workers;
    assert_eq!(workers[0].kind, WorkerKind::Vm { image: VmImage::Worker, memory_mib: 32 });
    assert_eq!(workers[2].kind, WorkerKind::Address(Address::Tcp { host: "::1".into(), port: 9000 }));
    assert_eq!(workers[3].kind, WorkerKind::Address(Address::Unix("/run/app".into())));
    assert!(
        matches!(&workers[4].kind, WorkerKind::Vm { image: VmImage::Elf(p), memory_mib: 1024 } if p.ends_with("app.elf"))
    );
    let WorkerKind::Vm { image: VmImage::Linux { kernel, initrd, append }, memory_mib: 128 } =
        &workers[5].kind
    else {
        panic!("{:?}", workers[5])
    };
    assert!(kernel.ends_with("app.elf") && initrd.ends_with("app.elf") && append == "loglevel=7 weir");

    let settings = config.settings();
    let address = settings.server.address.expect("static");
    assert_eq!(
        (address.address, address.prefix_len, address.gateway),
        ([10, 0, 2, 15], 24, Some([10, 0, 2, 2]))
    );
    let dialled = settings::Worker { cid: 3, port: 8080 };
    assert_eq!(settings.pools[0].workers, [dialled], "the supervisor tells the others' addresses");
    assert_eq!(settings.sites[0].prefixes[0].url, "http://www.example.org:8080/");

    let bytes = crate::bundle(&config).expect("readable");
    let bundle = model::bundle::Bundle::parse(&bytes).expect("right");
    assert_eq!(bundle.manifest.settings, settings);
    assert_eq!(bundle.content(&bundle.manifest.files[0]), Some(&b"a"[..]));
}

#[test]
fn server_addresses() {
    let with = |rest: &str| format!("[server]\n{rest}");
    for (rest, at, what) in [
        ("address = \"10.0.2.15\"", (2, 11), "address \"10.0.2.15\", expected an IPv4 address with"),
        ("address = \"10.0.2.15/33\"", (2, 11), "address \"10.0.2.15/33\", expected"),
        ("address = \"10.0.2.15/08\"", (2, 11), "address \"10.0.2.15/08\", expected"),
        ("address = \"::1/64\"", (2, 11), "address \"::1/64\", expected"),
        ("address = \"127.0.0.1/8\"", (2, 11), "address 127.0.0.1, expected"),
        ("gateway = \"10.0.2.2\"", (2, 11), "gateway without address"),
        ("address = \"10.0.2.15/24\"\ngateway = \"x\"", (3, 11), "gateway \"x\", expected"),
        (
            "address = \"10.0.2.15/24\"\ngateway = \"10.0.3.2\"",
            (3, 11),
            "gateway 10.0.3.2, expected another host in",
        ),
        (
            "address = \"10.0.2.15/24\"\ngateway = \"10.0.2.15\"",
            (3, 11),
            "gateway 10.0.2.15, expected another host",
        ),
    ] {
        refuse("", &[(&format!("{}\n{SITE}", with(rest)), at, what)]);
    }
}

#[test]
fn sites_and_prefixes() {
    refuse(
        "[[site]]\nname = \"a\"\n",
        &[
            ("", (1, 1), "site without URL prefix"),
            ("[[site.prefix]]\nurl = \"http://*:80/\"\n", (3, 1), "prefix without files or pool"),
            (
                "[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\npool = \"p\"\n",
                (6, 8),
                "files and pool",
            ),
            (
                "[[site.prefix]]\nurl = \"http://*:80/\"\npool = \"p\"\n",
                (5, 8),
                "unknown pool \"p\", expected",
            ),
        ],
    );
    refuse(
        "[[site]]\nname = \"a\"\n[[site.prefix]]\nfiles = \"www\"\n",
        &[
            ("url = \"https://*:443/\"\n", (5, 7), "https without a certificate"),
            ("url = \"http://[::1:80/\"\n", (5, 15), "malformed IP address"),
            ("url = \"http://xn--a.example:80/\"\n", (5, 15), "host \"xn--a.example\""),
            ("url = \"HTTP://*:80/\"\n", (5, 8), "not a URL prefix"),
            ("url = \"http://*:080/\"\n", (5, 17), "port, expected"),
            ("url = \"http://*:65536/\"\n", (5, 17), "port, expected"),
            ("url = \"http://*:80/a\"\n", (5, 21), "path, expected `/` at its end"),
        ],
    );
    let file = SITE.replace("www", "www/a.html");
    let missing = SITE.replace("www", "wwww");
    let twice = format!("{SITE}[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\n");
    refuse("", &[(&missing, (5, 9), "/"), (&file, (5, 9), "/"), (&twice, (7, 7), "duplicate URL prefix")]);
    refuse(SITE, &[(SITE, (7, 8), "duplicate name \"a\"")]);
    refuse("", &[(&SITE.replace("\"a\"", "\"a b\""), (2, 8), "name \"a b\", expected 1 to 63")]);
}

#[test]
fn bandwidth_and_limits() {
    let config = check_text(&format!(
        "[server.bandwidth]\nceil = \"100 Mbit/s\"\n[server.limits]\nclient_connections = 50\n{SITE}\
         [site.bandwidth]\nrate = \"2 MB/s\"\nceil = \"4 MB/s\"\nburst = \"64 KiB\"\nweight = 3\n\
         client_ceil = \"512 KiB/s\"\nupload_ceil = \"1 MiB/s\"\n[site.limits]\nconnections = 10\n\
         requests = \"90/min\"\nclient_requests = \"2/s\"\nclient_requests_burst = 20\nmin_send_rate = \"240 B/s\"\n"
    ))
    .expect("right");
    let settings = config.settings();
    assert_eq!(settings.server.bandwidth.ceil, Some(12_500_000));
    assert_eq!(settings.server.limits.client_connections, Some(50));
    let (bandwidth, limits) = (settings.sites[0].bandwidth, settings.sites[0].limits);
    assert_eq!((bandwidth.rate, bandwidth.ceil), (Some(2_000_000), Some(4_000_000)));
    assert_eq!((bandwidth.burst, bandwidth.weight, bandwidth.client_ceil), (Some(65_536), 3, Some(524_288)));
    assert_eq!((bandwidth.upload_ceil, bandwidth.client_upload_ceil), (Some(1 << 20), None));
    let rate = |requests, per_secs, burst| Some(settings::RequestRate { requests, per_secs, burst });
    assert_eq!((limits.requests, limits.client_requests), (rate(90, 60, 2), rate(2, 1, 20)));
    assert_eq!((limits.connections, limits.min_send_rate), (Some(10), Some(240)));
}

#[test]
fn what_bandwidth_cannot_be() {
    let site = format!("{SITE}[site.bandwidth]\n");
    refuse(
        &site,
        &[
            ("ceil = \"1000 B/s\"\n", (7, 8), "ceil \"1000 B/s\", expected 1024 B/s to"),
            ("rate = \"8 kbit/s\"\n", (7, 8), "rate \"8 kbit/s\", expected 1024 B/s to"),
            ("ceil = \"5 parsecs\"\n", (7, 8), "ceil \"5 parsecs\", expected a number with B/s"),
            ("burst = \"0 B\"\n", (7, 9), "burst \"0 B\", expected more than 0"),
            ("burst = \"1 kB/s\"\n", (7, 9), "burst \"1 kB/s\", expected a number with B"),
            ("weight = 0\n", (7, 10), "weight 0, expected 1 to 10000"),
            ("weight = -1\n", (7, 10), "weight -1, expected 1 to 10000"),
            ("weight = 10001\n", (7, 10), "weight 10001, expected 1 to 10000"),
            ("weight = 1.5\n", (7, 10), "invalid type: floating point `1.5`, expected"),
            ("ceil = 5\n", (7, 8), "invalid type: integer `5`, expected"),
            ("ceiling = \"1 MB/s\"\n", (7, 1), "unknown field `ceiling`, expected"),
            (
                "ceil = \"1 MB/s\"\nrate = \"2 MB/s\"\n",
                (8, 8),
                "rate \"2 MB/s\", expected at most the site's ceil",
            ),
            ("client_upload_ceil = \"1 B/s\"\n", (7, 22), "client_upload_ceil \"1 B/s\", expected 1024"),
        ],
    );
    let limits = format!("{SITE}[site.limits]\n");
    refuse(
        &limits,
        &[
            ("connections = 0\n", (7, 15), "connections 0, expected more than 0"),
            ("client_connections = -3\n", (7, 22), "client_connections -3, expected 1 to"),
            ("requests = \"5\"\n", (7, 12), "requests \"5\", expected a whole number with /s"),
            ("requests = \"0/s\"\nrequests_burst = 1\n", (7, 12), "requests \"0/s\", expected more than 0"),
            ("requests = \"5/s\"\nrequests_burst = 0\n", (8, 18), "requests burst 0, expected more than 0"),
            ("requests_burst = 5\n", (7, 18), "requests_burst without requests, expected"),
        ],
    );
    // Guarantees of two sites that exceed the server's ceiling: the one that exceeds it is reported.
    let second = SITE.replace("\"a\"", "\"b\"").replace(":80/", ":81/");
    refuse(
        &format!(
            "[server.bandwidth]\nceil = \"3 MB/s\"\n{SITE}[site.bandwidth]\nrate = \"2 MB/s\"\n{second}"
        ),
        &[(
            "[site.bandwidth]\nrate = \"1001 kB/s\"\n",
            (16, 8),
            "rate \"1001 kB/s\", expected all guaranteed rates",
        )],
    );
    refuse("[server.bandwidth]\n", &[("ceil = \"1 B/s\"\n[[site]]\n", (3, 1), "missing field")]);
    let text = format!("[server.bandwidth]\nceil = \"1 B/s\"\n{SITE}");
    assert_eq!(check_text(&text).expect_err("too low").at, Some((2, 8)));
}

#[test]
fn logs() {
    let config = check_text(&format!("{SITE}[log]\ndirectory = \"logs\"\n")).expect("valid");
    let log = config.log.expect("a log");
    assert!(log.directory.ends_with("logs") && log.directory.is_absolute());
    assert_eq!((log.rotate, log.max_size, log.keep), (Rotate::Day, 64 << 20, 0));
    assert_eq!(log.settings.fields, model::log::Field::DEFAULT);
    let text = "[log]\ndirectory = \"/l\"\nformat = \"json\"\nfields = [\"c-ip\", \"sc-status\"]\nerrors = false\n\
                computer = \"edge\"\nrotate = \"hour\"\nmax_size = \"2 MiB\"\nkeep = 3\n";
    let settings = check_text(&format!("{SITE}{text}")).expect("valid").settings().log.expect("a log");
    assert_eq!((settings.port, settings.fields.len(), settings.errors), (LOG_PORT, 2, false));
    refuse(
        SITE,
        &[
            ("[log]\n", (6, 1), "missing field `directory`"),
            ("[log]\ndirectory = \"\"\n", (7, 13), "directory \"\""),
            ("[log]\ndirectory = \"l\"\nformat = \"xml\"\n", (8, 10), "format \"xml\""),
            (
                "[log]\ndirectory = \"l\"\nfields = [\"c-ip\", \"nonsense\"]\n",
                (8, 19),
                "field \"nonsense\" is unknown",
            ),
            (
                "[log]\ndirectory = \"l\"\nfields = [\"c-ip\", \"c-ip\"]\n",
                (8, 19),
                "field \"c-ip\" is listed twice",
            ),
            ("[log]\ndirectory = \"l\"\nrotate = \"never\"\n", (8, 10), "rotate \"never\""),
            ("[log]\ndirectory = \"l\"\nmax_size = \"5 kB\"\n", (8, 12), "max_size \"5 kB\""),
            ("[log]\ndirectory = \"l\"\nkeep = -1\n", (8, 8), "keep -1"),
            ("[log]\ndirectory = \"l\"\ncomputer = \"a b\"\n", (8, 12), "computer \"a b\""),
        ],
    );
}

#[test]
fn hosts_in_unicode_and_prefixes_bound_to_addresses() {
    let config = |server: &str, url: &str| {
        let site = "[[site]]\nname = \"a\"\n[[site.prefix]]\nnobody = \"reserved\"\n";
        check_text(&format!("{server}{site}url = \"{url}\"\n"))
    };
    let ours = "[server]\naddress = \"10.0.2.15/24\"\n";
    for (server, url, canonical, warned) in [
        ("", "http://*.Bücher.example:80/", "http://*.xn--bcher-kva.example:80/", None),
        (ours, "http://10.0.2.15:80/", "http://10.0.2.15:80/", None),
        ("", "http://10.0.2.16:80/", "http://10.0.2.16:80/", None),
        (ours, "http://10.0.2.16:80/", "http://10.0.2.16:80/", Some("the appliance has 10.0.2.15")),
        (
            "",
            "http://[2001:DB8:0::1]:80/",
            "http://[2001:db8::1]:80/",
            Some("the appliance has no IPv6 address"),
        ),
    ] {
        let config = config(server, url).expect(url);
        assert_eq!(config.sites[0].prefixes[0].url, canonical);
        let warning = config.warnings.first().map(|warning| warning.what.clone());
        assert_eq!(warning.is_some(), warned.is_some(), "{url}: {warning:?}");
        assert!(warning.unwrap_or_default().ends_with(warned.unwrap_or_default()));
    }
    // Different spellings of the same host and the same address.
    for (one, other) in [
        ("http://bücher.example:80/", "http://XN--BCHER-KVA.example:80/"),
        ("http://[::ffff]:80/", "http://[0:0::0:FFFF]:80/"),
    ] {
        let second = format!("{one}\"\n[[site.prefix]]\nnobody = \"reserved\"\nurl = \"{other}");
        let error = config("", &second).expect_err(other);
        assert_eq!((error.what.split(',').next(), error.at), (Some("duplicate URL prefix"), Some((8, 7))));
    }
}

#[test]
fn limits_and_timers_by_their_names() {
    let text = "[server]\n[server.http]\ncompat = \"http.sys\"\nmax_request_bytes = 65536\nmax_content = \"30 MB\"\n\
                header_wait = 15\nentity_body_rate = \"1 kB/s\"\n";
    let settings =
        check_text(&format!("{text}{SITE}[site.http]\nmax_field_length = 64\n")).expect("valid").settings();
    let http = settings.server.http;
    assert_eq!((http.profile, http.max_request_bytes), (Some(settings::Profile::HttpSys), Some(65_536)));
    assert_eq!(
        (http.max_content, http.header_wait_s, http.entity_body_rate),
        (Some(30_000_000), Some(15), Some(1000))
    );
    assert_eq!((settings.sites[0].http.max_field_length, settings.sites[0].http.profile), (Some(64), None));
    for (server, seconds) in [
        ("", 30),
        ("[server]\nshutdown_limit = 0\n", 0),
        ("[server.http]\ncompat = \"http.sys\"\n", 90),
        ("[server]\nshutdown_limit = 5\n[server.http]\ncompat = \"http.sys\"\n", 5),
    ] {
        let config = check_text(&format!("{server}{SITE}")).expect("valid");
        assert_eq!(config.shutdown_limit, std::time::Duration::from_secs(seconds), "{server}");
    }
    let negative = format!("[server]\nshutdown_limit = -1\n{SITE}");
    refuse("", &[(&negative, (2, 18), "shutdown_limit -1, expected 0 to 65535 seconds")]);
    refuse(
        SITE,
        &[
            ("[site.http]\ncompat = \"iis\"\n", (7, 10), "compat \"iis\""),
            (
                "[site.http]\nmax_request_bytes = 255\n",
                (7, 21),
                "max_request_bytes 255, expected 256 to 16777216",
            ),
            (
                "[site.http]\nmax_field_length = 65535\n",
                (7, 20),
                "max_field_length 65535, expected 64 to 65534",
            ),
            ("[site.http]\nurl_segment_max_length = 0\n", (7, 26), "url_segment_max_length 0"),
            ("[site.http]\nurl_segment_max_count = 16384\n", (7, 25), "url_segment_max_count 16384"),
            ("[site.http]\nheader_wait = 0\n", (7, 15), "header_wait 0, expected 1 to 65535 seconds"),
            ("[site.http]\nmax_content = \"much\"\n", (7, 15), "max_content \"much\""),
            ("[[site.prefix]]\nurl = \"http://a:80/\"\nnobody = \"x\"\n", (8, 10), "nobody \"x\""),
            (
                "[[site.prefix]]\nurl = \"http://a:80/\"\nfiles = \"www\"\nnobody = \"reserved\"\n",
                (9, 10),
                "nobody with files",
            ),
        ],
    );
}

#[test]
fn prefixes_that_nobody_serves() {
    let prefix = |nobody| format!("[[site.prefix]]\nurl = \"http://{nobody}:80/\"\nnobody = \"{nobody}\"\n");
    let text = format!("{SITE}{}{}{}", prefix("reserved"), prefix("unbound"), prefix("disabled"));
    let config = check_text(&text).expect("valid");
    let handlers: Vec<_> = config.sites[0].prefixes.iter().skip(1).map(|p| p.handler).collect();
    let nobody = Handler::Nobody;
    use settings::Nobody::{Disabled, Reserved, Unbound};
    assert_eq!(handlers, [nobody(Reserved), nobody(Unbound), nobody(Disabled)]);
}
