//! Decides what to do with a request, from its head alone.

use super::forward::Forward;
use super::journal::Journal;
use crate::cache::{Lookup, serve};
use crate::flow::{Flow, Refused};
use crate::http::forward::{Forwarded, max_forwards};
use crate::http::h1::forward::write_request;
use crate::http::request::{Framing, RequestHead, TargetForm};
use crate::http::{Encode, Fields, Overflow, Refusal, ResponseWriter, Sink, client, error, upgrade};
use crate::serving::{Match, RouteResult, Serving};
use crate::tcp::FlowKey;
use crate::time::Instant;
use crate::tls::{ClientCertificate, ClientStatus, NO_CERTIFICATE, Store};
use alloc::boxed::Box;
use model::date::DateCache;
use model::id::SiteId;
use model::reason::Reason;
use model::settings::{ClientCertificates, ClientField, Handler, Nobody};
use model::url::Scheme;

/// The decision on a request.
pub(crate) struct Decision {
    pub(crate) next: Next,
    /// The site it is for, if one was found.
    pub(crate) site: Option<SiteId>,
    /// Limit on the request content, in bytes.
    pub(crate) max_content: u64,
}

/// How the request is to be handled.
pub(crate) enum Next {
    /// Answer from memory. `rendered`: bytes of the render buffer to send, the head or, for generated text,
    /// the whole response.
    Respond { rendered: usize, status: u16, content: &'static [u8] },
    /// Answer as above with 429, then close.
    TooMany { rendered: usize },
    /// Forward to a worker.
    Forward(Box<Forward>),
    /// Answer with an error, then close.
    Refuse(Refusal),
}

/// Everything a decision needs besides the request.
pub(crate) struct Inputs<'d, E> {
    pub(crate) serving: &'d Serving,
    pub(crate) flow: &'d mut Flow,
    pub(crate) journal: &'d mut Journal,
    /// Encoder of the client's protocol.
    pub(crate) encoder: &'d mut E,
    pub(crate) date: &'d DateCache,
    pub(crate) render: &'d mut [u8],
    /// The connection's index in `flow`.
    pub(crate) conn: u32,
    pub(crate) now: Instant,
    pub(crate) head_len: usize,
    /// Set on TLS connections.
    pub(crate) secure: Option<Secure<'d>>,
}

impl<'d, E: Encode> Inputs<'d, E> {
    /// Writes a response, with the header fields that the matched site adds to all of its responses.
    fn answer_with(
        self,
        matched: &Match<'_>,
        write: impl FnOnce(&mut ResponseWriter<'_, E>) -> Result<&'static [u8], Overflow>,
    ) -> Result<Next, Refusal> {
        // Strict-Transport-Security (RFC 6797).
        let hsts = self.secure.and_then(|secure| secure.store.hsts(matched.site));
        self.answer(Fields::prepared(hsts.unwrap_or_default()), write)
    }

    fn answer(
        self,
        site: Fields<'_>,
        write: impl FnOnce(&mut ResponseWriter<'_, E>) -> Result<&'static [u8], Overflow>,
    ) -> Result<Next, Refusal> {
        let mut writer = ResponseWriter::new(self.encoder, self.date, self.render);
        writer.add_site_fields(site);
        let content = write(&mut writer).map_err(|_| Refusal::new(500, Reason::Internal))?;
        Ok(Next::Respond { rendered: writer.len(), status: writer.status(), content })
    }
}

/// What is known about the connection from its TLS handshake.
#[derive(Clone, Copy)]
pub(crate) struct Secure<'d> {
    /// The site whose configuration it has.
    pub(crate) site: SiteId,
    pub(crate) client: Option<&'d ClientCertificate>,
    pub(crate) store: &'d Store,
}

impl<'d> Secure<'d> {
    /// Refuses a host that belongs to another site's TLS configuration (421), and a client without a required
    /// certificate (403).
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

    /// Header fields that tell a worker about the client certificate.
    fn fields(&self, matched: &Match<'_>) -> &'d [u8] {
        match self.rule(matched) {
            ClientCertificates::Ignore => &[],
            _ => self.client.map_or(NO_CERTIFICATE, ClientCertificate::fields),
        }
    }
}

/// What is known about the peer that sent a request.
struct Sender {
    /// The field that names the client, if the peer is a trusted proxy.
    trusted: Option<ClientField>,
    /// The scheme of the client's own request, if a trusted proxy states it.
    client_scheme: Option<Scheme>,
}

/// Routes and admits a request, and renders the response head or the head for the worker into the render
/// buffer.
pub(crate) fn decide<E: Encode>(head: &RequestHead<'_>, key: &FlowKey, inputs: Inputs<'_, E>) -> Decision {
    let (mut site, mut max_content) = (None, inputs.serving.rules(None).max_content);
    let next = choose(head, key, inputs, &mut site, &mut max_content).unwrap_or_else(Next::Refuse);
    Decision { next, site, max_content }
}

fn choose<E: Encode>(
    head: &RequestHead<'_>,
    key: &FlowKey,
    inputs: Inputs<'_, E>,
    site: &mut Option<SiteId>,
    max_content: &mut u64,
) -> Result<Next, Refusal> {
    let scheme = if inputs.secure.is_some() { Scheme::Https } else { Scheme::Http };
    let trust = &inputs.serving.trust;
    let trusted = trust.covers(key.remote).then_some(trust.field);
    let client = client::address(head, key.remote, trust);
    let client_scheme = client::scheme(head, key.remote, trust);
    if client != key.remote {
        inputs.journal.set_forwarded_client(client);
    }
    head.check_scheme(scheme)?;
    if head.form == TargetForm::Asterisk {
        // `OPTIONS *` concerns the server, not any URL: the server-wide rules apply.
        inputs.serving.rules(None).check(head, inputs.head_len)?;
        return inputs.answer(Fields::NONE, |writer| serve::options_asterisk(writer).map(|()| &[][..]));
    }
    let matched = match inputs.serving.router.route(scheme, key.local_port, head.host, key.local, head.path) {
        RouteResult::Matched(matched) => matched,
        RouteResult::NoMatch => return Err(Refusal::new(400, Reason::Hostname)),
        RouteResult::Ambiguous => return Err(Refusal::new(400, Reason::Url)),
    };
    let pool = match matched.handler {
        Handler::Pool(pool) => Some(pool),
        Handler::Files(_) | Handler::Nobody(_) => None,
    };
    inputs.journal.routed(matched.site, pool);
    *site = Some(matched.site);
    let rules = inputs.serving.rules(*site);
    *max_content = rules.max_content;
    rules.check(head, inputs.head_len)?;
    match inputs.flow.admit(inputs.conn, matched.site, client, inputs.now.as_nanos()) {
        Ok(()) => {}
        Err(Refused::Connections) => return Err(Refusal::new(503, Reason::ConnLimit)),
        Err(Refused::Requests { retry_after_secs }) => {
            return too_many_requests(retry_after_secs, &matched, inputs);
        }
    }
    if let Some(secure) = &inputs.secure {
        secure.check(key.local_port, head.host, &matched)?;
    }
    dispatch(head, key, &matched, Sender { trusted, client_scheme }, scheme, inputs)
}

fn too_many_requests<E: Encode>(
    retry_after_secs: u64,
    matched: &Match<'_>,
    inputs: Inputs<'_, E>,
) -> Result<Next, Refusal> {
    let next = inputs.answer_with(matched, |writer| {
        writer.content_unread();
        error::too_many_requests(retry_after_secs, writer).map(|()| &[][..])
    });
    match next {
        Ok(Next::Respond { rendered, .. }) => Ok(Next::TooMany { rendered }),
        _ => Err(Refusal::new(429, Reason::RequestRate)),
    }
}

/// Passes an admitted request to the handler of its prefix.
fn dispatch<E: Encode>(
    head: &RequestHead<'_>,
    key: &FlowKey,
    matched: &Match<'_>,
    sender: Sender,
    scheme: Scheme,
    inputs: Inputs<'_, E>,
) -> Result<Next, Refusal> {
    let redirect = inputs.serving.redirects.get(matched.site.index()).copied().flatten();
    match (redirect, matched.handler) {
        // A trusted proxy that terminates TLS forwards requests by HTTP that clients made by HTTPS: those are
        // not redirected.
        (Some(port), _) if scheme == Scheme::Http && sender.client_scheme != Some(Scheme::Https) => inputs
            .answer_with(matched, |writer| {
                serve::redirect_to_https(head, port, key.local, writer).map(|()| &[][..])
            }),
        (_, Handler::Files(tree)) => serve_file(head, tree, matched, inputs),
        (_, Handler::Pool(_)) if max_forwards(head) == Some(0) => {
            inputs.answer_with(matched, |writer| serve::last_recipient(head, writer).map(|()| &[][..]))
        }
        (_, Handler::Pool(pool)) => {
            let forwarded = Forwarded {
                certificate: inputs.secure.map_or(&[][..], |secure| secure.fields(matched)),
                trusted: sender.trusted,
                client_scheme: sender.client_scheme,
                upgrade: &matched.passthrough.upgrade,
                fields: &matched.passthrough.fields,
                ..Forwarded::new(key.remote, (key.local, key.local_port), scheme)
            };
            let mut out = Sink::new(inputs.render);
            write_request(head, &forwarded, &mut out)
                .map_err(|_| Refusal::new(431, Reason::RequestLength))?;
            let upgrade = upgrade::list(head, forwarded.upgrade);
            Ok(Next::Forward(Box::new(Forward::new(pool, head, out.written(), upgrade))))
        }
        (_, Handler::Nobody(why)) => Err(match why {
            Nobody::Reserved => Refusal::new(400, Reason::Url),
            Nobody::Unbound => Refusal::new(503, Reason::NotAvailable),
            Nobody::Disabled => Refusal::new(503, Reason::Disabled),
        }),
    }
}

fn serve_file<E: Encode>(
    head: &RequestHead<'_>,
    tree: u16,
    matched: &Match<'_>,
    inputs: Inputs<'_, E>,
) -> Result<Next, Refusal> {
    let found = inputs.serving.files.lookup(tree, matched.rest);
    inputs.answer_with(matched, |writer| {
        // A client that sent `Expect: 100-continue` may or may not send its content after a final response
        // (RFC 9110 §10.1.1).
        if head.expects_continue() && head.framing != Framing::None {
            writer.content_unread();
        }
        match found {
            Lookup::Found(stored) => {
                let part = serve::file(head, stored, writer)?;
                Ok(stored.content().get(part).unwrap_or_default())
            }
            Lookup::Directory => serve::redirect_to_directory(head, writer).map(|()| &[][..]),
            Lookup::NotFound => serve::not_found(head, writer).map(|()| &[][..]),
        }
    })
}
