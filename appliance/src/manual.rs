//! How to read the data plane: one GET and one POST, from frame to frame.
//!
//! This module contains no code. Each step names the files that implement it; open them in this order.
//!
//! # A GET for a file
//!
//! It visits fourteen files.
//!
//! 1. **A frame.** `netdrv` has a buffer that the card has filled. [`Shard::poll`](crate::shard::Shard::poll)
//!    (`shard/mod.rs`) passes it to the stack (`tcp/ingress.rs`), which checks lengths once, finds the
//!    connection by its 4-tuple (`tcp/flow.rs`) and passes the segment to that connection's smoltcp socket.
//!    The shard queues the connection for its turn.
//! 2. **Its turn.** `Connection::run` (`connection/mod.rs`) acts on the connection's phase, here: waiting for
//!    a head. All bytes pass through the wire (`connection/wire.rs`): above it, TLS is invisible.
//! 3. **A head.** `connection/head.rs` has the bytes parsed in place in the receive buffer
//!    (`http/h1/request.rs`). The result is *partial*, a refusal with status and reason, or an unambiguous
//!    [`RequestHead`](crate::http::RequestHead).
//! 4. **A decision.** `exchange/decide.rs` decides from the head and the settings alone: for which client a
//!    trusted proxy speaks, under which site and prefix every reading of the path falls
//!    (`serving/router.rs`), whether the site's limits admit the request ([`Flow`](crate::flow::Flow)), and
//!    whether the client's certificate suffices. Here: a file. `cache/serve.rs` evaluates preconditions and
//!    ranges and has the head written: a [`Reply`](crate::http::Reply) is the value, and the encoder of the
//!    client's protocol (`http/h1/encoder.rs`) turns it into bytes, most of which were prepared when the
//!    image started.
//! 5. **An exchange.** The head is sent; the content is a source in memory. `Exchange::run`
//!    (`exchange/mod.rs`) asks the client how much room it has, and pulls that much from the source.
//! 6. **The gate.** *Room* is what fits the send buffer and what bandwidth control grants
//!    (`connection/gate.rs`). The rest is granted later, which queues the connection for another turn.
//! 7. **Frames.** After the connection's turn, the stack asks its socket for segments and writes them into
//!    the card's buffers (`tcp/port.rs`). One notification tells the card of all of them.
//! 8. **The end.** The response is out: the journal, which was told of each step, writes its log line, and
//!    the connection waits for the next head.
//!
//! Nothing was allocated; `tests/sim/scale.rs` counts.
//!
//! # A POST for a worker
//!
//! Steps 1 to 4 are the same, except that the decision is a pool. The head is written once more, for the
//! worker ([`write_request`](crate::http::h1::forward::write_request)), and kept, since it may have to be
//! sent twice.
//!
//! 5. **A place in the queue.** `Forward::start` (`exchange/forward/mod.rs`) asks
//!    [`Pools`](crate::upstream::Pools) for a link to a worker. If one is idle and proved clean for a whole
//!    turn of the transport (`upstream/reuse.rs`), it is assigned in the same poll; otherwise the request
//!    waits, bounded in number and time, while the supervisor may start a worker.
//! 6. **Content up.** The exchange *feeds* its source: `exchange/forward/up.rs` takes content from the client
//!    as the gate admits it and the link takes it. What the link does not take stays in the TCP receive
//!    window, so a slow worker slows down its client and costs no memory. A client that waits for
//!    `100 Continue` gets it once there is a worker.
//! 7. **The response head.** `exchange/forward/head.rs` parses it as strictly as a request. It becomes a
//!    `Reply`, as in step 4, and is held back for a moment (`exchange/first_buffer.rs`): while the client has
//!    seen nothing, the request of a dead worker is given to another one, if its method allows that
//!    (`exchange/forward/loss.rs`).
//! 8. **Content down.** `exchange/forward/answer.rs` removes the worker's framing, and the encoder adds the
//!    client's; the pump is the same as for the GET.
//! 9. **The end.** The link returns to its pool unless anything is left on it, and the journal writes its
//!    line.
//!
//! # Where to put something new
//!
//! | what | where |
//! |---|---|
//! | another protocol for clients | an `Encode` of its own beside `http/h1`, and its reader in `connection/`; `tests/toy_protocol.rs` is one |
//! | another place that responses come from | a `Source` beside `exchange/source.rs`; `tests/toy_source.rs` is one |
//! | a rule about requests | `exchange/decide.rs`, with its settings in `model::settings` and compiled in `serving/` |
//! | a reason to refuse something | `model::reason`, once |
