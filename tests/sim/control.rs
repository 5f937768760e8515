//! The control connection, from the host's side.

use crate::pools::{head_end, pool, right};
use crate::requests::get;
use crate::script::Script;
use crate::world::{WORKER, World, settings};
use model::control::CONTROL_PORT;
use model::control::frame::{Decoder, encode};
use model::control::message::{
    Answer, Ask, FRAME_MAX, Message, PREAMBLE, PoolInfo, Refusal, Request, Status,
};
use model::id::{PoolId, SiteId};
use model::pool::Service;
use model::reason::Reason;
use model::settings::Worker;
use netdrv::stream::{StreamEvent, StreamId, StreamTransport, VsockAddr};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const FIRST: Worker = Worker { cid: WORKER.cid, port: WORKER.port };

/// A control connection.
pub struct Host {
    stream: StreamId,
    decoder: Decoder,
    demands: Vec<u16>,
    asked: u32,
    closed: bool,
}

impl Host {
    pub fn connect(world: &mut World) -> Self {
        let mut host = Self::connect_silently(world);
        host.send(world, &PREAMBLE);
        host
    }

    fn connect_silently(world: &mut World) -> Self {
        let to = VsockAddr { cid: 3, port: CONTROL_PORT };
        let stream = world.host.connect(to, world.now_ns).expect("there is room");
        world.send_from_host();
        world.run_for(MS);
        Self { stream, decoder: Decoder::default(), demands: Vec::new(), asked: 0, closed: false }
    }

    fn send(&mut self, world: &mut World, bytes: &[u8]) {
        assert_eq!(world.host.send(self.stream, bytes), bytes.len());
        world.send_from_host();
    }

    fn take(&mut self, world: &mut World) -> Option<Message> {
        while let Some(event) = world.host.next_event() {
            self.closed |= matches!(event, StreamEvent::Closed(stream, _) if stream == self.stream);
        }
        let bytes = world.host.readable(self.stream).to_vec();
        self.decoder.push(&bytes);
        world.host.consume(self.stream, bytes.len());
        world.send_from_host();
        self.decoder
            .next_message()
            .expect("the appliance speaks this protocol")
            .map(|message| message.expect("a message"))
    }

    /// Handles everything received: keeps demands, returns the last reply.
    fn listen(&mut self, world: &mut World) -> Option<(u32, Result<Answer, Refusal>)> {
        let mut last = None;
        while let Some(message) = self.take(world) {
            match message {
                Message::Demand { pool, .. } => self.demands.push(pool.0),
                Message::Reply { id, result } => last = Some((id, result)),
            }
        }
        last
    }

    pub fn ask(&mut self, world: &mut World, request: Request) -> Result<Answer, Refusal> {
        self.asked += 1;
        let mut frame = Vec::new();
        assert!(encode(&Ask { id: self.asked, request }, &mut frame));
        self.send(world, &frame);
        world.run_for(MS);
        let (id, result) = self.listen(world).expect("a reply");
        assert_eq!(id, self.asked);
        result
    }

    pub fn status(&mut self, world: &mut World) -> Status {
        match self.ask(world, Request::Status) {
            Ok(Answer::Status(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    fn pool(&mut self, world: &mut World) -> PoolInfo {
        match self.ask(world, Request::Pools(PoolId(0))) {
            Ok(Answer::Pools(pools)) => pools.into_iter().next().expect("there is one"),
            other => panic!("{other:?}"),
        }
    }
}

/// A pool that knows no workers until they are announced.
fn unmanned() -> World {
    World::scripted(1, pool(0), |_, _| {
        Script::new(Box::new(|input| Some((head_end(input)?, right(b"right")))))
    })
}

#[test]
fn a_request_starts_a_worker_and_is_answered_by_it() {
    let mut world = unmanned();
    let mut host = Host::connect(&mut world);
    assert_eq!(host.ask(&mut world, Request::Supervise), Ok(Answer::Done));
    world.run_for(SECOND);
    host.listen(&mut world);
    assert_eq!(host.demands, [], "nobody has asked for anything yet");
    for _ in 0..3 {
        world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    }
    world.run_for(SECOND);
    host.listen(&mut world);
    assert_eq!(host.demands, [0], "told once");
    assert_eq!((host.pool(&mut world).state, host.pool(&mut world).waiting), (2, 3));
    world.revive(0);
    assert_eq!(
        host.ask(&mut world, Request::WorkerUp { pool: PoolId(0), address: FIRST, named: false }),
        Ok(Answer::Done)
    );
    world.run(SECOND).expect("answers");
    let info = host.pool(&mut world);
    assert_eq!((info.state, info.waiting, info.workers[0].served), (3, 0, 3));
    assert_eq!(host.demands, [0]);
}

#[test]
fn demand_is_told_to_a_supervisor_that_comes_back() {
    let mut world = unmanned();
    world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    world.run_for(SECOND);
    for _ in 0..3 {
        let mut host = Host::connect(&mut world);
        host.ask(&mut world, Request::Supervise).expect("done");
        world.run_for(MS);
        host.listen(&mut world);
        assert_eq!(host.demands, [0]);
        world.host.release(host.stream);
        world.send_from_host();
        world.run_for(SECOND);
    }
    assert_eq!(world.shard.hub().pools().waiting(), 1);
}

#[test]
fn supervisors_that_die_without_a_word_leave_room_for_the_next() {
    let mut world = unmanned();
    world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    // More than there is room for connections.
    let mut hosts: Vec<_> = (0..20)
        .map(|_| {
            let mut host = Host::connect(&mut world);
            assert_eq!(host.ask(&mut world, Request::Supervise), Ok(Answer::Done));
            host
        })
        .collect();
    let last = hosts.last_mut().expect("one of twenty");
    world.run_for(MS);
    last.listen(&mut world);
    assert_eq!((last.closed, last.demands.as_slice()), (false, [0].as_slice()), "told what the others were");
}

#[test]
fn full_workers_are_a_demand_too() {
    let mut pool = pool(1);
    pool.requests_per_worker = Some(1);
    let mut world = World::scripted(1, pool, |_, _| {
        Script::new(Box::new(|input| {
            let mut actions = vec![crate::script::Action::Wait(SECOND)];
            actions.extend(right(b"right"));
            Some((head_end(input)?, actions))
        }))
    });
    let mut host = Host::connect(&mut world);
    host.ask(&mut world, Request::Supervise).expect("done");
    world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    world.run_for(100 * MS);
    host.listen(&mut world);
    assert_eq!(host.demands, []);
    world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    world.run_for(100 * MS);
    host.listen(&mut world);
    assert_eq!(host.demands, [0]);
    world.run(5 * SECOND).expect("answers");
}

#[test]
fn a_worker_that_leaves_gets_nothing_new() {
    let mut world = unmanned();
    let mut host = Host::connect(&mut world);
    world.revive(0);
    let up = Request::WorkerUp { pool: PoolId(0), address: FIRST, named: false };
    let leaving = Request::WorkerLeaving { pool: PoolId(0), address: FIRST };
    assert_eq!(host.ask(&mut world, leaving.clone()), Err(Refusal::NoSuchWorker));
    assert_eq!(host.ask(&mut world, up.clone()), Ok(Answer::Done));
    assert_eq!(host.ask(&mut world, leaving), Ok(Answer::Done));
    let client = world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    world.run_for(SECOND);
    assert_eq!(world.clients[client].tally.answered, 0);
    assert_eq!(host.ask(&mut world, up), Ok(Answer::Done));
    world.run(SECOND).expect("an answer");
}

#[test]
fn a_worker_that_is_said_to_be_gone_is_gone_at_once() {
    // The first worker never responds, and the transport never reports that it is gone.
    let mut world = World::scripted(1, pool(2), |number, _| {
        Script::new(Box::new(move |input| {
            let end = head_end(input)?;
            Some((
                end,
                if number == 0 { vec![crate::script::Action::Wait(3600 * SECOND)] } else { right(b"right") },
            ))
        }))
    });
    let mut host = Host::connect(&mut world);
    for _ in 0..2 {
        world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    }
    world.run_for(100 * MS);
    assert_eq!(world.shard.hub().pools().links_in_use(), 1, "one of them waits in vain");
    let gone = Request::WorkerGone { pool: PoolId(0), address: FIRST, died: true };
    assert_eq!(host.ask(&mut world, gone), Ok(Answer::Done));
    world.run(SECOND).expect("the other worker's answer");
    assert_eq!((world.shard.counters().replayed, world.shard.hub().pools().links_in_use()), (1, 0));
}

#[test]
fn the_last_worker_is_not_asked_again_before_its_end_is_known() {
    let mut world = World::scripted(1, pool(1), |number, _| {
        Script::new(Box::new(move |input| {
            let end = head_end(input)?;
            Some((end, if number == 0 { vec![crate::script::Action::Reset] } else { right(b"right") }))
        }))
    });
    let mut host = Host::connect(&mut world);
    for _ in 0..3 {
        world.add_client(vec![get("/api/x", b"right".to_vec())], 65_535, 1);
    }
    world.run_for(100 * MS);
    assert_eq!(world.shard.counters().of(Reason::ConnectionAbandonedByAppPool), 0);
    assert_eq!(
        host.ask(&mut world, Request::WorkerGone { pool: PoolId(0), address: FIRST, died: true }),
        Ok(Answer::Done)
    );
    world.run_for(SECOND);
    world.revive(1);
    let second = Worker { port: FIRST.port + 1, ..FIRST };
    assert_eq!(
        host.ask(&mut world, Request::WorkerUp { pool: PoolId(0), address: second, named: false }),
        Ok(Answer::Done)
    );
    world.run(SECOND).expect("answers");
    assert_eq!(world.shard.counters().replayed, 3);
}

#[test]
fn rates_and_service_change_as_asked_or_not_at_all() {
    let mut world = World::with(&settings(&["*"]));
    let mut host = Host::connect(&mut world);
    let site = |name: &str, ceil| {
        let bandwidth = model::settings::SiteBandwidth { ceil: Some(ceil), ..Default::default() };
        Request::SetSite { site: name.into(), bandwidth, limits: Default::default() }
    };
    assert_eq!(host.ask(&mut world, site("nobody", 4096)), Err(Refusal::NoSuchSite));
    let refused = host.ask(&mut world, site("sim", 1023));
    assert!(matches!(refused, Err(Refusal::Bandwidth(_))), "{refused:?}");
    assert_eq!(host.ask(&mut world, site("sim", 100_000)), Ok(Answer::Done));
    let bad = host.ask(&mut world, site("sim", 0));
    assert!(matches!(bad, Err(Refusal::Bandwidth(_))), "{bad:?}");
    let client = world.pull("sim", "/f/300000", None);
    world.run_for(2 * SECOND);
    let got = world.metrics(0).down.bytes;
    assert!((190_000..=215_000).contains(&got), "{got} bytes in two seconds at 100,000 B/s, client {client}");
    let Ok(Answer::Sites(sites)) = host.ask(&mut world, Request::Sites(SiteId(0))) else { panic!() };
    assert_eq!((sites.len(), sites[0].metrics.down.queued), (1, 1));
    assert_eq!(host.ask(&mut world, Request::Sites(SiteId(1))), Ok(Answer::Sites(vec![])));
    let service = |pool| Request::SetService { pool: PoolId(pool), service: Service::Offline, out: None };
    assert_eq!(host.ask(&mut world, service(1)), Err(Refusal::NoSuchPool));
    assert_eq!(host.ask(&mut world, service(0)), Ok(Answer::Done));
    assert_eq!(host.pool(&mut world).state, 5);
    let mut refused = get("/api/bytes/10", Vec::new());
    refused.expected = crate::client::Expected { status: 503, content: None };
    world.add_client(vec![refused], 65_535, 1);
    world.run_for(100 * MS);
    assert_eq!(world.shard.counters().of(Reason::AppOffline), 1);
    let status = host.status(&mut world);
    assert_eq!(status.reasons, [("AppOffline".to_owned(), 1)]);
}

#[test]
fn messages_that_cannot_be_read_change_nothing() {
    let mut world = unmanned();
    let mut host = Host::connect(&mut world);
    let mut frame = 3_u32.to_le_bytes().to_vec();
    frame.extend([1, 99, 7]);
    host.send(&mut world, &frame);
    world.run_for(MS);
    assert_eq!(host.listen(&mut world), Some((0, Err(Refusal::Malformed))));
    assert_eq!(host.ask(&mut world, Request::Supervise), Ok(Answer::Done), "and the connection goes on");
    host.send(&mut world, &(FRAME_MAX as u32 + 1).to_le_bytes());
    world.run_for(MS);
    host.listen(&mut world);
    assert!(host.closed, "a length that cannot be");
    let mut web = Host::connect_silently(&mut world);
    web.send(&mut world, b"GET / HTTP/1.1\r\n\r\n");
    world.run_for(MS);
    web.listen(&mut world);
    assert!(web.closed);
}

#[test]
fn a_peer_that_takes_no_replies_is_given_up() {
    let mut world = unmanned();
    let mut host = Host::connect(&mut world);
    let mut asks = Vec::new();
    for id in 0..2000 {
        assert!(encode(&Ask { id, request: Request::Status }, &mut asks));
    }
    // This side reads nothing: the appliance stops reading, buffers little, and does not fail.
    for piece in asks.chunks(1000) {
        let n = world.host.send(host.stream, piece);
        world.send_from_host();
        world.run_for(MS);
        if n < piece.len() {
            break;
        }
    }
    world.run_for(SECOND);
    let mut other = Host::connect(&mut world);
    assert_eq!(other.ask(&mut world, Request::Supervise), Ok(Answer::Done));
    let mut replies = 0;
    for _ in 0..10_000 {
        replies += usize::from(host.take(&mut world).is_some());
        world.run_for(MS / 10);
    }
    assert!(replies > 100, "{replies}: what was taken in is answered once there is room");
}

#[test]
fn too_many_connections_are_turned_away() {
    let mut world = unmanned();
    let mut first = Host::connect(&mut world);
    let hosts: Vec<_> = (0..8).map(|_| Host::connect_silently(&mut world)).collect();
    world.run_for(10 * MS);
    assert_eq!(hosts.len(), 8);
    assert_eq!(
        first.status(&mut world).counters.iter().find(|c| c.0 == "control_turned_away").map(|c| c.1),
        Some(1)
    );
}
