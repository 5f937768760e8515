//! How links end: reports from relays, and timeouts for missing reports.

use super::link::{LinkId, LinkState};
use super::verdict::Ending;
use super::{PoolEvent, Pools};
use crate::time::Instant;
use netdrv::stream::StreamTransport;

impl<S: StreamTransport> Pools<S> {
    /// How this link ended. Valid for a link whose stream was shut down.
    pub fn ending(&self, id: LinkId) -> Ending {
        self.links.get(id).map_or(Ending::Broken, |link| link.verdict.ending())
    }

    /// Records a relay's report on how a stream ended. A report that it was cut is final. An unknown name
    /// belongs to a link no longer in use.
    pub fn stream_ended(&mut self, name: u64, whole: bool) {
        let Some(id) = self.links.find(|link| link.verdict.is_of(name)) else { return };
        let Some(link) = self.links.get_mut(id) else { return };
        link.verdict.pass(whole);
        if let LinkState::InUse(requester) = link.state
            && link.ended
        {
            self.events.push_back(PoolEvent::Ready(requester));
        }
    }

    pub(super) fn end_late_verdicts(&mut self, now: Instant) {
        if self.verdicts_at.is_none_or(|at| at > now) {
            return;
        }
        while let Some(id) = self.links.find(|link| link.verdict.due().is_some_and(|at| at <= now)) {
            let Some(link) = self.links.get_mut(id) else { break };
            link.verdict.pass(false);
            if let LinkState::InUse(requester) = link.state {
                self.counters.unconfirmed += 1;
                self.events.push_back(PoolEvent::Ready(requester));
            }
        }
        self.verdicts_at = self.links.iter().filter_map(|(_, link)| link.verdict.due()).min();
    }
}
