//! TLS configurations by site, and the choice of a site by name.

use super::certificate::Certificates;
use super::client::{ClientCertificate, RequestCertificate};
use super::clock::WallClock;
use super::keys::Keys;
use super::ticket::{ROTATE_AFTER_S, TicketKeys};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use model::id::SiteId;
use model::settings::{Certificate, ClientCertificates, Settings, Site};
use model::tls::TlsError;
use model::url::{PrefixHost, Scheme, UrlPrefix};
use rustls::crypto::{CryptoProvider, SecureRandom};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

/// Protocols offered by ALPN (RFC 7301), preferred first.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];
/// Tickets issued after a TLS 1.3 handshake; each is used once.
const TICKETS: usize = 2;

/// TLS configuration of a site.
struct Profile {
    config: Arc<ServerConfig>,
    /// The resolver in `config`.
    certificates: Arc<Certificates>,
    tickets: Option<TicketKeys>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// By prefix.
    client_certificates: Vec<ClientCertificates>,
    hsts: Option<Vec<u8>>,
    /// When its certificates expire, in seconds since 1970-01-01 UTC.
    expires: Vec<u64>,
}

/// A host on a port, and the site whose configuration applies.
type Name = ((u16, Vec<u8>), SiteId);

/// Configurations by site, and the names that lead to them. Connections keep the configuration they began
/// with.
pub struct Store {
    profiles: Vec<Option<Profile>>,
    exact: Vec<Name>,
    subdomains: Vec<Name>,
    defaults: Vec<Name>,
    clock: Arc<WallClock>,
    rotate_at: u64,
}

impl Store {
    /// Builds the configurations of all sites with certificates.
    pub fn new(settings: &Settings, keys: Keys<'_>, clock: Arc<WallClock>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self::with_provider(settings, keys, clock, provider)
    }

    /// Like [`Store::new`], with another provider of cryptography.
    pub(super) fn with_provider(
        settings: &Settings,
        keys: Keys<'_>,
        clock: Arc<WallClock>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        provider.secure_random.fill(&mut [0; 32]).map_err(|_| TlsError::Entropy)?;
        let mut store = Self {
            profiles: Vec::with_capacity(settings.sites.len()),
            exact: Vec::new(),
            subdomains: Vec::new(),
            defaults: Vec::new(),
            rotate_at: clock.seconds() + ROTATE_AFTER_S,
            clock,
        };
        for (id, site) in SiteId::first(settings.sites.len()).zip(&settings.sites) {
            let profile = match &site.tls {
                Some(_) => Some(profile(site, keys, &store.clock, &provider)?),
                None => None,
            };
            if profile.is_some() {
                store.add_names(id, site);
            }
            store.profiles.push(profile);
        }
        for names in [&mut store.exact, &mut store.subdomains, &mut store.defaults] {
            // Stable: of two sites with the same name, the first one wins.
            names.sort_by(|(a, _), (b, _)| a.cmp(b));
            names.dedup_by(|(a, _), (b, _)| a == b);
        }
        Ok(store)
    }

    fn add_names(&mut self, site: SiteId, settings: &Site) {
        for prefix in &settings.prefixes {
            let Ok(url) = UrlPrefix::parse(&prefix.url) else { continue };
            if url.scheme != Scheme::Https {
                continue;
            }
            let lower = |name: &str| name.to_ascii_lowercase().into_bytes();
            let (names, host) = match url.host {
                PrefixHost::Explicit(name) => (&mut self.exact, lower(name)),
                PrefixHost::Subdomains(domain) => (&mut self.subdomains, lower(domain)),
                _ => (&mut self.defaults, Vec::new()),
            };
            names.push(((url.port, host), site));
        }
    }

    /// The site whose configuration applies to a name on a port: that of the name itself, then of the longest
    /// `*.domain` above it, then the one with a wildcard or an address on the port.
    pub fn select(&self, port: u16, name: Option<&[u8]>) -> Option<SiteId> {
        let find = |names: &[Name], host: &[u8]| {
            let found = names.binary_search_by(|((p, h), _)| (*p, h.as_slice()).cmp(&(port, host)));
            found.ok().and_then(|at| names.get(at)).map(|&(_, site)| site)
        };
        let default = || find(&self.defaults, b"");
        let Some(name) = name else { return default() };
        let name = name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase();
        let mut rest = &name[..];
        find(&self.exact, rest)
            .or_else(|| {
                while let Some(dot) = rest.iter().position(|&b| b == b'.') {
                    rest = rest.get(dot + 1..)?;
                    if let Some(site) = find(&self.subdomains, rest) {
                        return Some(site);
                    }
                }
                None
            })
            .or_else(default)
    }

    fn profile(&self, site: SiteId) -> Option<&Profile> {
        self.profiles.get(site.index())?.as_ref()
    }

    pub(super) fn config(&self, site: SiteId) -> Option<Arc<ServerConfig>> {
        self.profile(site).map(|profile| profile.config.clone())
    }

    /// Verifies a client's certificate chain by the rules of a site.
    pub(super) fn verify_client(
        &self,
        site: SiteId,
        chain: &[CertificateDer<'_>],
    ) -> Option<ClientCertificate> {
        let verifier = self.profile(site)?.verifier.as_ref()?;
        ClientCertificate::verify(chain, &**verifier, self.clock.now())
    }

    /// Whether a URL prefix of a site requests or requires client certificates.
    pub fn client_certificates(&self, site: SiteId, prefix: usize) -> ClientCertificates {
        let rule = self.profile(site).and_then(|profile| profile.client_certificates.get(prefix));
        rule.copied().unwrap_or_default()
    }

    /// The `Strict-Transport-Security` field line of a site's responses.
    pub fn hsts(&self, site: SiteId) -> Option<&[u8]> {
        self.profile(site)?.hsts.as_deref()
    }

    /// When a site's certificates expire, in seconds since 1970-01-01 UTC, in configuration order.
    pub fn expires(&self, site: SiteId) -> &[u64] {
        self.profile(site).map_or(&[], |profile| &profile.expires)
    }

    /// The clock for the validation of certificates.
    pub fn clock(&self) -> &Arc<WallClock> {
        &self.clock
    }

    /// Replaces a site's certificates: all or, on error, none. Those with keys of other algorithms stay.
    /// Connections keep what they began with, and tickets stay valid.
    pub fn set_certificates(&mut self, site: SiteId, new: &[Certificate]) -> Result<(), TlsError> {
        let profile = self.profiles.get_mut(site.index()).and_then(Option::as_mut).ok_or(TlsError::NoTls)?;
        let certificates = profile.certificates.merged(Certificates::new(new, Keys::NONE)?);
        profile.expires = certificates.expiries();
        profile.use_certificates(certificates);
        Ok(())
    }

    /// Replaces or removes the OCSP response stapled with one of a site's certificates.
    pub fn set_staple(
        &mut self,
        site: SiteId,
        certificate: usize,
        ocsp: Option<Vec<u8>>,
    ) -> Result<(), TlsError> {
        let profile = self.profiles.get_mut(site.index()).and_then(Option::as_mut).ok_or(TlsError::NoTls)?;
        let certificates = profile.certificates.with_staple(certificate, ocsp);
        profile.use_certificates(certificates.ok_or(TlsError::NoCertificate)?);
        Ok(())
    }

    /// Creates new ticket keys when due. Keeps the old ones if there are no random bytes.
    pub fn rotate(&mut self) {
        if self.clock.seconds() < self.rotate_at {
            return;
        }
        self.rotate_at = self.clock.seconds() + ROTATE_AFTER_S;
        for profile in self.profiles.iter_mut().flatten() {
            let Some(tickets) = profile.tickets.as_ref().and_then(TicketKeys::rotated) else { continue };
            let mut config = ServerConfig::clone(&profile.config);
            config.ticketer = Arc::new(tickets.clone());
            profile.config = Arc::new(config);
            profile.tickets = Some(tickets);
        }
    }
}

fn profile(
    site: &Site,
    keys: Keys<'_>,
    clock: &Arc<WallClock>,
    provider: &Arc<CryptoProvider>,
) -> Result<Profile, TlsError> {
    let tls = site.tls.as_ref().ok_or(TlsError::NoCertificate)?;
    let client_certificates: Vec<_> =
        site.prefixes.iter().map(|p| p.client_certificates.unwrap_or(tls.client_certificates)).collect();
    let asks = client_certificates.iter().any(|&rule| rule > ClientCertificates::Ignore);
    let verifier = if asks { Some(verifier(tls, provider)?) } else { None };
    let certificates = Certificates::new(&tls.certificates, keys)?;
    let versions = if tls.tls12 { vec![&TLS13, &TLS12] } else { vec![&TLS13] };
    let builder = ServerConfig::builder_with_details(provider.clone(), clock.clone());
    let builder = builder.with_protocol_versions(&versions).map_err(|_| TlsError::Configuration)?;
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(RequestCertificate(verifier.clone()))),
        None => builder.with_no_client_auth(),
    };
    let certificates = Arc::new(certificates);
    let expires = certificates.expiries();
    let mut config = builder.with_cert_resolver(certificates.clone());
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    // Session state is kept by clients, in tickets, or nowhere.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let mut tickets = None;
    if tls.resumption {
        let random: &'static dyn SecureRandom = provider.secure_random;
        let keys = TicketKeys::new(random).ok_or(TlsError::Entropy)?;
        config.send_tls13_tickets = TICKETS;
        config.ticketer = Arc::new(keys.clone());
        tickets = Some(keys);
    }
    Ok(Profile {
        config: Arc::new(config),
        certificates,
        tickets,
        verifier,
        client_certificates,
        hsts: tls
            .hsts
            .as_ref()
            .map(|value| [b"Strict-Transport-Security: ", value.as_bytes(), b"\r\n"].concat()),
        expires,
    })
}

impl Profile {
    /// Uses these certificates for connections opened from now on.
    fn use_certificates(&mut self, certificates: Certificates) {
        let mut config = ServerConfig::clone(&self.config);
        self.certificates = Arc::new(certificates);
        config.cert_resolver = self.certificates.clone();
        self.config = Arc::new(config);
    }
}

fn verifier(
    tls: &model::settings::Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for der in &tls.client_anchors {
        roots.add(CertificateDer::from(der.clone())).map_err(|_| TlsError::ClientAnchors)?;
    }
    let crls = tls.client_crls.iter().map(|der| CertificateRevocationListDer::from(der.clone()));
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .with_crls(crls)
        .build()
        .map_err(|_| TlsError::ClientAnchors)
}
