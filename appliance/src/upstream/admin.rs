//! What administrators and the supervisor do to pools: service, workers that come and go, demand.

use super::link::{Link, LinkId, LinkState};
use super::worker::{Standing, Worker};
use super::{PoolEvent, Pools};
use crate::http::response::Bounds;
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

/// A pool at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// Its state.
    pub state: PoolState,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that workers have.
    pub in_hand: usize,
    /// Workers it knows, those that are leaving not counted.
    pub workers: usize,
    /// Of these, those that answer.
    pub healthy: usize,
}

/// A worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Where it is.
    pub address: VsockAddr,
    /// It finishes what it has and gets nothing new.
    pub leaving: bool,
    /// It answered the last requests.
    pub healthy: bool,
    /// Whoever looks after it says that it cannot serve: it gets nothing new.
    pub down: bool,
    /// What is said of it there.
    pub note: String,
    /// Requests it has.
    pub in_hand: usize,
    /// Requests it has answered.
    pub served: u64,
    /// When it was last given a request or ended with one.
    pub used_at: Instant,
}

impl<S: StreamTransport> Pools<S> {
    /// How a pool is.
    pub fn status(&self, pool: PoolId) -> PoolStatus {
        let Some(pool) = self.pools.get(pool.index()) else {
            let state = PoolState::Uninitialized;
            return PoolStatus { state, waiting: 0, in_hand: 0, workers: 0, healthy: 0 };
        };
        let active = || pool.workers.iter().filter(|w| w.standing == Standing::Active);
        let in_hand = pool.workers.iter().map(|w| w.in_use).sum();
        PoolStatus {
            state: pool.service.state(in_hand, active().any(|w| w.in_sight && !w.down)),
            waiting: pool.waiting.len(),
            in_hand,
            workers: active().count(),
            healthy: active().filter(|w| w.is_healthy()).count(),
        }
    }

    /// How many pools there are.
    pub fn count(&self) -> usize {
        self.pools.len()
    }

    /// How much a 503 of this pool says.
    pub fn verbosity(&self, pool: PoolId) -> Verbosity {
        self.pools.get(pool.index()).map_or(Verbosity::Limited, |pool| pool.verbosity)
    }

    /// How long this pool's workers may be silent with a request in hand.
    pub fn response_timeout(&self, pool: PoolId) -> Duration {
        self.pools.get(pool.index()).map_or(self.limits.response_timeout, |pool| pool.response_timeout)
    }

    /// How long heads of answers of this pool's workers may be.
    pub fn answer_bounds(&self, pool: PoolId) -> Bounds {
        self.pools.get(pool.index()).map_or(Bounds::default(), |pool| pool.answers)
    }

    /// Takes a pool into service or out of it. Requests that wait are told at once; those in hand are finished.
    pub fn set_service(&mut self, pool: PoolId, service: Service, out: Option<Outage>) {
        let Some(found) = self.pools.get_mut(pool.index()) else { return };
        found.service = service;
        found.out = out.filter(|_| service != Service::Open);
        if let Some(out) = &mut found.out {
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

    /// Why a pool is out of service, where somebody has said so.
    pub fn outage(&self, pool: PoolId) -> Option<&Outage> {
        self.pools.get(pool.index())?.out.as_ref()
    }

    /// A worker has come up at this address; one that is known there becomes active again. `named`: its streams are to begin
    /// with their names. False if there is no such pool or no room in it.
    pub fn worker_came(&mut self, pool: PoolId, address: VsockAddr, named: bool, now: Instant) -> bool {
        let index = pool.index();
        let Some(found) = self.pools.get_mut(index) else { return false };
        found.demanded = false;
        let free = |w: &Worker| w.standing == Standing::Leaving && w.links == 0;
        let new = || Worker::announced(address, named, now);
        if let Some(known) = found.workers.iter_mut().find(|w| w.address == address) {
            known.came();
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

    /// What whoever looks after the worker at this address says of it. One that is down gets nothing new until it is said
    /// to be well, or comes again; what it has in hand it may finish.
    pub fn worker_is(
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

    /// Whoever announced workers starts anew: those it has announced leave, unless it announces them again. Workers of the
    /// settings stay.
    pub fn forget_announced(&mut self) {
        for pool in PoolId::first(self.pools.len()) {
            let announced =
                self.pools[pool.index()].workers.iter().filter(|w| w.announced).map(|w| w.address);
            for address in announced.collect::<Vec<_>>() {
                self.worker_leaves(pool, address);
            }
        }
        self.demand_again();
    }

    /// The worker at this address gets no further requests and finishes those it has.
    pub fn worker_leaves(&mut self, pool: PoolId, address: VsockAddr) -> bool {
        let index = pool.index();
        let Some(found) = self.pools.get_mut(index) else { return false };
        let Some(worker) = found.workers.iter().position(|w| w.address == address) else { return false };
        found.workers[worker].standing = Standing::Leaving;
        // Those it leaves behind may need another one.
        found.demanded = false;
        let unused = |link: &Link| {
            (link.pool, link.worker) == (index, worker) && !matches!(link.state, LinkState::InUse(_))
        };
        while let Some(id) = self.links.find(unused) {
            self.drop_link(id);
        }
        true
    }

    /// The worker at this address is gone. Its requesters learn it at once: the transport may be late with it, or never
    /// tell. `died`: it ended by itself or hung, and what it had in hand, or had just lost, may be why.
    pub fn worker_gone(&mut self, pool: PoolId, address: VsockAddr, died: bool, now: Instant) -> bool {
        if !self.worker_leaves(pool, address) {
            return false;
        }
        let index = pool.index();
        let found = self.pools[index].workers.iter_mut().find(|w| died && w.address == address);
        self.deaths += 1;
        let death = self.deaths;
        for lost in found.map_or_else(Vec::new, |worker| worker.has_died(death, now)) {
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

    /// The next pool that needs a worker, and for how long its oldest request has waited: nobody is fit to take it, or all
    /// have as much as they may have. Each is named once, until a worker comes or [`Pools::demand_again`].
    pub fn next_demand(&mut self, now: Instant) -> Option<(PoolId, Duration)> {
        let needs = |index: &usize| {
            let pool = &self.pools[*index];
            !pool.demanded
                && !pool.waiting.is_empty()
                && pool.waiting.len() > self.under_way(*index, now)
                && !pool.workers.iter().any(|w| w.is_fit(now) && w.links < pool.links_per_worker)
        };
        let index = (0..self.pools.len()).find(needs)?;
        let pool = &mut self.pools[index];
        pool.demanded = true;
        let waited = pool.waiting.front().map_or(Duration::ZERO, |waiting| now.since(waiting.since));
        Some((PoolId::at(index)?, waited))
    }

    /// A pool's workers, those that are leaving included as long as they have something.
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

    /// Whoever was asked for workers has gone: the next one is to be asked again.
    pub fn demand_again(&mut self) {
        self.pools.iter_mut().for_each(|pool| pool.demanded = false);
    }
}

/// Keeps to [`NOTE_MAX`].
fn cut(note: &mut String) {
    let end = (0..=NOTE_MAX.min(note.len())).rev().find(|at| note.is_char_boundary(*at));
    note.truncate(end.unwrap_or(0));
}
