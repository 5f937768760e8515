//! Graceful shutdown: requests in progress are finished, no new ones are accepted.
//!
//! Listening ends at once; new connections get a RST, so that clients and load balancers turn elsewhere
//! without waiting. Responses whose head was not written yet say `Connection: close`. Connections that wait
//! for their next request are closed at once; those that have not sent any get a moment more, since a first
//! request may be on its way. What is not done by the deadline is cut off with reason `AppShutdown`.

use super::Shard;
use crate::connection::drain::Drain;
use crate::hub::Hub;
use crate::tcp::{ConnId, Socket, State};
use crate::time::Instant;
use core::time::Duration;
use model::control::message::Draining;
use netdrv::nic::Nic;

/// How long a connection without any request is spared.
const GRACE: Duration = Duration::from_secs(1);

impl<N: Nic, H: Hub> Shard<N, H> {
    /// Starts a drain to be completed within `limit`, or changes its limit. Returns what is left to do.
    pub fn drain(&mut self, limit: Duration) -> Draining {
        let now = self.shared.now;
        let ends_at = now + limit;
        self.shared.drain = match self.shared.drain {
            Drain::Off => {
                self.stack.stop_listening();
                self.mark_all();
                Drain::Begun { silent_until: now + GRACE, ends_at }
            }
            Drain::Begun { silent_until, .. } => Drain::Begun { silent_until, ends_at },
            Drain::Late { .. } => Drain::Late { ends_at },
            Drain::Over => Drain::Over,
        };
        self.shared.hub.hurry(now);
        Draining {
            connections: self.stack.count(|socket, _| !is_delivered(socket)) as u64,
            log_bytes: self.shared.logs.log.spool.len() as u64,
        }
    }

    /// Runs the steps of the drain that are due.
    pub(super) fn run_drain(&mut self, now: Instant) {
        if self.shared.drain.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.shared.drain {
            Drain::Begun { ends_at, .. } if ends_at > now => {
                self.shared.drain = Drain::Late { ends_at };
                self.mark_all();
            }
            Drain::Begun { .. } | Drain::Late { .. } => {
                self.shared.drain = Drain::Over;
                for id in self.connections() {
                    if let Some((socket, connection)) = self.stack.get(id) {
                        connection.shut_down(id, socket, &mut self.shared);
                        self.mark(id);
                    }
                }
            }
            Drain::Off | Drain::Over => {}
        }
    }

    fn mark_all(&mut self) {
        self.connections().into_iter().for_each(|id| self.mark(id));
    }

    /// All connections whose TCP handshake is complete.
    fn connections(&self) -> alloc::vec::Vec<ConnId> {
        let all = (0..self.stack.index_bound()).filter_map(|index| self.stack.at(index));
        all.filter(|id| !self.stack.is_half_open(*id)).collect()
    }
}

/// Whether the client has acknowledged everything including our FIN.
fn is_delivered(socket: &Socket<'_>) -> bool {
    matches!(socket.state(), State::FinWait2 | State::TimeWait | State::Closed | State::Listen)
}
