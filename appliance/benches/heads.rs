//! Cost of a request from its bytes to the head of its response, compared with bare `httparse`.
//!
//! `cargo bench --bench heads` prints nanoseconds. For instructions, which matter under an emulator, run the
//! binary as `valgrind --tool=callgrind BINARY NAME COUNT` with two counts, and divide the difference.

use appliance::cache::{Lookup, StaticStore, serve};
use appliance::http::forward::Forwarded;
use appliance::http::h1::request::{Parsed, Progress};
use appliance::http::h1::{Encoder, forward, request, response};
use appliance::http::{Encode, Reply, RequestLimits, ResponseWriter, Sink, Version};
use appliance::serving::{RouteResult, Router};
use core::hint::black_box;
use core::mem::MaybeUninit;
use core::net::{IpAddr, Ipv4Addr};
use model::bundle::{self, Bundle, File, Source};
use model::date::DateCache;
use model::id::PoolId;
use model::settings::{Handler, Pool, Prefix, Settings, Site};
use model::url::Scheme;
use std::time::Instant;

/// A load generator's request.
const SHORT: &[u8] = b"GET /128 HTTP/1.1\r\nHost: 10.0.0.2\r\n\r\n";
/// curl's request.
const CURL: &[u8] =
    b"GET /128 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
/// A browser's request.
const BROWSER: &[u8] = b"GET /css/site.css?v=3 HTTP/1.1\r\nHost: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/css,*/*;q=0.1\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Referer: http://www.example.com/index.html\r\nConnection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nSec-Fetch-Dest: style\r\n\
    Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\nPriority: u=2\r\nCache-Control: no-cache\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: worker\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 128\r\nCache-Control: private\r\n\r\n";
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

struct World<'a> {
    router: Router,
    store: StaticStore<'a>,
    date: DateCache,
    limits: RequestLimits,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

impl World<'_> {
    fn httparse(&mut self, input: &[u8]) -> usize {
        let mut headers = [const { MaybeUninit::uninit() }; RequestLimits::MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(input, &mut headers);
        black_box(&request);
        status.map_or(0, |s| if s.is_complete() { s.unwrap() } else { 0 })
    }

    fn parse(&mut self, input: &[u8]) -> usize {
        match request::parse(input, &self.limits, &mut self.scratch, &mut Progress::default()) {
            Parsed::Complete { ref head, len } => {
                black_box(head);
                len
            }
            _ => 0,
        }
    }

    fn hit(&mut self, input: &[u8]) -> usize {
        let parsed = request::parse(input, &self.limits, &mut self.scratch, &mut Progress::default());
        let Parsed::Complete { head, .. } = parsed else { return 0 };
        let RouteResult::Matched(found) = self.router.route(Scheme::Http, 80, head.host, LOCAL, head.path)
        else {
            return 0;
        };
        let Handler::Files(tree) = found.handler else { return 0 };
        let Lookup::Found(stored) = self.store.lookup(tree, found.rest) else { return 0 };
        let mut encoder = Encoder::of(&head);
        let mut writer = ResponseWriter::new(&mut encoder, &self.date, &mut self.out);
        let written = serve::file(&head, stored, &mut writer);
        written.map_or(0, |_| black_box(writer.len()))
    }

    fn forward(&mut self, input: &[u8]) -> usize {
        let parsed = request::parse(input, &self.limits, &mut self.scratch, &mut Progress::default());
        let Parsed::Complete { head, .. } = parsed else { return 0 };
        let mut out = Sink::new(&mut self.out);
        let forwarded = Forwarded::new(LOCAL, (LOCAL, 80), Scheme::Http);
        forward::write_request(&head, &forwarded, &mut out).map_or(0, |()| black_box(out.len()))
    }

    fn response(&mut self, input: &[u8]) -> usize {
        let response::Parsed::Complete { head, .. } = response::parse(input, false, 8192) else { return 0 };
        let mut out = Sink::new(&mut self.out);
        let mut encoder = Encoder::new(Version::Http11, false, true);
        let written = encoder.head(&Reply::from(&head), &self.date, &mut out);
        written.map_or(0, |()| black_box(out.len()))
    }

    fn route(&mut self, _: &[u8]) -> usize {
        match self.router.route(Scheme::Http, 80, b"www.example.com", LOCAL, "/css/site.css") {
            RouteResult::Matched(found) => found.rest.len(),
            RouteResult::NoMatch | RouteResult::Ambiguous => 0,
        }
    }
}

fn settings(prefixes: usize) -> Settings {
    let prefix = |url: String, handler| Prefix {
        url,
        handler,
        client_certificates: None,
        passthrough: Default::default(),
    };
    let mut all = vec![prefix("http://*:80/".into(), Handler::Files(0))];
    all.push(prefix("http://*:80/api/".into(), Handler::Pool(PoolId(0))));
    all.extend((2..prefixes).map(|i| prefix(format!("http://h{i}.example:80/a{i}/"), Handler::Files(0))));
    Settings {
        sites: vec![Site { name: "bench".into(), prefixes: all, ..Site::default() }],
        pools: vec![Pool { name: "p".into(), ..Pool::default() }],
        ..Settings::default()
    }
}

fn main() {
    let source = |path: &str| Source {
        file: File {
            tree: 0,
            path: path.into(),
            media_type: "text/css".into(),
            etag: "\"0123456789abcdef\"".into(),
            last_modified: 1_700_000_000,
            offset: 0,
            len: 0,
        },
        content: vec![b'x'; 128],
    };
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let bytes = bundle::encode(&settings(2), vec![source("128"), source("css/site.css")]);
    let bundle = Bundle::parse(&bytes).expect("the bundle is fresh");
    let world = |prefixes| World {
        router: Router::new(&settings(prefixes)).expect("the prefixes are valid"),
        store: StaticStore::new(&bundle),
        date: DateCache::new(1_700_000_000),
        limits: black_box(RequestLimits::STRICT),
        scratch: vec![0; 9000],
        out: vec![0; 4096],
    };
    type Run<'a> = fn(&mut World<'a>, &[u8]) -> usize;
    let runs: [(&str, Run<'_>, &[u8], usize); 13] = [
        ("httparse-short", World::httparse, SHORT, 2),
        ("httparse-curl", World::httparse, CURL, 2),
        ("httparse-browser", World::httparse, BROWSER, 2),
        ("parse-short", World::parse, SHORT, 2),
        ("parse-curl", World::parse, CURL, 2),
        ("parse-browser", World::parse, BROWSER, 2),
        ("hit-short", World::hit, SHORT, 2),
        ("hit-curl", World::hit, CURL, 2),
        ("hit-browser", World::hit, BROWSER, 2),
        ("forward-browser", World::forward, BROWSER, 2),
        ("response", World::response, ANSWER, 2),
        ("route-10", World::route, b"", 10),
        ("route-10000", World::route, b"", 10_000),
    ];
    if let [name, count] = &args[..] {
        let count = count.parse().unwrap_or(0);
        let run = runs.iter().find(|r| r.0 == name).expect("a name from the list");
        let mut world = world(run.3);
        for _ in 0..count {
            assert_ne!(black_box(run.1(&mut world, black_box(run.2))), 0);
        }
        return;
    }
    for (name, run, input, prefixes) in runs {
        let mut world = world(prefixes);
        let count = 200_000;
        let start = Instant::now();
        for _ in 0..count {
            assert_ne!(black_box(run(&mut world, black_box(input))), 0);
        }
        println!("{name:18} {:6} ns", start.elapsed().as_nanos() / count);
    }
}
