//! Control requests that a shard answers.

use super::Shard;
use crate::flow::FlowError;
use crate::hub::Hub;
use crate::time::Instant;
use crate::tls::Store;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use model::control::message::{Answer, EntropyInfo, PAGE, Refusal, Request, SiteInfo, Status, TlsInfo};
use model::id::SiteId;
use model::reason::Reason;
use model::settings::Settings;
use model::tls::TlsError;
use netdrv::entropy::{self, Source};
use netdrv::nic::Nic;

impl<N: Nic, H: Hub> Shard<N, H> {
    pub(super) fn answer_requests(&mut self) {
        let now = self.shared.now;
        while let Some((peer, ask)) = self.shared.hub.next_ask(now) {
            let result = self.execute(ask.request);
            self.shared.hub.answer(peer, ask.id, result);
        }
    }

    /// Replaces the bandwidth and limits of the sites served: all of them or, on error, none. Ignores the
    /// rest of `settings`. Poll afterwards, since waiting transfers may be allowed to proceed earlier.
    pub fn set_bandwidth(&mut self, settings: &Settings, now: Instant) -> Result<(), FlowError> {
        self.shared.traffic.flow.configure(settings, now.as_nanos())
    }

    fn execute(&mut self, request: Request) -> Result<Answer, Refusal> {
        match request {
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
            Request::Sites(from) => {
                let sites = (from.0..=u16::MAX).take(PAGE).map_while(|site| self.site_info(SiteId(site)));
                return Ok(Answer::Sites(sites.collect()));
            }
            // The hub answers requests about pools and workers.
            Request::Supervise
            | Request::WorkerUp { .. }
            | Request::WorkerReport { .. }
            | Request::StreamEnded { .. }
            | Request::WorkerLeaving { .. }
            | Request::WorkerGone { .. }
            | Request::SetService { .. }
            | Request::Pools(_) => return Err(Refusal::Malformed),
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

    fn apply(&mut self, settings: Settings) -> Result<(), Refusal> {
        self.set_bandwidth(&settings, self.shared.now)
            .map_err(|error| Refusal::Bandwidth(error.to_string()))?;
        self.settings = settings;
        Ok(())
    }

    fn status(&self) -> Status {
        let (tcp, requests, hub) = (self.stack.counters(), &self.shared.counters, self.shared.hub.report());
        let [(_, card), (_, vsock)] = self.faults();
        let devices = [
            ("card_resets", u64::from(card.resets)),
            ("card_dropped", card.dropped),
            ("vsock_resets", u64::from(vsock.resets)),
            ("vsock_dropped", vsock.dropped),
        ];
        let counters = devices.into_iter().chain(tcp.named()).chain(requests.named()).chain(hub.counters);
        let named = |(name, count): (&str, u64)| (String::from(name), count);
        let reasons = Reason::ALL.iter().map(|reason| (reason.as_str(), requests.of(*reason)));
        Status {
            uptime_ms: self.shared.now.since(self.started).as_millis() as u64,
            connections: self.stack.established() as u64,
            links: hub.links as u64,
            links_in_use: hub.links_in_use as u64,
            held_bytes: self.held_bytes() as u64,
            counters: counters.map(named).collect(),
            reasons: reasons.filter(|(_, count)| *count > 0).map(named).collect(),
            tls: self.tls_info().map(Box::new),
            entropy: entropy_info((self.entropy)()),
        }
    }

    fn tls_info(&self) -> Option<TlsInfo> {
        let without = self.tls_error;
        self.certificates().map(drop).or(without.map(drop))?;
        Some(TlsInfo { handshaking: self.tls_handshakes() as u32, counters: self.tls_counters(), without })
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
