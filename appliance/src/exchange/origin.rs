//! All sources of responses.

use super::client::Client;
use super::forward::{Forward, ForwardContext};
use super::source::{FeedProgress, HeadProgress, Lost, Memory, PullProgress, Ready, Source};
use crate::http::{Overflow, Refusal, Reply};
use crate::upstream::Upstream;
use alloc::boxed::Box;

/// The source of a response.
pub(crate) enum Origin {
    /// A file of the image, or no content.
    Memory(Memory),
    /// A worker. Boxed: every connection has space for an origin, but few requests are forwarded.
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

impl<U: Upstream> Source<ForwardContext<'_, U>> for Origin {
    fn feed(
        &mut self,
        client: &mut impl Client,
        cx: &mut ForwardContext<'_, U>,
    ) -> Result<FeedProgress, Refusal> {
        match self {
            Self::Memory(memory) => memory.feed(client, cx),
            Self::Worker(forward) => forward.feed(client, cx),
        }
    }

    fn head(
        &mut self,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        cx: &mut ForwardContext<'_, U>,
    ) -> HeadProgress {
        match self {
            Self::Memory(memory) => memory.head(write, cx),
            Self::Worker(forward) => forward.head(write, cx),
        }
    }

    fn ready(&self, cx: &ForwardContext<'_, U>) -> Ready {
        match self {
            Self::Memory(memory) => memory.ready(cx),
            Self::Worker(forward) => forward.ready(cx),
        }
    }

    fn pull(
        &mut self,
        room: usize,
        put: &mut dyn FnMut(&[u8], bool),
        cx: &mut ForwardContext<'_, U>,
    ) -> PullProgress {
        match self {
            Self::Memory(memory) => memory.pull(room, put, cx),
            Self::Worker(forward) => forward.pull(room, put, cx),
        }
    }

    fn lost(&mut self, begun: bool, cx: &mut ForwardContext<'_, U>) -> Option<Lost> {
        match self {
            Self::Memory(memory) => memory.lost(begun, cx),
            Self::Worker(forward) => forward.lost(begun, cx),
        }
    }

    fn finish(&mut self, cx: &mut ForwardContext<'_, U>) {
        match self {
            Self::Memory(memory) => memory.finish(cx),
            Self::Worker(forward) => forward.finish(cx),
        }
    }

    fn abandon(&mut self, cx: &mut ForwardContext<'_, U>) {
        match self {
            Self::Memory(memory) => memory.abandon(cx),
            Self::Worker(forward) => forward.abandon(cx),
        }
    }
}
