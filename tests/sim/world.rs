//! One appliance, its workers and its clients in virtual time: one seed determines a run.

mod workers;

use crate::client::{Client, Exchange};
use crate::collector::{self, Collector};
use crate::network::{Network, Quality, To};
use crate::nic::SimNic;
use crate::rough::Rough;
use crate::script::Script;
use crate::streams::{Packet, SimStreams};
use crate::worker_streams::WorkerStreams;
use appliance::hub::Machine;
use appliance::shard::{Shard, ShardConfig, Wake};
use appliance::time::Instant;
use appliance::tls::Keys;
use model::bundle::{self, Bundle, File, Source};
use model::id::{PoolId, SiteId};
use model::reason::Reason;
use model::settings::{Handler, Pool, Prefix, Settings, Site, StaticAddress, Worker};
use netdrv::stream::{StreamTransport, VsockAddr};
use rustls::ServerConfig;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, LazyLock};
use weir_worker::server::Server;

/// Sizes of the static files `/f/SIZE`.
pub const FILES: [usize; 7] = [0, 128, 1024, 1459, 4096, 70_000, 300_000];
/// The port the worker listens on.
pub const WORKER: VsockAddr = VsockAddr { cid: 2, port: 10_000 };
/// Start time of every world, in seconds since 1970-01-01 UTC.
pub const UNIX_TIME: u64 = 1_790_000_000;
const STREAM_DELAY_NS: u64 = 50_000;
/// First number of streams opened by the host.
const HOST_STREAMS: u64 = 1 << 40;

/// Content of `/f/SIZE` and of `/api/bytes/SIZE`.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    weir_worker::pattern::fill(0, &mut out);
    out
}

/// Strong entity tag of every file.
pub const ETAG: &str = "\"0123456789abcdef\"";

static BUNDLE: LazyLock<Vec<u8>> = LazyLock::new(|| bundle(&settings(&["*"])));

/// One site per host, with files and a worker.
pub fn settings(hosts: &[&str]) -> Settings {
    let prefix = |url: String, handler| Prefix {
        url,
        handler,
        client_certificates: None,
        passthrough: Default::default(),
    };
    let site = |host: &&str| Site {
        name: if *host == "*" { "sim".into() } else { (*host).into() },
        prefixes: vec![
            prefix(format!("http://{host}:80/"), Handler::Files(0)),
            prefix(format!("http://{host}:80/api/"), Handler::Pool(PoolId(0))),
        ],
        ..Site::default()
    };
    Settings {
        server: model::settings::Server {
            address: Some(StaticAddress { address: [10, 0, 0, 1], prefix_len: 8, gateway: None }),
            ..Default::default()
        },
        sites: hosts.iter().map(site).collect(),
        pools: vec![Pool {
            name: "app".into(),
            workers: vec![Worker { cid: WORKER.cid, port: WORKER.port }],
            ..Pool::default()
        }],
        log: None,
    }
}

fn bundle(settings: &Settings) -> Vec<u8> {
    let files = FILES.map(|len| Source {
        file: File {
            tree: 0,
            path: format!("f/{len}"),
            media_type: "application/octet-stream".into(),
            etag: ETAG.into(),
            last_modified: 1_700_000_000,
            offset: 0,
            len: 0,
        },
        content: pattern(len),
    });
    bundle::encode(settings, files.into())
}

struct WorkerVm {
    streams: WorkerStreams,
    program: Program,
}

/// The program of a worker.
enum Program {
    Demo(Server),
    Script(Script),
}

impl Program {
    fn wake_at(&self) -> Option<u64> {
        match self {
            Self::Demo(server) => server.wake_at(),
            Self::Script(script) => script.wake_at(),
        }
    }
}

/// A worker, alive or not.
#[derive(Default)]
struct Seat {
    vm: Option<WorkerVm>,
    revive_at: Option<u64>,
    /// It is paused until then, and packets do not reach it.
    stalled_until: Option<u64>,
    /// Packets that arrived meanwhile.
    held: Vec<(u64, Packet)>,
    lives: u32,
}

/// A fault.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The worker crashes and restarts after this many nanoseconds.
    Crash(usize, u64),
    /// The worker is paused for this many nanoseconds.
    Stall(usize, u64),
    /// The appliance's vsock device is reset.
    TransportReset,
}

/// Cost of [`Shard::poll`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Heap allocations.
    pub allocations: u64,
    /// Bytes on the heap: allocated minus freed.
    pub heap_bytes: i64,
    /// Real time in nanoseconds.
    pub elapsed_ns: u64,
}

pub struct World {
    pub now_ns: u64,
    pub shard: Shard<SimNic, Machine<SimStreams>>,
    wake: Option<u64>,
    pub clients: Vec<Client>,
    /// When to run each client; may contain a client more often than needed.
    client_wakes: BinaryHeap<Reverse<(u64, usize)>>,
    unfinished: usize,
    /// Cost of the shard alone, in all its polls.
    pub work: Work,
    pub network: Network,
    seats: Vec<Seat>,
    /// The host's own streams, for control connections.
    pub host: SimStreams,
    pub collector: Collector,
    /// TLS configuration of workers' streams.
    worker_tls: Option<Arc<ServerConfig>>,
    /// Creates the programs of workers other than demo workers.
    script: Option<Box<dyn Fn(usize, u32) -> Script>>,
    /// The worker of each stream.
    stream_seats: std::collections::HashMap<u64, usize>,
    /// All workers and lives to which a request with this mark was delivered.
    pub delivered: std::collections::HashMap<Vec<u8>, Vec<(usize, u32)>>,
    /// Stream packets in transit, in order: time, whether to the worker, number, packet.
    stream_packets: std::collections::VecDeque<(u64, bool, u64, Packet)>,
    rng: fastrand::Rng,
    /// Clients that share another client's address, by that client and their port.
    shared: std::collections::HashMap<(usize, u16), usize>,
    /// When the first worker crashes, and for how long.
    pub crashes: Vec<(u64, u64)>,
    /// Other faults and their times, in order.
    pub faults: std::collections::VecDeque<(u64, Fault)>,
}

impl World {
    pub fn new(seed: u64, quality: Quality, offload: bool, buffer_bytes: usize) -> Self {
        Self::serving(&BUNDLE, seed, quality, offload, buffer_bytes)
    }

    /// A world with other settings, on a good network and with memory for large buffers.
    pub fn with(settings: &Settings) -> Self {
        Self::with_quality(settings, 1, Quality::LAN, 64 << 20)
    }

    /// A world with other settings on any network.
    pub fn with_quality(settings: &Settings, seed: u64, quality: Quality, buffer_bytes: usize) -> Self {
        Self::serving(bundle(settings).leak(), seed, quality, true, buffer_bytes)
    }

    /// A world with this pool, whose workers run `script` of their number and life.
    pub fn scripted(seed: u64, pool: Pool, script: impl Fn(usize, u32) -> Script + 'static) -> Self {
        Self::scripted_with(seed, pool, None, script)
    }

    /// The same, with TLS for workers' streams.
    pub fn scripted_with(
        seed: u64,
        pool: Pool,
        worker_tls: Option<Arc<ServerConfig>>,
        script: impl Fn(usize, u32) -> Script + 'static,
    ) -> Self {
        let mut settings = Settings { pools: vec![pool], ..settings(&["*"]) };
        // A stalled end of a response is noticed before the run is over.
        settings.server.http.stream_idle_s = Some(90);
        Self::scripted_in(seed, &settings, worker_tls, script)
    }

    /// The same, with all settings.
    pub fn scripted_in(
        seed: u64,
        settings: &Settings,
        worker_tls: Option<Arc<ServerConfig>>,
        script: impl Fn(usize, u32) -> Script + 'static,
    ) -> Self {
        let workers = settings.pools[0].workers.len();
        let bundle: &'static [u8] = bundle(settings).leak();
        let mut world = Self::serving(bundle, seed, Quality::LAN, true, 8 << 20);
        world.worker_tls = worker_tls;
        world.script = Some(Box::new(script));
        world.seats.clear();
        world.seats.resize_with(workers.max(2), Seat::default);
        (0..workers).for_each(|number| world.revive(number));
        world
    }

    fn serving(
        bundle: &'static [u8],
        seed: u64,
        quality: Quality,
        offload: bool,
        buffer_bytes: usize,
    ) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let bundle = Bundle::parse(bundle).expect("the bundle was just written");
        let keys = [rng.u64(..), rng.u64(..), rng.u64(..), rng.u64(..)];
        let memory = ShardConfig::for_memory(16 << 20, &bundle.manifest.settings, keys, UNIX_TIME);
        let tls = bundle.manifest.settings.sites.iter().any(|site| site.tls.is_some());
        let mut config =
            ShardConfig { buffer_bytes, tls_bytes: if tls { buffer_bytes } else { 0 }, ..memory };
        if quality.loss_permille > 0 {
            // A client whose retransmission timeout has doubled to a minute is unlucky, not deliberately slow.
            config.timers.entity_body = std::time::Duration::from_secs(300);
        }
        let shard = Shard::new(
            config,
            &bundle,
            Keys::NONE,
            SimNic::new(offload),
            SimStreams::default(),
            Instant::ZERO,
        )
        .expect("the settings are valid");
        let mut world = Self {
            now_ns: 0,
            shard,
            wake: Some(0),
            clients: Vec::new(),
            client_wakes: BinaryHeap::new(),
            unfinished: 0,
            work: Work::default(),
            network: Network::new(quality),
            seats: vec![Seat::default()],
            host: SimStreams::numbered_from(HOST_STREAMS),
            collector: Collector::new(),
            worker_tls: None,
            script: None,
            stream_seats: Default::default(),
            delivered: Default::default(),
            stream_packets: Default::default(),
            rng,
            shared: Default::default(),
            crashes: Vec::new(),
            faults: Default::default(),
        };
        world.revive(0);
        world
    }

    pub fn add_client(&mut self, script: Vec<Exchange>, buffer: usize, pipeline: usize) -> usize {
        let number = self.clients.len();
        let seed = self.rng.u64(..);
        self.clients.push(Client::new(number, script, buffer, pipeline, seed));
        self.wake_client(number);
        self.unfinished += 1;
        number
    }

    /// A connection that executes actions, whatever it receives.
    pub fn add_rough(&mut self, rough: Rough) -> usize {
        let number = self.add_client(Vec::new(), 16_384, 1);
        self.clients[number].rough = Some(rough);
        number
    }

    /// A connection that requests `path` of the site `host` repeatedly and reads the responses; from the address of an earlier
    /// client, or from its own.
    pub fn pull(&mut self, host: &str, path: &str, address_of: Option<usize>) -> usize {
        let number = self.clients.len();
        let seed = self.rng.u64(..);
        let mut client = Client::new(number, Vec::new(), 65_535, 1, seed);
        client.pull = Some(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
        if let Some(owner) = address_of {
            let port = 30_000 + number as u16;
            client.share(owner, port);
            // Connecting adds one.
            self.shared.insert((owner, port + 1), number);
        }
        self.clients.push(client);
        self.wake_client(number);
        number
    }

    /// Changes bandwidth at run time.
    pub fn set_bandwidth(&mut self, settings: &Settings) -> Result<(), appliance::flow::FlowError> {
        let result = self.shard.set_bandwidth(settings, Instant::from_nanos(self.now_ns));
        self.poll_shard();
        result
    }

    /// Usage of a site.
    pub fn metrics(&self, site: u16) -> model::metrics::SiteMetrics {
        self.shard.site_metrics(SiteId(site), Instant::from_nanos(self.now_ns)).expect("the site exists")
    }

    /// Gives a connected client another request.
    pub fn ask(&mut self, number: usize, exchange: Exchange) {
        self.unfinished += usize::from(self.clients[number].is_done());
        self.clients[number].ask(exchange);
        self.wake_client(number);
    }

    /// Makes a client check what it has to do.
    pub fn wake(&mut self, number: usize) {
        self.wake_client(number);
    }

    fn wake_client(&mut self, number: usize) {
        self.client_wakes.push(Reverse((self.now_ns, number)));
    }

    /// Runs until all clients are done, or `limit_ns` of virtual time have passed.
    pub fn run(&mut self, limit_ns: u64) -> Result<(), String> {
        let end = self.now_ns + limit_ns;
        while self.unfinished > 0 {
            if self.now_ns > end {
                let waiting = self.clients.iter().filter(|c| !c.is_done()).count();
                return Err(format!("{waiting} clients still waiting after {} s", limit_ns / 1_000_000_000));
            }
            if !self.step() {
                return Err("nothing left to happen, but clients still wait".into());
            }
        }
        let failure = self.clients.iter().enumerate().find_map(|(i, c)| c.failure.as_ref().map(|f| (i, f)));
        failure.map_or(Ok(()), |(i, why)| {
            let counters = self.shard.counters();
            let reasons: Vec<_> = Reason::ALL
                .iter()
                .filter(|r| counters.of(**r) > 0)
                .map(|r| (r.as_str(), counters.of(*r)))
                .collect();
            Err(format!("client {i} at {} ns: {why}; refused: {reasons:?}", self.now_ns))
        })
    }

    /// Runs for this long, whatever happens.
    pub fn run_for(&mut self, ns: u64) {
        let end = self.now_ns + ns;
        while self.next_event().is_some_and(|at| at <= end) && self.step() {}
        self.now_ns = end;
    }

    fn next_event(&self) -> Option<u64> {
        let workers = self.seats.iter().flat_map(|seat| {
            let running = seat.vm.as_ref().filter(|_| seat.stalled_until.is_none());
            [running.and_then(|vm| vm.program.wake_at()), seat.revive_at, seat.stalled_until]
        });
        let times = [
            self.wake,
            self.network.next_arrival(),
            self.stream_packets.front().map(|(at, ..)| *at),
            self.client_wakes.peek().map(|Reverse((at, _))| *at),
            self.crashes.first().map(|(at, _)| *at),
            self.faults.front().map(|(at, _)| *at),
        ];
        times.into_iter().chain(workers).flatten().min()
    }

    /// Advances to the next event.
    pub fn step(&mut self) -> bool {
        let Some(next) = self.next_event() else { return false };
        self.now_ns = self.now_ns.max(next);
        self.go_wrong();
        while let Some((to, frame)) = self.network.arrived(self.now_ns) {
            match to {
                To::Appliance => {
                    self.shard.nic().deliver(frame);
                    self.wake = Some(self.now_ns);
                }
                To::Client(number) => {
                    self.clients[number].deliver(&frame);
                    self.wake_client(number);
                }
            }
        }
        self.carry_stream_packets();
        self.run_workers();
        while let Some(Reverse((at, number))) = self.client_wakes.peek().copied()
            && at <= self.now_ns
        {
            self.client_wakes.pop();
            self.run_client(number);
        }
        if self.wake.is_some_and(|at| at <= self.now_ns) {
            self.poll_shard();
        }
        true
    }

    fn run_client(&mut self, number: usize) {
        let was_done = self.clients[number].is_done();
        let (frames, wake) = self.clients[number].poll(self.now_ns);
        self.unfinished -= usize::from(!was_done && self.clients[number].is_done());
        self.client_wakes.extend(wake.map(|at| Reverse((at, number))));
        for frame in frames {
            self.network.send(self.now_ns, To::Appliance, frame, &mut self.rng);
        }
    }

    /// Polls the shard once and collects what it sent.
    pub fn poll_shard(&mut self) {
        let now = Instant::from_nanos(self.now_ns);
        let mut wake = Wake::Now;
        let heap = allocation_counter::measure(|| {
            let start = std::time::Instant::now();
            wake = self.shard.poll(now);
            self.work.elapsed_ns += start.elapsed().as_nanos() as u64;
        });
        self.work.allocations += heap.count_total;
        self.work.heap_bytes += heap.bytes_current;
        self.wake = match wake {
            Wake::Now => Some(self.now_ns),
            Wake::At(at) => at.map(|at| at.as_nanos().max(self.now_ns + 1)),
        };
        if !self.shard.nic().sent.is_empty() {
            self.wake = Some(self.now_ns + 1);
        }
        while let Some(frame) = self.shard.nic().sent.pop_front() {
            if let Some(number) = Client::number_of(&frame)
                && number < self.clients.len()
            {
                let port = frame.get(36..38).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]));
                let number = self.shared.get(&(number, port)).copied().unwrap_or(number);
                self.network.send(self.now_ns, To::Client(number), frame.clone(), &mut self.rng);
            }
            self.shard.nic().take_back(frame);
        }
        self.shard.nic().free_recycled();
        let packets = std::mem::take(&mut self.shard.hub_mut().transport().outgoing);
        self.queue_stream_packets(true, packets);
        if !self.shard.arm() {
            self.wake = Some(self.now_ns);
        }
    }
}
