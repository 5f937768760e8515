//! Converts the raw structure of `weir.toml` to a [`Config`]. Errors are collected, and checking continues with the rest.

use super::bandwidth;
use super::bounds::MAX_WORKERS;
use super::error::{ConfigError, ConfigErrors, Faults, Source};
use super::host;
use super::http;
use super::log;
use super::parse::parse;
use super::passthrough;
use super::queue;
use super::supervision;
use super::tls;
use super::trust;
use super::value::{AddressError, name, parse_address, prefix_error};
use super::warnings;
use super::{Config, Pool, Prefix, Site, raw, worker};
use crate::files;
use appliance::flow;
use appliance::serving::{Router, RouterError};
use model::id::PoolId;
use model::settings::{Handler, Nobody, Settings, StaticAddress};
use model::url::{PrefixHost, Scheme, UrlPrefix};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Reads and checks a configuration, including that everything it refers to on the host exists.
pub fn check(path: &Path) -> Result<Config, ConfigErrors> {
    let text = std::fs::read(path).map_err(|e| unreadable(path, format!("{e}, expected a configuration")))?;
    match std::str::from_utf8(&text) {
        Ok(text) => check_text(path, text),
        Err(_) => Err(unreadable(path, "not UTF-8, expected a configuration in TOML".into())),
    }
}

fn unreadable(path: &Path, what: String) -> ConfigErrors {
    ConfigErrors(vec![ConfigError { path: path.to_owned(), at: None, what }])
}

/// Like [`check`], with `text` as the content of the file at `path`.
pub fn check_text(path: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let source = Source { path, text };
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = dir.canonicalize().map_err(|e| unreadable(path, format!("directory: {e}")))?;
    let faults = Faults::default();
    let config = parse(text, &faults).map(|file| {
        let checker = Checker { dir, faults: &faults, address: None, trees: Vec::new(), pools: Vec::new() };
        checker.config(path, &file)
    });
    let warnings = faults.finish(&source)?;
    // Parsing always returns a file if there were no errors.
    let config = config.ok_or_else(|| unreadable(path, "expected a configuration".into()))?;
    Ok(Config { warnings, ..config })
}

struct Checker<'a> {
    /// Directory of `weir.toml`, the base of relative paths.
    dir: PathBuf,
    faults: &'a Faults,
    /// Static address of the appliance.
    address: Option<StaticAddress>,
    trees: Vec<PathBuf>,
    pools: Vec<Pool>,
}

impl Checker<'_> {
    fn config(mut self, path: &Path, file: &raw::File) -> Config {
        let faults = self.faults;
        let server = file.server.as_ref();
        self.address = server.and_then(|server| self.server(server));
        for pool in &file.pool {
            let pool = self.pool(pool);
            self.pools.push(pool);
        }
        if file.site.is_empty() {
            faults.missing(0, &["site"], "no site, expected at least one [[site]]");
        }
        let mut sites: Vec<Site> = Vec::new();
        for site in &file.site {
            let site = self.site(site, &sites);
            sites.push(site);
        }
        let ports: Vec<u16> =
            sites.iter().flat_map(|site| &site.prefixes).map(|prefix| prefix.port).collect();
        let config = Config {
            path: path.to_owned(),
            address: self.address,
            bandwidth: bandwidth::server(server.and_then(|s| s.bandwidth.as_ref()), faults),
            limits: bandwidth::limits(server.and_then(|s| s.limits.as_ref()), faults),
            http: http::http(server.and_then(|s| s.http.as_ref()), faults),
            trust: trust::trust(server, &ports, faults),
            sites,
            pools: self.pools,
            trees: self.trees,
            log: log::log(file.log.as_ref(), &self.dir, faults),
            shutdown_limit: http::shutdown_limit(server, faults),
            warnings: Vec::new(),
        };
        let settings = config.settings();
        routes(&settings, file, faults);
        flows(settings, file, faults);
        passthrough::check_readings(&config.sites, file, faults);
        warnings::collect(&config, file, faults);
        config
    }

    fn server(&self, server: &raw::Server) -> Option<StaticAddress> {
        let gateway = server.gateway.as_ref();
        let Some(address) = &server.address else {
            if let Some(gateway) = gateway {
                self.error(gateway, "gateway without address, expected both or neither");
            }
            return None;
        };
        match parse_address(address.get_ref(), gateway.map(|g| g.get_ref().as_str())) {
            Ok(address) => return Some(address),
            Err(AddressError::Address(what)) => self.error(address, what),
            Err(AddressError::Gateway(what)) => self.error(gateway.unwrap_or(address), what),
        }
        None
    }

    fn site(&mut self, site: &Spanned<raw::Site>, others: &[Site]) -> Site {
        let raw::Site { name, prefix, bandwidth, limits, http, certificate, tls, redirect_https } =
            site.get_ref();
        let faults = self.faults;
        self.name(name, others.iter().map(|s| s.name.as_str()));
        if prefix.is_empty() {
            let what = "site without URL prefix, expected at least one [[site.prefix]]";
            faults.missing(site.span().start, &["prefix"], what);
        }
        let has_certificates = !certificate.is_empty();
        let has_anchors = tls.as_ref().is_some_and(|tls| !tls.get_ref().client_ca.is_empty());
        Site {
            name: name.get_ref().clone(),
            prefixes: prefix.iter().map(|p| self.prefix(p, has_certificates, has_anchors)).collect(),
            bandwidth: bandwidth::site(bandwidth.as_ref(), faults),
            limits: bandwidth::limits(limits.as_ref(), faults),
            http: http::http(http.as_ref(), faults),
            tls: tls::tls(certificate, tls.as_ref(), &self.dir, faults),
            redirect_https: faults.value(redirect_https.as_ref().map(tls::port).transpose()),
        }
    }

    fn prefix(&mut self, prefix: &Spanned<raw::Prefix>, has_certificates: bool, has_anchors: bool) -> Prefix {
        let raw::Prefix { url, files, pool, nobody, client_certificates, .. } = prefix.get_ref();
        let passthrough = passthrough::passthrough(prefix.get_ref(), self.faults);
        let client_certificates = self.faults.value(tls::rule(client_certificates.as_ref(), has_anchors));
        let (url, port) = self.url(url, has_certificates).unwrap_or_default();
        let handler = match (nobody, files, pool) {
            (Some(nobody), None, None) => self.faults.ok(http::nobody(nobody)).map(Handler::Nobody),
            (Some(nobody), _, _) => {
                self.error(nobody, "nobody with files or pool, expected one of them");
                None
            }
            (None, Some(files), None) => self.tree(files).map(Handler::Files),
            (None, None, Some(pool)) => {
                let found = self.pools.iter().position(|p| p.name == *pool.get_ref());
                let index = found.and_then(PoolId::at);
                if index.is_none() {
                    let name = pool.get_ref();
                    self.error(pool, format!("unknown pool {name:?}, expected the name of a [[pool]]"));
                }
                index.map(Handler::Pool)
            }
            (None, Some(_), Some(pool)) => {
                self.error(pool, "files and pool, expected one of them");
                None
            }
            (None, None, None) => {
                let what = "prefix without files or pool, expected one of them";
                self.faults.missing(prefix.span().start, &["files", "pool", "nobody"], what);
                None
            }
        };
        // The error has been recorded.
        let handler = handler.unwrap_or(Handler::Nobody(Nobody::Reserved));
        Prefix { url, port, handler, client_certificates, passthrough }
    }

    /// The canonical form and the port of a URL prefix; `None` after an error.
    fn url(&self, url: &Spanned<String>, has_certificates: bool) -> Option<(String, u16)> {
        // Skips the opening quote. The offset is wrong only if the string contains escapes.
        let start = match url.span().start {
            Faults::REPORTED => Faults::REPORTED,
            quote => quote + 1,
        };
        let place = |at: usize| start.saturating_add(at);
        let ascii = host::to_ascii(url.get_ref()).map_err(|(at, what)| (place(at), what));
        let ascii = self.faults.ok(ascii)?;
        let parsed = UrlPrefix::parse(&ascii.url)
            .map_err(|e| (place(ascii.written(e.position)), prefix_error(&e).to_owned()));
        let parsed = self.faults.ok(parsed)?;
        if parsed.scheme == Scheme::Https && !has_certificates {
            let what = "https without a certificate, expected a [[site.certificate]]";
            self.error(url, what);
        }
        let bound = match parsed.host {
            PrefixHost::Ipv6(address) => Some((address.to_string(), "no IPv6 address".into())),
            PrefixHost::Ipv4(address) => {
                self.address.filter(|ours| ours.address != address.octets()).map(|ours| {
                    let [a, b, c, d] = ours.address;
                    (address.to_string(), format!("{a}.{b}.{c}.{d}"))
                })
            }
            _ => None,
        };
        if let Some((address, ours)) = bound {
            let what = format!("prefix bound to {address} never matches: the appliance has {ours}");
            self.faults.warn(url.span().start, what);
        }
        Some((parsed.canonical(), parsed.port))
    }

    /// Index of a directory of static files.
    fn tree(&mut self, files: &Spanned<String>) -> Option<u16> {
        let path = self.dir.join(files.get_ref());
        let tree = path.canonicalize();
        let tree =
            tree.map_err(|e| self.error(files, format!("{}: {e}, expected a directory", path.display())));
        let tree = tree.ok()?;
        let index = self.trees.iter().position(|t| *t == tree).unwrap_or(self.trees.len());
        if index == self.trees.len() {
            files::walk(&tree).map_err(|e| self.error(files, e.to_string())).ok()?;
            self.trees.push(tree);
        }
        let number = u16::try_from(index);
        number.map_err(|_| self.error(files, "too many directories, expected at most 65536")).ok()
    }

    fn pool(&self, pool: &Spanned<raw::Pool>) -> Pool {
        let raw::Pool { name, worker, tls, .. } = pool.get_ref();
        self.name(name, self.pools.iter().map(|p| p.name.as_str()));
        if worker.is_empty() {
            let what = "pool without worker, expected at least one [[pool.worker]]";
            self.faults.missing(pool.span().start, &["worker"], what);
        }
        let workers: Vec<_> =
            worker.iter().filter_map(|w| worker::worker(w, &self.dir, self.faults)).collect();
        let mut places: u32 = workers.iter().filter(|w| w.is_started()).map(|w| w.instances).sum();
        if places > MAX_WORKERS {
            let what = format!("{places} workers in one pool, expected at most {MAX_WORKERS}");
            self.error(pool, what);
        } else if workers.len() < worker.len() {
            // The intended number is unknown.
            places = MAX_WORKERS;
        }
        Pool {
            name: name.get_ref().clone(),
            workers,
            queue: queue::queue(pool.get_ref(), self.faults),
            supervision: supervision::supervision(pool.get_ref(), places, self.faults),
            tls: tls.as_ref().and_then(|written| tls::links(written, &self.dir, self.faults)),
        }
    }

    fn name<'n>(&self, given: &Spanned<String>, mut others: impl Iterator<Item = &'n str>) {
        if let Err(what) = name(given.get_ref()) {
            self.error(given, what);
        } else if others.any(|other| other == given.get_ref()) {
            self.error(given, format!("duplicate name {:?}, expected a unique one", given.get_ref()));
        }
    }

    fn error<T>(&self, at: &Spanned<T>, what: impl Into<String>) {
        self.faults.error(at.span().start, what);
    }
}

/// Checks that all prefixes fit together, with the appliance's own router. A prefix it rejects is removed, so that the next error
/// is found.
fn routes(settings: &Settings, file: &raw::File, faults: &Faults) {
    let mut settings = settings.clone();
    // Offsets of the prefixes in the file. Invalid prefixes have been reported already.
    let mut places: Vec<Vec<usize>> = Vec::new();
    for (site, written) in settings.sites.iter_mut().zip(&file.site) {
        let starts = written.get_ref().prefix.iter().map(|p| p.get_ref().url.span().start);
        let both: Vec<_> = std::mem::take(&mut site.prefixes).into_iter().zip(starts).collect();
        let both: Vec<_> = both.into_iter().filter(|(prefix, _)| !prefix.url.is_empty()).collect();
        places.push(both.iter().map(|(_, start)| *start).collect());
        site.prefixes = both.into_iter().map(|(prefix, _)| prefix).collect();
    }
    while let Err(error) = Router::new(&settings) {
        let (what, site, prefix) = match error {
            RouterError::Duplicate(s, p) => ("duplicate URL prefix, expected a unique one", s, p),
            RouterError::SchemeConflict(s, p) => ("http and https on one port, expected one of them", s, p),
            RouterError::Prefix(s, p, ref e) => (prefix_error(e), s, p),
            RouterError::Pool(s, p) => ("unknown pool, expected the name of a [[pool]]", s, p),
            RouterError::TooManySites(s) => {
                let start = places.get(s).and_then(|starts| starts.first());
                return faults.error(start.copied().unwrap_or(0), "too many sites, expected at most 65536");
            }
        };
        let start = places.get(site).and_then(|starts| starts.get(prefix)).copied();
        faults.error(start.unwrap_or(0), what);
        if start.is_none() || faults.is_full() {
            return;
        }
        places[site].remove(prefix);
        settings.sites[site].prefixes.remove(prefix);
    }
}

/// Checks bandwidth and limits with `appliance::flow`.
fn flows(mut settings: Settings, file: &raw::File, faults: &Faults) {
    while let Err(error) = flow::check(&settings) {
        let (at, what) = bandwidth::explain(file, &error);
        faults.error(at, what);
        if !bandwidth::leave_out(&mut settings, &error) {
            return;
        }
    }
}
