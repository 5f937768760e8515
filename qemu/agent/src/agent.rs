//! The sequence of everything: control port, application, streams, shutdown.

use crate::application::Child;
use crate::arguments::Arguments;
use crate::control::{self, Control};
use crate::server::{self, Bell, Counters};
use crate::tls::Tls;
use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};
use vsock::{VMADDR_CID_ANY, VsockListener, VsockStream};

/// Time limit for open streams after a termination signal.
const SIGNAL_LIMIT: Duration = Duration::from_secs(30);
/// Time limit for the application to end after SIGTERM.
const APPLICATION_LIMIT: Duration = Duration::from_secs(10);
/// Interval of checks whether a starting application accepts connections.
const START_PAUSE: Duration = Duration::from_millis(50);
/// Interval of checks whether streams have ended.
const STREAMS_PAUSE: Duration = Duration::from_millis(20);

enum Event {
    Stop(Duration),
    /// Description and exit status.
    Ended(String, i32),
}

/// A running agent.
struct Agent {
    events: Receiver<Event>,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    child: Option<Arc<Child>>,
    stop: Arc<Bell>,
    tls: Option<Tls>,
}

/// Runs until told to end, or until the application has ended; returns the exit status.
pub fn run(arguments: &Arguments) -> io::Result<i32> {
    let (sender, events) = channel();
    let agent = Agent {
        events,
        counters: Arc::default(),
        stopping: Arc::default(),
        child: (!arguments.command.is_empty()).then(Arc::default),
        stop: Arc::new(Bell::new()?),
        tls: arguments.tls.as_ref().map(Tls::load).transpose().map_err(io::Error::other)?,
    };
    let signals = sender.clone();
    let mut caught = Signals::new([SIGTERM, SIGINT])?;
    thread("signals", move || caught.forever().for_each(|_| drop(signals.send(Event::Stop(SIGNAL_LIMIT)))))?;
    agent.answer_questions(arguments, sender.clone())?;
    if let Some(child) = &agent.child {
        start(child.clone(), arguments, sender)?;
    }
    let end = match agent.wait_for_application(arguments) {
        Some(end) => end,
        None => {
            agent.take_streams(arguments)?;
            eprintln!("weir-agent: vsock port {} is forwarded to {}", arguments.port, arguments.target);
            // Some thread always holds a sender.
            agent.events.recv().map_err(io::Error::other)?
        }
    };
    Ok(match end {
        Event::Ended(words, status) => {
            eprintln!("weir-agent: the application {words}");
            status
        }
        Event::Stop(limit) => agent.end(limit),
    })
}

impl Agent {
    fn answer_questions(&self, arguments: &Arguments, sender: Sender<Event>) -> io::Result<()> {
        let control = Control {
            target: arguments.target.clone(),
            counters: self.counters.clone(),
            stopping: self.stopping.clone(),
        };
        let listener = listen(arguments.control_port)?;
        let serve = move |stream: OwnedFd| {
            // A broken control stream has no one to report to.
            let _ = control.serve(File::from(stream), |limit| drop(sender.send(Event::Stop(limit))));
        };
        // Never rung: control streams are served to the end.
        let never = Bell::new()?;
        thread("control", move || {
            server::accept(listener, control::MOST_STREAMS, &Arc::default(), &never, serve);
        })
    }

    /// Waits until the application accepts connections: a worker that accepts streams is one that responds. Returns an event that
    /// ends everything.
    fn wait_for_application(&self, arguments: &Arguments) -> Option<Event> {
        while arguments.target.open(server::OPEN_LIMIT).is_err() {
            match self.events.recv_timeout(START_PAUSE) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        None
    }

    fn take_streams(&self, arguments: &Arguments) -> io::Result<()> {
        let listener = listen(arguments.port)?;
        let (counters, stop) = (self.counters.clone(), self.stop.clone());
        let (target, most) = (arguments.target.clone(), arguments.streams);
        let of_stream = self.counters.clone();
        let tls = self.tls.clone();
        let serve = move |stream: OwnedFd| {
            let stream = VsockStream::from(stream);
            // Without a known port, its outcome cannot be asked for.
            let port = stream.peer_addr().map_or(u32::MAX, |peer| peer.port());
            server::relay(&stream.into(), port, tls.as_ref(), &target, &of_stream);
        };
        thread("streams", move || server::accept(listener, most, &counters, &stop, serve))
    }

    /// Waits for open streams, then ends the application.
    fn end(&self, limit: Duration) -> i32 {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.ring();
        if let Some(child) = &self.child {
            child.leave();
        }
        let until = Instant::now() + limit;
        eprintln!("weir-agent: stopping, {} open streams", self.counters.streams.load(Ordering::Relaxed));
        while self.counters.streams.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            match self.events.recv_timeout(STREAMS_PAUSE) {
                Ok(Event::Ended(..)) => return 0,
                // A repeated request has no effect.
                Ok(Event::Stop(_)) | Err(_) => {}
            }
        }
        let Some(child) = &self.child else { return 0 };
        for signal in [Signal::TERM, Signal::KILL] {
            child.signal(signal);
            let until = Instant::now() + APPLICATION_LIMIT;
            while Instant::now() < until {
                if let Ok(Event::Ended(..)) = self.events.recv_timeout(until - Instant::now()) {
                    return 0;
                }
            }
        }
        eprintln!("weir-agent: the application does not end");
        1
    }
}

fn start(child: Arc<Child>, arguments: &Arguments, sender: Sender<Event>) -> io::Result<()> {
    let (command, restart) = (arguments.command.clone(), arguments.restart);
    thread("application", move || {
        let (ended, last) = channel();
        if let Err(error) = child.run(&command, restart, &ended) {
            let _ = ended.send((format!("{}: {error}", command[0].to_string_lossy()), 127));
        }
        for (words, status) in last.try_iter() {
            let _ = sender.send(Event::Ended(words, status));
        }
    })
}

fn listen(port: u32) -> io::Result<OwnedFd> {
    let listener = VsockListener::bind_with_cid_port(VMADDR_CID_ANY, port);
    listener
        .map(OwnedFd::from)
        .map_err(|error| io::Error::new(error.kind(), format!("vsock port {port}: {error}")))
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Builder::new().name(name.into()).stack_size(server::STACK).spawn(run).map(drop)
}
