//! Keeps the settings that a request began with until it ends.

use super::{Rules, Serving};
use alloc::rc::Rc;
use model::id::SiteId;

/// A site in one generation of the settings. Replaced settings live on as long as a snapshot refers to them.
pub(crate) struct SiteSnapshot {
    serving: Rc<Serving>,
    site: SiteId,
}

impl SiteSnapshot {
    /// A snapshot of this site in the current settings.
    pub(crate) fn new(serving: &Rc<Serving>, site: SiteId) -> Self {
        Self { serving: Rc::clone(serving), site }
    }

    /// Index of the site in these settings.
    pub(crate) const fn site(&self) -> SiteId {
        self.site
    }

    /// The site's rules.
    pub(crate) fn rules(&self) -> &Rules {
        self.serving.rules(Some(self.site))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::StaticStore;
    use crate::serving::{Router, Timers};
    use model::bundle::{Bundle, encode};
    use model::settings::{Http, Settings, Site};

    fn serving(max_content: u64) -> Rc<Serving> {
        let http = Http { max_content: Some(max_content), ..Http::default() };
        let settings = Settings { sites: vec![Site { http, ..Site::default() }], ..Settings::default() };
        let bytes = encode(&settings, Vec::new()).leak();
        let files = StaticStore::new(&Bundle::parse(bytes).expect("an encoded bundle"));
        let router = Router::new(&settings).expect("valid settings");
        Rc::new(Serving::new(&settings, router, files, Timers::default()))
    }

    #[test]
    fn a_request_keeps_the_settings_it_began_with() {
        let mut in_force = serving(1);
        let first = SiteSnapshot::new(&in_force, SiteId(0));
        let old = Rc::downgrade(&in_force);
        in_force = serving(2);
        let second = SiteSnapshot::new(&in_force, SiteId(0));
        assert_eq!((first.rules().max_content, second.rules().max_content), (1, 2));
        drop(first);
        assert!(old.upgrade().is_none(), "the last user has gone");
    }
}
