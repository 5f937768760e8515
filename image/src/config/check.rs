//! From what is written to what is meant.

use super::bandwidth;
use super::error::{ConfigError, Source};
use super::host;
use super::http;
use super::log;
use super::queue;
use super::supervision::{self, MAX_WORKERS};
use super::tls;
use super::value::{AddressError, name, parse_address, prefix_error};
use super::{Config, Pool, Prefix, Site, raw, worker};
use crate::files;
use appliance::flow;
use appliance::settings::{self, Handler, StaticAddress};
use appliance::site::{PrefixHost, Router, RouterError, Scheme, UrlPrefix};
use std::path::{Path, PathBuf};
use toml::Spanned;

type Result<T> = std::result::Result<T, ConfigError>;

/// Reads and checks a configuration and the existence of everything it names on the host.
pub fn check(path: &Path) -> Result<Config> {
    let unreadable = |what: String| ConfigError { path: path.to_owned(), at: None, what };
    let text =
        std::fs::read_to_string(path).map_err(|e| unreadable(format!("{e}, expected a configuration")))?;
    check_text(path, &text)
}

/// As [`check`], for a configuration that is not (or not yet) what the file `path` contains.
pub fn check_text(path: &Path, text: &str) -> Result<Config> {
    let unreadable = |what: String| ConfigError { path: path.to_owned(), at: None, what };
    let source = Source { path, text };
    let file: raw::File = toml::from_str(text).map_err(|e| {
        let what = e.message().lines().collect::<Vec<_>>().join(", ");
        source.error(e.span().map_or(0, |s| s.start), what)
    })?;
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = dir.canonicalize().map_err(|e| unreadable(format!("directory: {e}")))?;
    let mut checker =
        Checker { source, dir, address: None, trees: Vec::new(), pools: Vec::new(), warnings: Vec::new() };
    checker.config(&file)
}

struct Checker<'a> {
    source: Source<'a>,
    /// The configuration's directory, which relative paths start from.
    dir: PathBuf,
    /// The appliance's, if it is static.
    address: Option<StaticAddress>,
    trees: Vec<PathBuf>,
    pools: Vec<Pool>,
    warnings: Vec<ConfigError>,
}

impl Checker<'_> {
    fn config(&mut self, file: &raw::File) -> Result<Config> {
        self.address = file.server.as_ref().map(|s| self.server(s)).transpose()?.flatten();
        for pool in &file.pool {
            let pool = self.pool(pool)?;
            self.pools.push(pool);
        }
        if file.site.is_empty() {
            return Err(self.source.error(0, "no site, expected at least one [[site]]"));
        }
        let mut sites: Vec<Site> = Vec::new();
        for site in &file.site {
            let site = self.site(site, &sites)?;
            sites.push(site);
        }
        let config = Config {
            path: self.source.path.to_owned(),
            address: self.address,
            bandwidth: self.at(bandwidth::server(file.server.as_ref().and_then(|s| s.bandwidth.as_ref())))?,
            limits: self.at(bandwidth::limits(file.server.as_ref().and_then(|s| s.limits.as_ref())))?,
            http: self.at(http::http(file.server.as_ref().and_then(|s| s.http.as_ref())))?,
            sites,
            pools: std::mem::take(&mut self.pools),
            trees: std::mem::take(&mut self.trees),
            log: self.at(log::log(file.log.as_ref(), &self.dir))?,
            shutdown_limit: self.at(http::shutdown_limit(file.server.as_ref()))?,
            warnings: std::mem::take(&mut self.warnings),
        };
        self.routes(&config, file)?;
        flow::check(&config.settings()).or_else(|error| self.at(Err(bandwidth::explain(file, &error))))?;
        Ok(config)
    }

    fn server(&self, server: &raw::Server) -> Result<Option<StaticAddress>> {
        let Some(address) = &server.address else {
            return match &server.gateway {
                Some(gateway) => {
                    Err(self.error(gateway, "gateway without address, expected both or neither"))
                }
                None => Ok(None),
            };
        };
        let gateway = server.gateway.as_ref();
        parse_address(address.get_ref(), gateway.map(|g| g.get_ref().as_str())).map(Some).map_err(|e| match e
        {
            AddressError::Address(what) => self.error(address, what),
            AddressError::Gateway(what) => self.error(gateway.unwrap_or(address), what),
        })
    }

    fn site(&mut self, site: &Spanned<raw::Site>, others: &[Site]) -> Result<Site> {
        let raw::Site { name, prefix, bandwidth, limits, http, certificate, tls, redirect_https } =
            site.get_ref();
        self.name(name, others.iter().map(|s| s.name.as_str()))?;
        if prefix.is_empty() {
            return Err(self.error(site, "site without URL prefix, expected at least one [[site.prefix]]"));
        }
        let secure = self.tls(certificate, tls.as_ref())?;
        let prefixes = prefix.iter().map(|p| self.prefix(p, secure.as_ref())).collect::<Result<_>>()?;
        let redirect_https = self.at(redirect_https.as_ref().map(tls::port).transpose())?;
        Ok(Site {
            name: name.get_ref().clone(),
            prefixes,
            bandwidth: self.at(bandwidth::site(bandwidth.as_ref()))?,
            limits: self.at(bandwidth::limits(limits.as_ref()))?,
            http: self.at(http::http(http.as_ref()))?,
            tls: secure,
            redirect_https,
        })
    }

    fn tls(
        &mut self,
        certificates: &[Spanned<raw::Certificate>],
        written: Option<&Spanned<raw::Tls>>,
    ) -> Result<Option<settings::Tls>> {
        let Some((tls, warnings)) = self.at(tls::tls(certificates, written, &self.dir))? else {
            return Ok(None);
        };
        self.warn(warnings);
        Ok(Some(tls))
    }

    fn warn(&mut self, warnings: Vec<(usize, String)>) {
        self.warnings.extend(warnings.into_iter().map(|(at, what)| self.source.error(at, what)));
    }

    fn prefix(&mut self, prefix: &Spanned<raw::Prefix>, site_tls: Option<&settings::Tls>) -> Result<Prefix> {
        let raw::Prefix { url, files, pool, nobody, client_certificates } = prefix.get_ref();
        let client_certificates = self.at(tls::rule(client_certificates.as_ref(), site_tls))?;
        let (url, port) = self.url(url, site_tls.is_some())?;
        if let Some(nobody) = nobody {
            if files.is_some() || pool.is_some() {
                return Err(self.error(nobody, "nobody beside files or pool, expected one of them"));
            }
            let handler = Handler::Nobody(self.at(http::nobody(nobody))?);
            return Ok(Prefix { url, port, handler, client_certificates });
        }
        let handler = match (files, pool) {
            (Some(files), None) => Handler::Files(self.tree(files)?),
            (None, Some(pool)) => {
                let found = self.pools.iter().position(|p| p.name == *pool.get_ref());
                let index = found.and_then(|n| u16::try_from(n).ok());
                let wrong = || format!("no pool {:?}, expected the name of a [[pool]]", pool.get_ref());
                Handler::Pool(index.ok_or_else(|| self.error(pool, wrong()))?)
            }
            (Some(_), Some(pool)) => return Err(self.error(pool, "files and pool, expected one of them")),
            (None, None) => return Err(self.error(prefix, "neither files nor pool, expected one of them")),
        };
        Ok(Prefix { url, port, handler, client_certificates })
    }

    fn url(&mut self, url: &Spanned<String>, has_certificates: bool) -> Result<(String, u16)> {
        // One further for the quotation mark. Only an escape in the string could shift it.
        let start = url.span().start + 1;
        let ascii = self.at(host::to_ascii(url.get_ref()).map_err(|(at, what)| (start + at, what)))?;
        let parsed = UrlPrefix::parse(&ascii.url)
            .map_err(|e| self.source.error(start + ascii.written(e.position), prefix_error(&e)))?;
        if parsed.scheme == Scheme::Https && !has_certificates {
            return Err(self.error(url, "https without a certificate, expected a [[site.certificate]]"));
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
            let what =
                format!("a prefix bound to {address}, which nothing matches: the appliance has {ours}");
            let warning = self.error(url, what);
            self.warnings.push(warning);
        }
        Ok((parsed.canonical(), parsed.port))
    }

    /// The number of a directory of static files.
    fn tree(&mut self, files: &Spanned<String>) -> Result<u16> {
        let path = self.dir.join(files.get_ref());
        let missing = |e| self.error(files, format!("{}: {e}, expected a directory", path.display()));
        let tree = path.canonicalize().map_err(missing)?;
        let index = self.trees.iter().position(|t| *t == tree).unwrap_or(self.trees.len());
        if index == self.trees.len() {
            files::walk(&tree).map_err(|e| self.error(files, e.to_string()))?;
            self.trees.push(tree);
        }
        u16::try_from(index).map_err(|_| self.error(files, "too many directories, expected at most 65536"))
    }

    fn pool(&mut self, pool: &Spanned<raw::Pool>) -> Result<Pool> {
        let raw::Pool { name, worker, .. } = pool.get_ref();
        let queue = queue::queue(pool.get_ref()).map_err(|(at, what)| self.source.error(at, what))?;
        self.name(name, self.pools.iter().map(|p| p.name.as_str()))?;
        if worker.is_empty() {
            return Err(self.error(pool, "pool without worker, expected at least one [[pool.worker]]"));
        }
        let workers =
            worker.iter().map(|w| self.at(worker::worker(w, &self.dir))).collect::<Result<Vec<_>>>()?;
        let places: u32 = workers.iter().filter(|w| w.is_started()).map(|w| w.instances).sum();
        if places > MAX_WORKERS {
            let what = format!("{places} workers in one pool, expected at most {MAX_WORKERS}");
            return Err(self.error(pool, what));
        }
        let supervision = self.at(supervision::supervision(pool.get_ref(), places))?;
        let mut tls = None;
        if let Some(written) = &pool.get_ref().tls {
            let (links, warnings) = self.at(tls::links(written, &self.dir))?;
            self.warn(warnings);
            tls = Some(links);
        }
        Ok(Pool { name: name.get_ref().clone(), workers, queue, supervision, tls })
    }

    fn name<'n>(&self, given: &Spanned<String>, mut others: impl Iterator<Item = &'n str>) -> Result<()> {
        name(given.get_ref()).map_err(|what| self.error(given, what))?;
        match others.any(|other| other == given.get_ref()) {
            true => Err(self
                .error(given, format!("name {:?} for the second time, expected another", given.get_ref()))),
            false => Ok(()),
        }
    }

    /// What only all prefixes together show; the appliance's own routing table decides.
    fn routes(&self, config: &Config, file: &raw::File) -> Result<()> {
        let Err(error) = Router::new(&config.settings()) else { return Ok(()) };
        let (what, site, prefix) = match error {
            RouterError::Duplicate(s, p) => ("URL prefix for the second time, expected another", s, p),
            RouterError::SchemeConflict(s, p) => ("http and https on one port, expected one of them", s, p),
            RouterError::Prefix(s, p, ref e) => (prefix_error(e), s, p),
            RouterError::Pool(s, p) => ("no such pool, expected the name of a [[pool]]", s, p),
        };
        let url =
            file.site.get(site).and_then(|s| s.get_ref().prefix.get(prefix)).map(|p| p.get_ref().url.span());
        Err(self.source.error(url.map_or(0, |u| u.start), what))
    }

    fn at<T>(&self, result: std::result::Result<T, (usize, String)>) -> Result<T> {
        result.map_err(|(offset, what)| self.source.error(offset, what))
    }

    fn error<T>(&self, at: &Spanned<T>, what: impl Into<String>) -> ConfigError {
        self.source.error(at.span().start, what)
    }
}
