//! A worker that sends what the test specifies, correct or not.

use crate::worker_streams::WorkerStreams;
use netdrv::stream::{StreamEvent, StreamId, StreamTransport};
use std::collections::{BTreeMap, VecDeque};

/// An action of a worker.
#[derive(Clone, Debug)]
pub enum Action {
    Send(Vec<u8>),
    /// Nanoseconds.
    Wait(u64),
    /// In order.
    End,
    Reset,
}

/// Called with the received, unconsumed bytes; returns how many of them it consumes, and its actions.
pub type Reply = Box<dyn FnMut(&[u8]) -> Option<(usize, Vec<Action>)>>;

/// What it sends to a new connection before any request.
pub type Greeting = Box<dyn FnMut() -> Vec<Action>>;

pub struct Script {
    reply: Reply,
    greeting: Greeting,
    talks: BTreeMap<StreamId, VecDeque<Action>>,
    /// When the first action of a stream continues.
    due: BTreeMap<StreamId, u64>,
}

impl Script {
    pub fn new(reply: Reply) -> Self {
        Self { reply, greeting: Box::new(Vec::new), talks: BTreeMap::new(), due: BTreeMap::new() }
    }

    pub fn greeting(self, greeting: Greeting) -> Self {
        Self { greeting, ..self }
    }

    pub fn wake_at(&self) -> Option<u64> {
        self.due.values().min().copied()
    }

    pub fn turn(&mut self, io: &mut WorkerStreams, now: u64) {
        while let Some(event) = io.next_event() {
            match event {
                StreamEvent::Accepted { stream, .. } => {
                    let greeting = (self.greeting)();
                    self.talks.insert(stream, greeting.into());
                }
                StreamEvent::Closed(stream, _) => self.forget(stream, io),
                _ => {}
            }
        }
        let all: Vec<StreamId> = self.talks.keys().copied().collect();
        all.into_iter().for_each(|stream| self.talk(stream, io, now));
    }

    fn forget(&mut self, stream: StreamId, io: &mut WorkerStreams) {
        self.talks.remove(&stream);
        self.due.remove(&stream);
        io.release(stream);
    }

    fn talk(&mut self, stream: StreamId, io: &mut WorkerStreams, now: u64) {
        if self.due.get(&stream).is_some_and(|at| *at > now) {
            return;
        }
        self.due.remove(&stream);
        loop {
            let Some(actions) = self.talks.get_mut(&stream) else { return };
            match actions.pop_front() {
                None => {
                    let input = io.readable(stream);
                    let Some((taken, more)) = (!input.is_empty()).then(|| (self.reply)(input)).flatten()
                    else {
                        return;
                    };
                    io.consume(stream, taken);
                    actions.extend(more);
                }
                Some(Action::Send(mut bytes)) => {
                    let sent = io.send(stream, &bytes);
                    bytes.drain(..sent);
                    if !bytes.is_empty() {
                        actions.push_front(Action::Send(bytes));
                        return;
                    }
                }
                Some(Action::Wait(ns)) => {
                    self.due.insert(stream, now + ns);
                    return;
                }
                Some(Action::End) => return self.forget(stream, io),
                Some(Action::Reset) => {
                    io.reset(stream);
                    return self.forget(stream, io);
                }
            }
        }
    }
}
