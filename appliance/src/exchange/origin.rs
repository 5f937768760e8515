//! All the places that responses come from.

use super::client::Client;
use super::forward::{Forward, Workers};
use super::source::{Fed, Headed, Lost, Memory, Pulled, Ready, Source};
use crate::http::{Overflow, Refusal, Reply};
use crate::upstream::Upstream;
use alloc::boxed::Box;

/// Where a response comes from.
pub(crate) enum Origin {
    /// A file of the image, or nothing beyond the head.
    Memory(Memory),
    /// A worker. Boxed: every connection has room for an origin, few requests are forwarded.
    Worker(Box<Forward>),
}

impl Origin {
    pub(crate) fn worker(&self) -> Option<&Forward> {
        match self {
            Self::Memory(_) => None,
            Self::Worker(forward) => Some(forward),
        }
    }

    pub(crate) fn worker_mut(&mut self) -> Option<&mut Forward> {
        match self {
            Self::Memory(_) => None,
            Self::Worker(forward) => Some(forward),
        }
    }
}

impl<U: Upstream> Source<Workers<'_, U>> for Origin {
    fn feed(&mut self, client: &mut impl Client, cx: &mut Workers<'_, U>) -> Result<Fed, Refusal> {
        match self {
            Self::Memory(memory) => memory.feed(client, cx),
            Self::Worker(forward) => forward.feed(client, cx),
        }
    }

    fn head(
        &mut self,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut Workers<'_, U>,
    ) -> Headed {
        match self {
            Self::Memory(memory) => memory.head(write, cx),
            Self::Worker(forward) => forward.head(write, cx),
        }
    }

    fn ready(&self, cx: &Workers<'_, U>) -> Ready {
        match self {
            Self::Memory(memory) => memory.ready(cx),
            Self::Worker(forward) => forward.ready(cx),
        }
    }

    fn pull(&mut self, room: usize, put: &mut dyn FnMut(&[u8], bool), cx: &mut Workers<'_, U>) -> Pulled {
        match self {
            Self::Memory(memory) => memory.pull(room, put, cx),
            Self::Worker(forward) => forward.pull(room, put, cx),
        }
    }

    fn lost(&mut self, begun: bool, cx: &mut Workers<'_, U>) -> Option<Lost> {
        match self {
            Self::Memory(memory) => memory.lost(begun, cx),
            Self::Worker(forward) => forward.lost(begun, cx),
        }
    }

    fn finish(&mut self, cx: &mut Workers<'_, U>) {
        match self {
            Self::Memory(memory) => memory.finish(cx),
            Self::Worker(forward) => forward.finish(cx),
        }
    }

    fn abandon(&mut self, cx: &mut Workers<'_, U>) {
        match self {
            Self::Memory(memory) => memory.abandon(cx),
            Self::Worker(forward) => forward.abandon(cx),
        }
    }
}
