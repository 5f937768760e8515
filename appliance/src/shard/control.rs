//! What the shard does and says when it is asked over the control connection.

use super::Shard;
use crate::flow::FlowError;
use crate::time::Instant;
use crate::tls::Store;
use crate::upstream::{self, vsock};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use model::control::message::{
    Answer, EntropyInfo, Message, PAGE, PoolInfo, Refusal, Request, SiteInfo, Status, TlsInfo, WorkerInfo,
};
use model::id::{PoolId, SiteId};
use model::reason::Reason;
use model::settings::{Settings, Worker};
use model::tls::TlsError;
use netdrv::entropy::{self, Source};
use netdrv::nic::Nic;
use netdrv::stream::{StreamId, StreamTransport};

impl<N: Nic, S: StreamTransport> Shard<N, S> {
    pub(super) fn answer_asks(&mut self) {
        while let Some((who, ask)) = self.control.next_ask(self.shared.pools.streams()) {
            let result = self.answer(who, ask.request);
            self.control.reply(who, &Message::Reply { id: ask.id, result });
        }
    }

    /// Tells the supervisor which pools need a worker. Without one the demand stays open.
    pub(super) fn push_demands(&mut self) {
        while self.control.is_supervised()
            && let Some((pool, waited)) = self.shared.pools.next_demand(self.shared.now)
        {
            let waited_ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            self.control.push(&Message::Demand { pool, waited_ns });
        }
    }

    /// Takes new bandwidth and limits for the sites that are served, whole or, on error, not at all. The rest of `settings` is
    /// not looked at. Poll afterwards: what waits may go earlier now.
    pub fn set_bandwidth(&mut self, settings: &Settings, now: Instant) -> Result<(), FlowError> {
        self.shared.traffic.flow.configure(settings, now.as_nanos())
    }

    fn answer(&mut self, who: StreamId, request: Request) -> Result<Answer, Refusal> {
        let now = self.shared.now;
        match request {
            Request::Supervise => {
                self.control.supervises(who, self.shared.pools.streams());
                self.shared.pools.forget_announced();
            }
            Request::WorkerUp { pool, address, named } => {
                self.pool_exists(pool)?;
                if !self.shared.pools.worker_came(pool, vsock(address), named, now) {
                    return Err(Refusal::TooManyWorkers);
                }
            }
            Request::WorkerIs { pool, address, down, note } => {
                self.pool_exists(pool)?;
                if !self.shared.pools.worker_is(pool, vsock(address), down, note, now) {
                    return Err(Refusal::NoSuchWorker);
                }
            }
            Request::StreamEnded { name, whole } => self.shared.pools.stream_ended(name, whole),
            Request::WorkerLeaving { pool, address } => {
                self.pool_exists(pool)?;
                if !self.shared.pools.worker_leaves(pool, vsock(address)) {
                    return Err(Refusal::NoSuchWorker);
                }
            }
            Request::WorkerGone { pool, address, died } => {
                self.pool_exists(pool)?;
                if !self.shared.pools.worker_gone(pool, vsock(address), died, now) {
                    return Err(Refusal::NoSuchWorker);
                }
            }
            Request::SetService { pool, service, out } => {
                self.pool_exists(pool)?;
                self.shared.pools.set_service(pool, service, out);
            }
            Request::SetSite { site, bandwidth, limits } => {
                let mut settings = self.settings.clone();
                let found = settings.sites.iter_mut().find(|s| s.name == site).ok_or(Refusal::NoSuchSite)?;
                (found.bandwidth, found.limits) = (bandwidth, limits);
                self.apply(settings)?;
            }
            Request::SetServer { bandwidth, limits } => {
                let mut settings = self.settings.clone();
                (settings.server.bandwidth, settings.server.limits) = (bandwidth, limits);
                self.apply(settings)?;
            }
            Request::SetCertificates { site, certificates } => {
                let site = self.site_named(&site)?;
                self.store()?.set_certificates(site, &certificates).map_err(Refusal::Certificates)?;
            }
            Request::SetStaple { site, certificate, ocsp } => {
                let site = self.site_named(&site)?;
                let set = self.store()?.set_staple(site, certificate.into(), ocsp);
                set.map_err(Refusal::Certificates)?;
            }
            Request::Drain { limit_ms } => {
                return Ok(Answer::Draining(self.drain(Duration::from_millis(limit_ms))));
            }
            Request::Status => return Ok(Answer::Status(self.status())),
            Request::Pools(from) => {
                let pools =
                    (from.0..=u16::MAX).take(POOLS_PAGE).map_while(|pool| self.pool_info(PoolId(pool)));
                return Ok(Answer::Pools(pools.collect()));
            }
            Request::Sites(from) => {
                let sites = (from.0..=u16::MAX).take(PAGE).map_while(|site| self.site_info(SiteId(site)));
                return Ok(Answer::Sites(sites.collect()));
            }
        }
        Ok(Answer::Done)
    }

    fn site_named(&self, name: &str) -> Result<SiteId, Refusal> {
        let index = self.settings.sites.iter().position(|site| site.name == name);
        index.and_then(SiteId::at).ok_or(Refusal::NoSuchSite)
    }

    fn store(&mut self) -> Result<&mut Store, Refusal> {
        self.shared.security.store_mut().ok_or(Refusal::Certificates(TlsError::NoTls))
    }

    fn pool_exists(&self, pool: PoolId) -> Result<(), Refusal> {
        if pool.index() < self.shared.pools.count() { Ok(()) } else { Err(Refusal::NoSuchPool) }
    }

    fn apply(&mut self, settings: Settings) -> Result<(), Refusal> {
        self.set_bandwidth(&settings, self.shared.now)
            .map_err(|error| Refusal::Bandwidth(error.to_string()))?;
        self.settings = settings;
        Ok(())
    }

    fn status(&self) -> Status {
        let (tcp, requests, pools) =
            (self.stack.counters(), &self.shared.counters, self.shared.pools.counters());
        let (control, links) = (self.control.counters(), self.shared.pools.secure_counters());
        let [(_, card), (_, vsock)] = self.faults();
        let counters = [
            ("card_resets", u64::from(card.resets)),
            ("card_dropped", card.dropped),
            ("vsock_resets", u64::from(vsock.resets)),
            ("vsock_dropped", vsock.dropped),
            ("connections_accepted", tcp.connections_accepted),
            ("connections_refused", tcp.connections_refused),
            ("connections_evicted", requests.evicted),
            ("requests", requests.requests),
            ("served_from_memory", requests.served_from_memory),
            ("served_by_workers", requests.served_by_workers),
            ("replayed", requests.replayed),
            ("truncated", requests.truncated),
            ("malformed_responses", requests.malformed),
            ("silent_workers", requests.silent),
            ("upgraded", requests.upgraded),
            ("tunnel_bytes_in", requests.tunnel_bytes_in),
            ("tunnel_bytes_out", requests.tunnel_bytes_out),
            ("queue_submitted", pools.submitted),
            ("queue_rejected", pools.rejected),
            ("queue_expired", pools.expired),
            ("queue_offline", pools.offline),
            ("links_opened", pools.links_opened),
            ("links_lost", pools.links_lost),
            ("links_unasked", pools.unasked),
            ("connects_failed", pools.connects_failed),
            ("fatal_targets", pools.fatal_targets),
            ("links_unconfirmed", pools.unconfirmed),
            ("link_handshakes", links.handshakes),
            ("link_handshakes_failed", links.failed),
            ("link_certificates_expired", links.expired),
            ("link_certificates_untrusted", links.untrusted),
            ("link_certificates_of_other_names", links.other_name),
            ("links_broken", links.broken),
            ("links_cut", links.cut),
            ("control_accepted", control.accepted),
            ("control_turned_away", control.turned_away),
            ("control_broken", control.broken),
            ("control_malformed", control.malformed),
        ];
        let named = |(name, count): &(&str, u64)| (String::from(*name), *count);
        let reasons = Reason::ALL.iter().map(|reason| (reason.as_str(), requests.of(*reason)));
        let reasons: Vec<_> = reasons.filter(|(_, count)| *count > 0).collect();
        Status {
            uptime_ms: self.shared.now.since(self.started).as_millis() as u64,
            connections: self.stack.established() as u64,
            links: self.shared.pools.links() as u64,
            links_in_use: self.shared.pools.links_in_use() as u64,
            held_bytes: self.held_bytes() as u64,
            counters: counters.iter().map(named).collect(),
            reasons: reasons.iter().map(named).collect(),
            tls: self.tls_info().map(Box::new),
            entropy: entropy_info((self.entropy)()),
        }
    }

    fn tls_info(&self) -> Option<TlsInfo> {
        let without = self.without_tls;
        self.certificates().map(drop).or(without.map(drop))?;
        Some(TlsInfo { handshaking: self.tls_handshakes() as u32, counters: self.tls_counters(), without })
    }

    fn pool_info(&self, pool: PoolId) -> Option<PoolInfo> {
        let settings = self.settings.pools.get(pool.index())?;
        let status = self.shared.pools.status(pool);
        let worker = |w: upstream::WorkerStatus| WorkerInfo {
            address: Worker { cid: w.address.cid, port: w.address.port },
            leaving: w.leaving,
            healthy: w.healthy,
            down: w.down,
            note: w.note,
            in_hand: w.in_hand as u32,
            served: w.served,
            unused_ms: self.shared.now.since(w.used_at).as_millis() as u64,
        };
        Some(PoolInfo {
            name: settings.name.clone(),
            state: status.state as u8,
            out: self.shared.pools.outage(pool).cloned(),
            waiting: status.waiting as u32,
            in_hand: status.in_hand as u32,
            workers: self.shared.pools.workers(pool).map(worker).collect(),
        })
    }

    fn site_info(&self, site: SiteId) -> Option<SiteInfo> {
        let settings = self.settings.sites.get(site.index())?;
        Some(SiteInfo {
            name: settings.name.clone(),
            bandwidth: settings.bandwidth,
            limits: settings.limits,
            metrics: self.site_metrics(site, self.shared.now)?,
            certificates_end: self.certificates().map_or(Vec::new(), |store| store.expires(site).to_vec()),
        })
    }
}

fn entropy_info(status: entropy::Status) -> EntropyInfo {
    let sources = [("processor", status.processor), ("virtio-rng", status.device)];
    let there = sources.into_iter().filter(|(_, source)| *source != Source::Absent);
    EntropyInfo {
        seeded: status.seeded,
        sources: there.map(|(name, source)| (name.into(), source == Source::Good)).collect(),
        seeds: status.seeds,
        bytes: status.bytes,
    }
}

/// Most pools of one page: each may have up to [`MAX_WORKERS`](model::pool::MAX_WORKERS) workers with a note each.
const POOLS_PAGE: usize = 3;
