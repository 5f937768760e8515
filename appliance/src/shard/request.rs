//! What to do with a request, decided from its head alone.

use super::body::Body;
use super::env::Serving;
use super::exchange::Exchange;
use super::journal::Journal;
use crate::cache::Lookup;
use crate::flow::{Flow, Refused};
use crate::http::forward::{Forwarded, write_request};
use crate::http::request::{Framing, RequestHead};
use crate::http::{Method, Refusal, Sink, error, serve};
use crate::reason::Reason;
use crate::settings::{Handler, Nobody};
use crate::site::{RouteResult, Scheme};
use crate::tcp::FlowKey;
use crate::time::Instant;
use alloc::boxed::Box;

/// The verdict on a request.
pub(super) enum Decision<'b> {
    /// Answer from memory.
    Respond {
        /// The response head (for generated responses, all of it) is this much of the render buffer.
        head_len: usize,
        content: &'b [u8],
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

/// What a decision takes besides the request.
pub(super) struct Desk<'d, 'b> {
    pub(super) serving: &'d Serving<'b>,
    pub(super) flow: &'d mut Flow,
    pub(super) journal: &'d mut Journal,
    pub(super) render: &'d mut [u8],
    /// The connection's number in `flow`.
    pub(super) conn: u32,
    pub(super) now: Instant,
    pub(super) head_len: usize,
    /// Receives which site it is for.
    pub(super) site: &'d mut Option<u16>,
}

/// Routes a request, asks for its admission, and prepares the answer, or the head for the worker, in `render`.
pub(super) fn decide<'b>(head: &RequestHead<'_>, key: &FlowKey, desk: Desk<'_, 'b>) -> Decision<'b> {
    if let Err(refusal) = head.check_scheme(Scheme::Http) {
        return Decision::Refuse(refusal);
    }
    if let Some(answer) = answer_asterisk(head, desk.serving, desk.render) {
        return answer;
    }
    let route = desk.serving.router.route(Scheme::Http, key.local_port, head.host, key.local, head.path);
    let RouteResult::Matched(matched) = route else {
        return Decision::Refuse(Refusal::new(400, Reason::Hostname));
    };
    let pool = match matched.handler {
        Handler::Pool(pool) => Some(pool),
        Handler::Files(_) | Handler::Nobody(_) => None,
    };
    desk.journal.routed(matched.site, pool);
    *desk.site = u16::try_from(matched.site).ok();
    let rules = desk.serving.rules.of(*desk.site);
    if let Err(refusal) = rules.check(head, desk.head_len) {
        return Decision::Refuse(refusal);
    }
    match desk.flow.admit(desk.conn, matched.site, key.remote, desk.now.as_nanos()) {
        Ok(()) => {}
        Err(Refused::Connections) => return Decision::Refuse(Refusal::new(503, Reason::ConnLimit)),
        Err(Refused::Requests { retry_after_secs }) => {
            let mut out = Sink::new(desk.render);
            return match error::too_many_requests(retry_after_secs, head.method == Method::Head, &mut out) {
                Ok(()) => Decision::TooMany { head_len: out.len() },
                Err(_) => Decision::Refuse(Refusal::new(429, Reason::RequestRate)),
            };
        }
    }
    let decision = match matched.handler {
        Handler::Files(tree) => serve_file(head, tree, matched.rest, desk.serving, desk.render),
        Handler::Pool(pool) => forward(head, key, pool, rules.max_content, desk.render),
        Handler::Nobody(why) => Err(match why {
            Nobody::Reserved => Refusal::new(400, Reason::Url),
            Nobody::Unbound => Refusal::new(503, Reason::NotAvailable),
            Nobody::Disabled => Refusal::new(503, Reason::Disabled),
        }),
    };
    decision.unwrap_or_else(Decision::Refuse)
}

/// Answers `OPTIONS *`, which asks about the server and not about any of its URLs.
fn answer_asterisk<'b>(
    head: &RequestHead<'_>,
    serving: &Serving<'b>,
    render: &mut [u8],
) -> Option<Decision<'b>> {
    let mut out = Sink::new(render);
    let plan = serve::options_asterisk(head, true, &serving.date, &mut out).ok()??;
    let (head_len, drain) = (out.len(), Body::from(head.framing));
    Some(Decision::Respond { head_len, content: &[], keep_alive: plan.keep_alive, drain })
}

fn serve_file<'b>(
    head: &RequestHead<'_>,
    tree: u16,
    rest: &str,
    serving: &Serving<'b>,
    render: &mut [u8],
) -> Result<Decision<'b>, Refusal> {
    // A client that waits for 100 (Continue) may or may not send its content after another answer: close
    // (RFC 9110 §10.1.1).
    let keep_alive = !(head.expects_continue && head.framing != Framing::None);
    let date = &serving.date;
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
        drain: Body::from(head.framing),
    })
}

fn forward<'b>(
    head: &RequestHead<'_>,
    key: &FlowKey,
    pool: u16,
    max_content: u64,
    render: &mut [u8],
) -> Result<Decision<'b>, Refusal> {
    let forwarded = Forwarded { client: key.remote, scheme: Scheme::Http, expect_answered: true };
    let mut out = Sink::new(render);
    write_request(head, &forwarded, &mut out).map_err(|_| Refusal::new(431, Reason::RequestLength))?;
    Ok(Decision::Forward(Box::new(Exchange::new(pool, head, out.written(), max_content))))
}
