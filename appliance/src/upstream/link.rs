//! Links: streams to workers, and their users.

use super::ExchangeId;
use super::verdict::Verdict;
use super::worker::Worker;
use crate::time::Instant;
use alloc::vec::Vec;
use netdrv::stream::StreamId;

/// Identifies a link. Never reused for another link, since stream ids are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(StreamId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    Connecting,
    /// Idle since this time, and since this turn of the transport.
    Idle {
        since: Instant,
        turn: u64,
    },
    InUse(ExchangeId),
}

pub(super) struct Link {
    pub(super) pool: usize,
    pub(super) worker: usize,
    pub(super) stream: StreamId,
    pub(super) state: LinkState,
    /// When it was assigned to its user.
    pub(super) assigned_at: Instant,
    /// Whether the end of the stream can be trusted.
    pub(super) verdict: Verdict,
    /// The stream has ended, but the user has not finished with the link.
    pub(super) ended: bool,
    /// Bytes on the link were no answer to the current request.
    pub(super) spoiled: bool,
}

/// All links, indexed by stream slot.
#[derive(Default)]
pub(super) struct Links {
    slots: Vec<Option<Link>>,
}

impl Links {
    pub(super) fn insert(&mut self, link: Link) {
        let slot = usize::from(link.stream.slot);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(link);
    }

    pub(super) fn by_stream(&self, stream: StreamId) -> Option<LinkId> {
        self.get(LinkId(stream)).map(|_| LinkId(stream))
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.slots.get(usize::from(id.0.slot))?.as_ref().filter(|link| link.stream == id.0)
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(usize::from(id.0.slot))?.as_mut().filter(|link| link.stream == id.0)
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.get(id)?;
        self.slots.get_mut(usize::from(id.0.slot))?.take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.slots.iter().flatten().map(|link| (LinkId(link.stream), link))
    }

    pub(super) fn find(&self, choose: impl Fn(&Link) -> bool) -> Option<LinkId> {
        self.iter().find(|(_, link)| choose(link)).map(|(id, _)| id)
    }

    /// An idle link of the pool that was already idle before this turn of the transport: by
    /// [`Worker::rank`], then to the worker with the fewest requests, among fit workers other than `avoid`.
    /// None while a better choice has room for another link.
    pub(super) fn find_idle(
        &self,
        pool: usize,
        (workers, limit): (&[Worker], usize),
        avoid: Option<usize>,
        this_turn: u64,
        now: Instant,
    ) -> Option<LinkId> {
        let rested = |link: &Link| matches!(link.state, LinkState::Idle { turn, .. } if turn < this_turn);
        let room =
            |(number, w): &(usize, &Worker)| Some(*number) != avoid && w.links < limit && w.is_fit(now);
        let best = workers.iter().enumerate().filter(room).map(|(_, w)| w.rank(now)).min();
        self.iter()
            .filter(|(_, link)| link.pool == pool && rested(link))
            .filter(|(_, link)| Some(link.worker) != avoid && workers[link.worker].may_use_link(now))
            .map(|(id, link)| (id, workers[link.worker].rank(now), workers[link.worker].in_use))
            .filter(|(_, rank, _)| best.is_none_or(|best| *rank <= best))
            .min_by_key(|(_, rank, in_use)| (*rank, *in_use))
            .map(|(id, ..)| id)
    }
}
