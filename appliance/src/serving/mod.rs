//! Settings compiled for serving: which URL prefix a request falls under, by HTTP.sys's rules, and the rules that hold there.
//!
//! A `Serving` never changes. Requests look at it and connections are judged by it.

mod governing;
mod reach;
mod readings;
mod router;
mod rules;
mod table;
mod timers;

pub(crate) use governing::Governing;
pub use reach::Reach;
pub use readings::has_one_reading;
pub use router::{Match, RouteResult, Router, RouterError};
pub(crate) use rules::Rules;
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
    /// The widest limits of any site, by which heads are parsed.
    pub(crate) limits: RequestLimits,
    rules: AllRules,
    /// Whose word about their clients is taken.
    pub(crate) trust: Trust,
    /// By site: the port of https that plain HTTP is sent to.
    pub(crate) redirects: Vec<Option<u16>>,
}

impl Serving {
    /// `timers`: those of the strict profile.
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

    /// The rules of a site, or the server's.
    pub(crate) fn rules(&self, site: Option<SiteId>) -> &Rules {
        self.rules.of(site)
    }
}
