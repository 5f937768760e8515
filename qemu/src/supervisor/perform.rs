//! Carries out decisions about workers, and handles their reports.

use super::address::{Change, Watch};
use super::check::Question;
use super::pool::{Action, Event, PoolState, Why, WorkerId};
use super::worker::{Order, Report, WorkerTask};
use super::{Address, Member, Pool, PoolPlan, Supervisor, at};
use crate::relay::ends::{ReportEnd, Witness};
use crate::relay::{Limits, Relay};
use anyhow::{Context, Result};
use model::control::message::Request;
use model::id::PoolId;
use model::pool::{Outage, Service};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

impl Supervisor {
    /// Starts supervising a pool and monitoring its existing servers.
    pub(super) fn add(&mut self, plan: PoolPlan) -> Result<()> {
        let pool = PoolId::at(self.pools.len()).context("too many pools, expected at most 65536")?;
        let mut addresses = Vec::new();
        for (address, target) in plan.addresses.iter().enumerate() {
            let port = self.port();
            let ends = Some((self.tell(), Witness::Nobody));
            let path = Relay::path_for(&self.vsock, port);
            let relay = Relay::bind_telling(&path, target.clone(), Limits::default(), ends)?;
            let watch = Watch {
                pool,
                address,
                target: target.clone(),
                ping: plan.policy.ping.clone(),
                question: question(&plan),
                signs: relay.signs(),
                changes: self.changes.clone(),
            };
            addresses.push(Address { port, open: relay.open(), name: target.to_string(), down: None });
            self.tasks.spawn_local(relay.run());
            self.tasks.spawn_local(watch.run());
        }
        let places = plan.places.iter().map(|place| place.instances).collect();
        let state = PoolState::new(plan.policy.clone(), places, Instant::now());
        let (members, last_failure, out) = (BTreeMap::new(), String::new(), None);
        self.pools.push(Pool { plan, state, members, addresses, last_failure, out });
        Ok(())
    }

    /// The function that reports to the appliance how streams ended.
    fn tell(&self) -> ReportEnd {
        let client = self.client.clone();
        Rc::new(move |name, whole| client.tell(Request::StreamEnded { name, whole }))
    }

    /// Handles a change in the health of an existing server.
    pub(super) fn changed(&mut self, Change { pool: number, address, down }: Change) {
        let Some(pool) = self.pools.get_mut(number.index()) else { return };
        let Some(there) = pool.addresses.get_mut(address) else { return };
        match &down {
            Some(why) => eprintln!("[weir] pool {}: {} is down: it {why}", pool.plan.name, there.name),
            None => eprintln!("[weir] pool {}: {} is healthy again", pool.plan.name, there.name),
        }
        there.down = down;
        if self.leaves_at.is_none() {
            self.client.tell(there.is(number));
        }
    }

    /// Handles a report of a started worker.
    pub(super) fn take(&mut self, Report { pool: number, event, why }: Report) {
        let Some(pool) = self.pools.get_mut(number.index()) else { return };
        let name = &pool.plan.name;
        match event {
            Event::Ended(id) => {
                eprintln!("[weir] pool {name}: worker {id} ended: {why}");
                pool.last_failure = format!("worker {id} ended: {why}");
                if let Some(member) = pool.members.remove(&id)
                    && member.announced
                {
                    let address = at(member.port);
                    self.client.tell(Request::WorkerGone { pool: number, address, died: true });
                }
            }
            Event::HealthChanged(id) => {
                match why.as_str() {
                    "" => eprintln!("[weir] pool {name}: worker {id} is healthy again"),
                    why => eprintln!(
                        "[weir] pool {name}: worker {id} {why}; it will be ended if that lasts {} s",
                        pool.plan.policy.ping.limit.as_secs()
                    ),
                }
                if let Some(member) = pool.members.get(&id).filter(|member| member.announced) {
                    let (pool, address) = (number, at(member.port));
                    self.client.tell(Request::WorkerReport { pool, address, down: false, note: why });
                }
            }
            _ => {}
        }
        self.on(number, event);
    }

    /// Prints why a pool is out of service, and what brings it back.
    pub(super) fn explain_outage(&mut self, number: PoolId) {
        let pool = &mut self.pools[number.index()];
        let (name, failures) = (&pool.plan.name, pool.out.as_ref().is_some_and(|out| out.failures));
        let order = format!("weir ctl pool {name} start");
        let often = match pool.state.failures() {
            // Under an earlier supervisor.
            0 => "failures in a short time".to_owned(),
            failures => format!("{failures} failures in a short time"),
        };
        let last = match pool.last_failure.as_str() {
            "" => String::new(),
            failure => format!("; last failure: {failure}"),
        };
        let what = match (failures, pool.state.opens_at()) {
            (false, _) => format!("by an administrator's command; `{order}` puts it back into service"),
            (true, Some(at)) => {
                let at = utc(at.saturating_duration_since(Instant::now()));
                format!("{often}; tried again at {at}, or at once with `{order}`{last}")
            }
            (true, None) => format!("{often}; `{order}` puts it back into service{last}"),
        };
        eprintln!("[weir] pool {name}: out of service: {what}");
        let out = Some(Outage { failures, what });
        pool.out.clone_from(&out);
        self.client.tell(Request::SetService { pool: number, service: Service::Offline, out });
    }

    pub(super) fn perform(&mut self, number: PoolId, action: Action) {
        let pool = &mut self.pools[number.index()];
        let name = &pool.plan.name;
        match action {
            Action::Start(id, place) => self.start_worker(number, id, place),
            Action::Announce(id) => {
                let Some(member) = pool.members.get_mut(&id) else { return };
                eprintln!("[weir] pool {name}: worker {id} is up");
                member.announced = true;
                let address = at(member.port);
                self.client.tell(Request::WorkerUp { pool: number, address, named: true });
            }
            Action::Ping(id) => pool.order(id, Order::Ping),
            Action::Retire(id, why) => {
                eprintln!("[weir] pool {name}: worker {id} is stopping: {why}");
                let Some(member) = pool.members.get_mut(&id) else { return };
                member.announced = false;
                let (orders, address) = (member.orders.clone(), at(member.port));
                let told = self.client.send(Request::WorkerLeaving { pool: number, address });
                tokio::task::spawn_local(async move {
                    // It may end only when the appliance gives it no more requests; without a reply it ends anyway.
                    let _ = told.await;
                    let _ = orders.send(Order::Retire);
                });
            }
            Action::Kill(id, why) => {
                eprintln!("[weir] pool {name}: worker {id} {why}");
                pool.last_failure = format!("worker {id} {why}");
                let Some(member) = pool.members.get_mut(&id) else { return };
                member.announced = false;
                // The appliance does not know workers that never became ready.
                if why != Why::StartLimit {
                    let (address, died) = (at(member.port), why == Why::PingLimit);
                    self.client.tell(Request::WorkerGone { pool: number, address, died });
                }
                pool.order(id, Order::Kill);
            }
            Action::Orphan(id) => {
                pool.order(id, Order::Orphan(pool.plan.policy.orphan.clone().unwrap_or_default()));
            }
            Action::Open => {
                eprintln!("[weir] pool {name}: in service");
                pool.out = None;
                self.client.tell(Request::SetService { pool: number, service: Service::Open, out: None });
            }
            Action::Close(why) => {
                pool.out = Some(Outage { failures: why == Why::RapidFail, what: why.to_string() });
                self.explain_outage(number);
            }
        }
    }

    fn start_worker(&mut self, number: PoolId, id: WorkerId, place: usize) {
        let (port, tell) = (self.port(), self.tell());
        let pool = &mut self.pools[number.index()];
        let Some(place) = pool.plan.places.get(place) else { return };
        let task = WorkerTask {
            pool: number,
            id,
            place: place.clone(),
            host: self.host.clone(),
            directory: self.directory.join(format!("{}-{id}", place.name)),
            relay: Relay::path_for(&self.vsock, port),
            reports: self.reports.clone(),
            stop_limit: pool.plan.policy.stop_limit,
            question: question(&pool.plan),
            ping_limit: pool.plan.policy.ping.limit,
            tell,
        };
        let (orders, given) = mpsc::unbounded_channel();
        pool.members.insert(id, Member { orders, port, announced: false });
        self.tasks.spawn_local(task.run(given));
    }
}

/// The health check of a pool's workers.
fn question(plan: &PoolPlan) -> Question {
    Question { check: plan.policy.ping.check.clone(), secured: plan.secured }
}

/// The time of day after this duration.
fn utc(pause: Duration) -> String {
    let seconds = (SystemTime::now() + pause).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02} UTC")
}
