//! Administration of pools: service state, workers that come and go, demand for workers.

use super::link::{Link, LinkId, LinkState};
use super::worker::{Standing, Worker};
use super::{PoolEvent, Pools};
use crate::http::response::ResponseLimits;
use crate::time::Instant;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use model::id::PoolId;
use model::pool::{MAX_WORKERS, NOTE_MAX};
use model::pool::{Outage, PoolState, Service};
use model::reason::Reason;
use model::settings::Verbosity;
use netdrv::stream::{CloseReason, StreamTransport, VsockAddr};

/// State of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// Service state.
    pub state: PoolState,
    /// Waiting requests.
    pub waiting: usize,
    /// Requests at workers.
    pub in_hand: usize,
    /// Known workers, without those that are leaving.
    pub workers: usize,
    /// How many of them are healthy.
    pub healthy: usize,
}

/// State of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its address.
    pub address: VsockAddr,
    /// Whether it finishes its requests and gets no new ones.
    pub leaving: bool,
    /// Whether it answered the last requests.
    pub healthy: bool,
    /// Whether its supervisor reports that it cannot serve: it gets no new requests.
    pub down: bool,
    /// The supervisor's note on it.
    pub note: String,
    /// Requests it is processing.
    pub in_hand: usize,
    /// Requests it has answered.
    pub served: u64,
    /// When it last received or ended a request.
    pub used_at: Instant,
}

impl<S: StreamTransport> Pools<S> {
    /// State of a pool.
    pub fn status(&self, pool: PoolId) -> PoolStatus {
        let Some(pool) = self.pools.get(pool.index()) else {
            let state = PoolState::Uninitialized;
            return PoolStatus { state, waiting: 0, in_hand: 0, workers: 0, healthy: 0 };
        };
        let active = || pool.workers.iter().filter(|w| w.standing == Standing::Active);
        let in_hand = pool.workers.iter().map(|w| w.in_use).sum();
        PoolStatus {
            state: pool.service.state(in_hand, active().any(|w| w.reachable && !w.down)),
            waiting: pool.waiting.len(),
            in_hand,
            workers: active().count(),
            healthy: active().filter(|w| w.is_healthy()).count(),
        }
    }

    /// Number of pools.
    pub fn count(&self) -> usize {
        self.pools.len()
    }

    /// How detailed this pool's 503 responses are.
    pub fn verbosity(&self, pool: PoolId) -> Verbosity {
        self.pools.get(pool.index()).map_or(Verbosity::Limited, |pool| pool.verbosity)
    }

    /// How long a worker of this pool may be silent while it has a request.
    pub fn response_timeout(&self, pool: PoolId) -> Duration {
        self.pools.get(pool.index()).map_or(self.limits.response_timeout, |pool| pool.response_timeout)
    }

    /// Limits on response heads from workers of this pool.
    pub fn response_limits(&self, pool: PoolId) -> ResponseLimits {
        self.pools.get(pool.index()).map_or(ResponseLimits::default(), |pool| pool.response_limits)
    }

    /// Takes a pool into or out of service. Waiting requests are refused at once, requests at workers are
    /// finished.
    pub fn set_service(&mut self, pool: PoolId, service: Service, out: Option<Outage>) {
        let Some(found) = self.pools.get_mut(pool.index()) else { return };
        found.service = service;
        found.outage = out.filter(|_| service != Service::Open);
        if let Some(out) = &mut found.outage {
            cut(&mut out.what);
        }
        let reason = match service {
            Service::Open => return,
            Service::Offline => Reason::AppOffline,
            Service::Shutdown => Reason::AppShutdown,
        };
        found.demanded = false;
        self.counters.offline += found.waiting.len() as u64;
        let waiting = found.waiting.drain(..);
        self.events.extend(waiting.map(|waiting| PoolEvent::Refused(waiting.requester, reason)));
    }

    /// Why a pool is out of service, if given.
    pub fn outage(&self, pool: PoolId) -> Option<&Outage> {
        self.pools.get(pool.index())?.outage.as_ref()
    }

    /// Adds a worker, or reactivates one known at this address. `named`: its streams begin with their names.
    /// False if there is no such pool or no room in it.
    pub fn add_worker(&mut self, pool: PoolId, address: VsockAddr, named: bool, now: Instant) -> bool {
        let index = pool.index();
        let Some(found) = self.pools.get_mut(index) else { return false };
        found.demanded = false;
        let free = |w: &Worker| w.standing == Standing::Leaving && w.links == 0;
        let new = || Worker::announced(address, named, now);
        if let Some(known) = found.workers.iter_mut().find(|w| w.address == address) {
            known.on_announced();
            known.named = named;
        } else if let Some(place) = found.workers.iter_mut().find(|w| free(w)) {
            *place = new();
        } else if found.workers.len() < MAX_WORKERS {
            found.workers.push(new());
        } else {
            return false;
        }
        self.dispatch(index, now);
        true
    }

    /// Records what its supervisor says about a worker. A worker that is down gets no new requests until it
    /// is reported up or announced again; it may finish those it has.
    pub fn report_worker(
        &mut self,
        pool: PoolId,
        address: VsockAddr,
        down: bool,
        mut note: String,
        now: Instant,
    ) -> bool {
        let index = pool.index();
        let Some(found) = self.pools.get_mut(index) else { return false };
        let Some(worker) = found.workers.iter_mut().find(|w| w.address == address) else { return false };
        cut(&mut note);
        (worker.note, worker.down) = (note, down);
        found.demanded &= !down;
        self.dispatch(index, now);
        true
    }

    /// Retires all announced workers: a new supervisor takes over, and announces those that exist again.
    /// Workers from the settings stay.
    pub fn retire_announced(&mut self) {
        for pool in PoolId::first(self.pools.len()) {
            let announced =
                self.pools[pool.index()].workers.iter().filter(|w| w.announced).map(|w| w.address);
            for address in announced.collect::<Vec<_>>() {
                self.retire_worker(pool, address);
            }
        }
        self.renew_demands();
    }

    /// Retires a worker: it gets no further requests and finishes those it has.
    pub fn retire_worker(&mut self, pool: PoolId, address: VsockAddr) -> bool {
        let index = pool.index();
        let Some(found) = self.pools.get_mut(index) else { return false };
        let Some(worker) = found.workers.iter().position(|w| w.address == address) else { return false };
        found.workers[worker].standing = Standing::Leaving;
        // Its waiting requests may need another worker.
        found.demanded = false;
        let unused = |link: &Link| {
            (link.pool, link.worker) == (index, worker) && !matches!(link.state, LinkState::InUse(_))
        };
        while let Some(id) = self.links.find(unused) {
            self.drop_link(id);
        }
        true
    }

    /// Removes a worker that has gone. Its requesters are told at once, since the transport may report it
    /// late or never. `died`: the worker crashed or hung, so a request that it had or had just lost may be
    /// the cause.
    pub fn remove_worker(&mut self, pool: PoolId, address: VsockAddr, died: bool, now: Instant) -> bool {
        if !self.retire_worker(pool, address) {
            return false;
        }
        let index = pool.index();
        let found = self.pools[index].workers.iter_mut().find(|w| died && w.address == address);
        self.deaths += 1;
        let death = self.deaths;
        for lost in found.map_or_else(Vec::new, |worker| worker.on_died(death, now)) {
            self.died(lost, death, now);
        }
        let lost = |(id, link): (LinkId, &Link)| {
            let its = link.pool == index && self.pools[index].workers[link.worker].address == address;
            (its && !link.ended).then_some(id)
        };
        for id in self.links.iter().filter_map(lost).collect::<Vec<_>>() {
            self.on_link_ended(id, CloseReason::Reset, now);
        }
        true
    }

    /// The next pool that needs a worker, because none is fit or all are at their limit, and how long its
    /// oldest request has waited. Each pool is reported once, until a worker comes or
    /// [`Pools::renew_demands`].
    pub fn next_demand(&mut self, now: Instant) -> Option<(PoolId, Duration)> {
        let needs = |index: &usize| {
            let pool = &self.pools[*index];
            !pool.demanded
                && !pool.waiting.is_empty()
                && pool.waiting.len() > self.pending_links(*index, now)
                && !pool.workers.iter().any(|w| w.is_fit(now) && w.links < pool.links_per_worker)
        };
        let index = (0..self.pools.len()).find(needs)?;
        let pool = &mut self.pools[index];
        pool.demanded = true;
        let waited = pool.waiting.front().map_or(Duration::ZERO, |waiting| now.since(waiting.since));
        Some((PoolId::at(index)?, waited))
    }

    /// The workers of a pool, including leaving ones that still have links.
    pub fn workers(&self, pool: PoolId) -> impl Iterator<Item = WorkerStatus> {
        let workers = self.pools.get(pool.index()).map_or(&[][..], |pool| &pool.workers);
        let there = workers.iter().filter(|w| w.standing == Standing::Active || w.links > 0);
        there.map(|w| WorkerStatus {
            address: w.address,
            leaving: w.standing == Standing::Leaving,
            healthy: w.is_healthy(),
            down: w.down,
            note: w.note.clone(),
            in_hand: w.in_use,
            served: w.served,
            used_at: w.used_at,
        })
    }

    /// Reports all demand again: the supervisor that was asked for workers has gone.
    pub fn renew_demands(&mut self) {
        self.pools.iter_mut().for_each(|pool| pool.demanded = false);
    }
}

/// Truncates to [`NOTE_MAX`] bytes.
fn cut(note: &mut String) {
    let end = (0..=NOTE_MAX.min(note.len())).rev().find(|at| note.is_char_boundary(*at));
    note.truncate(end.unwrap_or(0));
}
