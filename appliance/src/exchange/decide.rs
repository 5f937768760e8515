//! What to do with a request, decided from its head alone.

use crate::cache::Lookup;
use crate::exchange::Exchange;
use crate::exchange::body::Body;
use crate::exchange::journal::Journal;
use crate::flow::{Flow, Refused};
use crate::http::forward::{Forwarded, max_forwards, write_request};
use crate::http::request::{Framing, RequestHead, TargetForm};
use crate::http::{Method, Refusal, Sink, client, error, serve, upgrade};
use crate::serving::Serving;
use crate::serving::{Match, RouteResult};
use crate::tcp::FlowKey;
use crate::time::Instant;
use crate::tls::{ClientCertificate, ClientStatus, NO_CERTIFICATE, Store};
use alloc::boxed::Box;
use model::date::DateCache;
use model::id::SiteId;
use model::reason::Reason;
use model::settings::{ClientCertificates, Handler, Nobody};
use model::url::Scheme;

/// The verdict on a request.
pub(crate) enum Decision {
    /// Answer from memory.
    Respond {
        /// The response head (for generated responses, all of it) is this much of the render buffer.
        head_len: usize,
        content: &'static [u8],
        keep_alive: bool,
        /// The request's own content, which nobody wants.
        drain: Body,
    },
    /// Hand it to a worker.
    Forward(Box<Exchange>),
    /// Answer with an error and close.
    Refuse(Refusal),
    /// Answer 429 and close: this much of the render buffer.
    TooMany { head_len: usize },
}

impl Decision {
    /// The same unless something is wrong with what has arrived of the request's content, whoever is to answer.
    pub(crate) fn judged(self, arrived: &[u8]) -> Self {
        let content = match &self {
            Self::Respond { drain, .. } => drain,
            Self::Forward(exchange) => exchange.content(),
            Self::Refuse(_) | Self::TooMany { .. } => return self,
        };
        match content.judge(arrived) {
            Ok(()) => self,
            Err(error) => Self::Refuse(error.refusal()),
        }
    }
}

/// What a decision takes besides the request.
pub(crate) struct Desk<'d> {
    pub(crate) serving: &'d Serving,
    pub(crate) date: &'d DateCache,
    pub(crate) flow: &'d mut Flow,
    pub(crate) journal: &'d mut Journal,
    pub(crate) render: &'d mut [u8],
    /// The connection's number in `flow`.
    pub(crate) conn: u32,
    pub(crate) now: Instant,
    pub(crate) head_len: usize,
    /// Receives which site it is for.
    pub(crate) site: &'d mut Option<SiteId>,
    /// For a connection over TLS.
    pub(crate) secure: Option<Secure<'d>>,
}

/// What TLS knows of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Secure<'d> {
    /// The site whose configuration it has.
    pub(crate) site: SiteId,
    pub(crate) client: Option<&'d ClientCertificate>,
    pub(crate) store: &'d Store,
}

impl<'d> Secure<'d> {
    /// Refuses a host that has another site's certificate, and a client that lacks its own.
    fn check(&self, port: u16, host: &[u8], matched: &Match<'_>) -> Result<(), Refusal> {
        if self.store.select(port, Some(host)) != Some(self.site) {
            return Err(Refusal::new(421, Reason::Misdirected));
        }
        let status = self.client.map_or(ClientStatus::None, |client| client.status);
        match (self.rule(matched), status.refusal()) {
            (ClientCertificates::Require, Some(reason)) => Err(Refusal::new(403, reason)),
            _ => Ok(()),
        }
    }

    fn rule(&self, matched: &Match<'_>) -> ClientCertificates {
        self.store.client_certificates(matched.site, matched.prefix)
    }

    /// What a worker is told of the client.
    fn fields(&self, matched: &Match<'_>) -> &'d [u8] {
        match self.rule(matched) {
            ClientCertificates::Ignore => &[],
            _ => self.client.map_or(NO_CERTIFICATE, ClientCertificate::fields),
        }
    }
}

/// Routes a request, asks for its admission, and prepares the answer, or the head for the worker, in `render`.
pub(crate) fn decide(head: &RequestHead<'_>, key: &FlowKey, desk: Desk<'_>) -> Decision {
    let scheme = if desk.secure.is_some() { Scheme::Https } else { Scheme::Http };
    let trust = &desk.serving.trust;
    let trusted = trust.covers(key.remote).then_some(trust.field);
    let client = if trusted.is_some() { client::address(head, key.remote, trust) } else { key.remote };
    if client != key.remote {
        desk.journal.is_for(client);
    }
    if let Err(refusal) = head.check_scheme(scheme) {
        return Decision::Refuse(refusal);
    }
    if head.form == TargetForm::Asterisk {
        return answer_asterisk(head, desk).unwrap_or_else(Decision::Refuse);
    }
    let route = desk.serving.router.route(scheme, key.local_port, head.host, key.local, head.path);
    let matched = match route {
        RouteResult::Matched(matched) => matched,
        RouteResult::NoMatch => return Decision::Refuse(Refusal::new(400, Reason::Hostname)),
        RouteResult::Ambiguous => return Decision::Refuse(Refusal::new(400, Reason::Url)),
    };
    let pool = match matched.handler {
        Handler::Pool(pool) => Some(pool),
        Handler::Files(_) | Handler::Nobody(_) => None,
    };
    desk.journal.routed(matched.site, pool);
    *desk.site = Some(matched.site);
    let rules = desk.serving.rules(*desk.site);
    if let Err(refusal) = rules.check(head, desk.head_len) {
        return Decision::Refuse(refusal);
    }
    let hsts = desk.secure.and_then(|secure| secure.store.hsts(matched.site));
    match desk.flow.admit(desk.conn, matched.site, client, desk.now.as_nanos()) {
        Ok(()) => {}
        Err(Refused::Connections) => return Decision::Refuse(Refusal::new(503, Reason::ConnLimit)),
        Err(Refused::Requests { retry_after_secs }) => {
            let mut out = Sink::new(desk.render);
            let to_head = head.method == Method::Head;
            let (date, hsts) = (desk.date, hsts.unwrap_or_default());
            return match error::too_many_requests(retry_after_secs, to_head, hsts, date, &mut out) {
                Ok(()) => Decision::TooMany { head_len: out.len() },
                Err(_) => Decision::Refuse(Refusal::new(429, Reason::RequestRate)),
            };
        }
    }
    if let Some(secure) = &desk.secure
        && let Err(refusal) = secure.check(key.local_port, head.host, &matched)
    {
        return Decision::Refuse(refusal);
    }
    let content = Body::of_request(head.framing, rules.max_content);
    let redirect = desk.serving.redirects.get(matched.site.index()).copied().flatten();
    let mut decision = match (redirect, matched.handler) {
        (Some(port), _) if scheme == Scheme::Http => {
            redirect_to_https(head, port, key, content, desk.date, desk.render)
        }
        (_, Handler::Files(tree)) => {
            serve_file(head, tree, matched.rest, content, (desk.serving, desk.date), desk.render)
        }
        (_, Handler::Pool(_)) if max_forwards(head) == Some(0) => {
            last_recipient(head, content, desk.date, desk.render)
        }
        (_, Handler::Pool(pool)) => {
            let certificate = desk.secure.map_or(&[][..], |secure| secure.fields(&matched));
            let site = desk.secure.map(|_| matched.site);
            let local = (key.local, key.local_port);
            let forwarded = Forwarded {
                certificate,
                trusted,
                upgrade: &matched.passing.upgrade,
                fields: &matched.passing.fields,
                ..Forwarded::new(key.remote, local, scheme)
            };
            let upgrade = upgrade::list(head, forwarded.upgrade);
            forward(head, &forwarded, desk.render).map(|len| {
                let exchange = Exchange::new(pool, site, head, &desk.render[..len], upgrade, content);
                Decision::Forward(Box::new(exchange))
            })
        }
        (_, Handler::Nobody(why)) => Err(match why {
            Nobody::Reserved => Refusal::new(400, Reason::Url),
            Nobody::Unbound => Refusal::new(503, Reason::NotAvailable),
            Nobody::Disabled => Refusal::new(503, Reason::Disabled),
        }),
    };
    if let (Ok(Decision::Respond { head_len, .. }), Some(hsts)) = (&mut decision, hsts) {
        *head_len = add_fields(desk.render, *head_len, hsts);
    }
    decision.unwrap_or_else(Decision::Refuse)
}

fn redirect_to_https(
    head: &RequestHead<'_>,
    port: u16,
    key: &FlowKey,
    content: Body,
    date: &DateCache,
    render: &mut [u8],
) -> Result<Decision, Refusal> {
    let mut out = Sink::new(render);
    let plan = serve::redirect_to_https(head, port, key.local, date, &mut out);
    let plan = plan.map_err(|_| Refusal::new(500, Reason::Internal))?;
    let (head_len, keep_alive) = (out.len(), plan.keep_alive);
    Ok(Decision::Respond { head_len, content: &[], keep_alive, drain: content })
}

/// Answers what is not to be forwarded any further.
fn last_recipient(
    head: &RequestHead<'_>,
    content: Body,
    date: &DateCache,
    render: &mut [u8],
) -> Result<Decision, Refusal> {
    let mut out = Sink::new(render);
    let plan = serve::last_recipient(head, date, &mut out);
    let keep_alive = plan.map_err(|_| Refusal::new(500, Reason::Internal))?.keep_alive;
    Ok(Decision::Respond { head_len: out.len(), content: &[], keep_alive, drain: content })
}

/// Answers `OPTIONS *`, which asks about the server and not about any of its URLs: by the server's rules.
fn answer_asterisk(head: &RequestHead<'_>, desk: Desk<'_>) -> Result<Decision, Refusal> {
    let rules = desk.serving.rules(None);
    rules.check(head, desk.head_len)?;
    let mut out = Sink::new(desk.render);
    let plan = serve::options_asterisk(head, true, desk.date, &mut out);
    let keep_alive = plan.map_err(|_| Refusal::new(500, Reason::Internal))?.keep_alive;
    let content = Body::of_request(head.framing, rules.max_content);
    Ok(Decision::Respond { head_len: out.len(), content: &[], keep_alive, drain: content })
}

fn serve_file(
    head: &RequestHead<'_>,
    tree: u16,
    rest: &str,
    unwanted: Body,
    (serving, date): (&Serving, &DateCache),
    render: &mut [u8],
) -> Result<Decision, Refusal> {
    // A client that waits for 100 (Continue) may or may not send its content after another answer: close
    // (RFC 9110 §10.1.1).
    let keep_alive = !(head.expects_continue() && head.framing != Framing::None);
    let mut out = Sink::new(render);
    let (plan, content): (_, &[u8]) = match serving.files.lookup(tree, rest) {
        Lookup::Found(stored) => (serve::plan(head, stored, keep_alive, date, &mut out), stored.content()),
        Lookup::Directory => (serve::redirect_to_directory(head, keep_alive, date, &mut out), &[]),
        Lookup::NotFound => (serve::not_found(head, keep_alive, date, &mut out), &[]),
    };
    let plan = plan.map_err(|_| Refusal::new(500, Reason::Internal))?;
    Ok(Decision::Respond {
        head_len: out.len(),
        content: content.get(plan.content).unwrap_or_default(),
        keep_alive: plan.keep_alive,
        drain: unwanted,
    })
}

/// Writes the head for the worker. Returns its length.
fn forward(head: &RequestHead<'_>, forwarded: &Forwarded<'_>, render: &mut [u8]) -> Result<usize, Refusal> {
    let mut out = Sink::new(render);
    write_request(head, forwarded, &mut out).map_err(|_| Refusal::new(431, Reason::RequestLength))?;
    Ok(out.len())
}

/// Puts `lines` at the end of the head that `render` begins with, whose response is `len` bytes long. Returns the new length;
/// the old one if there is no room.
pub(crate) fn add_fields(render: &mut [u8], len: usize, lines: &[u8]) -> usize {
    let Some(end) = render.get(..len).and_then(|r| r.windows(4).position(|w| w == b"\r\n\r\n")) else {
        return len;
    };
    let at = end + 2;
    if lines.is_empty() || len + lines.len() > render.len() {
        return len;
    }
    render.copy_within(at..len, at + lines.len());
    if let Some(place) = render.get_mut(at..at + lines.len()) {
        place.copy_from_slice(lines);
    }
    len + lines.len()
}
