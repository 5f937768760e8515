//! Settings compiled for serving: the URL prefix that a request falls under, by HTTP.sys's rules, and the
//! limits that apply there.
//!
//! A `Serving` is immutable.

mod readings;
mod requestable;
mod router;
mod rules;
mod snapshot;
mod timers;

pub use readings::has_one_reading;
pub use requestable::RequestablePaths;
pub use router::{Match, RouteResult, Router, RouterError};
pub(crate) use rules::Rules;
pub(crate) use snapshot::SiteSnapshot;
pub use timers::Timers;

use crate::cache::StaticStore;
use crate::http::RequestLimits;
use alloc::vec::Vec;
use model::id::SiteId;
use model::settings::{Settings, Trust};
use rules::AllRules;

/// What is served, and by which rules.
pub(crate) struct Serving {
    pub(crate) router: Router,
    pub(crate) files: StaticStore<'static>,
    /// The widest limits of any site, used to parse heads before the site is known.
    pub(crate) limits: RequestLimits,
    rules: AllRules,
    /// Proxies whose statements about their clients are trusted.
    pub(crate) trust: Trust,
    /// By site: the https port to redirect plain HTTP to.
    pub(crate) redirects: Vec<Option<u16>>,
}

impl Serving {
    /// `timers`: defaults of the strict profile.
    pub(crate) fn new(
        settings: &Settings,
        router: Router,
        files: StaticStore<'static>,
        timers: Timers,
    ) -> Self {
        let rules = AllRules::new(settings, timers);
        Self {
            router,
            files,
            limits: rules.widest(),
            rules,
            trust: settings.server.trust.clone(),
            redirects: settings.sites.iter().map(|site| site.redirect_https).collect(),
        }
    }

    /// The rules of a site, or the server-wide ones.
    pub(crate) fn rules(&self, site: Option<SiteId>) -> &Rules {
        self.rules.of(site)
    }
}
