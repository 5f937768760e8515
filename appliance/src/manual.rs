//! How to read the data plane: one GET and one POST, from frame to frame.
//!
//! Nothing here is code. Each step names the file that does it; open them in this order.
//!
//! # A GET for a file
//!
//! 1. **A frame.** `netdrv` has a buffer that the card filled. [`Shard::poll`](crate::shard::Shard::poll) (`shard/mod.rs`) takes
//!    it and gives it to the stack (`tcp/mod.rs`, `tcp/ingress.rs`), which checks lengths once, finds the connection by its
//!    four-tuple (`tcp/flow.rs`) and hands the segment to that connection's smoltcp socket. The shard puts the connection into
//!    its queue of those that have something to do.
//! 2. **Its turn.** `Connection::run` (`connection/mod.rs`) looks at the connection's phase, here: waiting for a head. With TLS the
//!    bytes pass through rustls first (`connection/wire.rs`, `tls/connection.rs`); nobody above the wire can tell the difference.
//! 3. **A head.** `connection/head.rs` parses the bytes where they lie in the receive buffer (`http/`): the verdict is *partial*, a
//!    refusal with its status and reason, or a [`RequestHead`](crate::http::RequestHead) in which nothing is ambiguous. The
//!    journal (`exchange/journal.rs`) notes what the logs will say.
//! 4. **A decision.** `exchange/decide.rs` looks at nothing but the head and what is served
//!    (`serving/`): which client a trusted proxy speaks for, which site and prefix every reading of the path falls under
//!    ([`Router`](crate::serving::Router)), whether the site's limits admit it ([`Flow`](crate::flow::Flow)), whether the client's
//!    certificate is good enough. Here: a file. [`cache::serve`](crate::cache::serve) answers conditions and ranges and has the
//!    head written: a [`Reply`](crate::http::Reply) is the value, and the encoder of the client's protocol
//!    ([`http::h1::Encoder`](crate::http::h1::Encoder)) puts it into bytes, most of which were prepared when the image started.
//! 5. **An exchange.** The head is sent; the content is a source in memory (`exchange/source.rs`). `Exchange::run`
//!    (`exchange/mod.rs`) asks the client how much it has room for and pulls that much from the source.
//! 6. **The gate.** *Room* is what the send buffer has and what bandwidth control grants (`connection/gate.rs`, `flow/`). What is not
//!    granted yet comes as a grant later, which puts the connection back into the queue.
//! 7. **Frames.** After the connection's turn the stack asks its socket for segments and writes them into the card's buffers
//!    (`tcp/port.rs`). One notification tells the card of all of them.
//! 8. **The end.** The response is out: the journal writes its line, and the connection waits for the next head.
//!
//! Nothing was allocated; `tests/sim/scale.rs` counts.
//!
//! # A POST for a worker
//!
//! Steps 1 to 4 are the same, up to the decision: a pool. The head is written once more, for the worker
//! ([`write_request`](crate::http::h1::forward::write_request)), and kept, since it may have to be sent twice.
//!
//! 5. **A place in the queue.** `Forward::start` (`exchange/forward/mod.rs`) asks [`Pools`](crate::upstream::Pools) for a link to a
//!    worker. If one is idle and has been seen clean for a whole turn of the transport (`upstream/reuse.rs`) the answer comes
//!    in the same poll; else the request waits, bounded in number and time, while the supervisor may start a worker.
//! 6. **Content up.** The exchange *feeds* its source: `exchange/forward/up.rs` takes content from the client as the gate admits it and
//!    the link takes it. What the link does not take stays in the TCP receive window, so that a slow worker slows its client
//!    down and no memory. A client that waits for `100 Continue` gets it when there is a worker.
//! 7. **The answer's head.** `exchange/forward/head.rs` judges it as strictly as a request. It becomes a `Reply`, as in step 4
//!    above, and is held back for a moment (`exchange/first_buffer.rs`): as long as the client has seen nothing, a dead worker's
//!    request goes to another one, if its method allows that (`exchange/forward/loss.rs`).
//! 8. **Content down.** `exchange/forward/answer.rs` takes the worker's framing apart, the encoder puts the client's around it; the pump is
//!    the one of the GET.
//! 9. **The end.** The link goes back to its pool if nothing lies on it that is no part of the answer, the journal writes its line.
//!
//! # Where to put something new
//!
//! | what | where |
//! |---|---|
//! | another protocol for clients | an `Encode` of its own beside `http/h1`, and its reader in `connection/`; `tests/toy_protocol.rs` is one |
//! | another place that responses come from | a `Source` beside `exchange/source.rs`; `tests/toy_source.rs` is one |
//! | a rule about requests | `exchange/decide.rs`, with its settings in `model::settings` and compiled in `serving/` |
//! | a reason to refuse something | `model::reason`, once |
