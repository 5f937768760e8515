//! Control requests about pools and workers, which the hub answers.

use super::Machine;
use crate::time::Instant;
use crate::upstream::{WorkerStatus, vsock};
use core::ops::ControlFlow;
use model::control::message::{Answer, PoolInfo, Refusal, Request, WorkerInfo};
use model::id::PoolId;
use model::settings::Worker;
use netdrv::stream::{StreamId, StreamTransport};

/// Limit on pools per page of an answer: each may have up to [`MAX_WORKERS`](model::pool::MAX_WORKERS)
/// workers with a note each.
const POOLS_PAGE: usize = 3;

impl<S: StreamTransport> Machine<S> {
    /// Executes a request about workers or pools. Returns other requests: they are for a shard.
    pub(super) fn execute(
        &mut self,
        peer: StreamId,
        request: Request,
        now: Instant,
    ) -> ControlFlow<Result<Answer, Refusal>, Request> {
        let done = |found: bool, refusal| if found { Ok(Answer::Done) } else { Err(refusal) };
        let pool = match &request {
            Request::WorkerUp { pool, .. }
            | Request::WorkerReport { pool, .. }
            | Request::WorkerLeaving { pool, .. }
            | Request::WorkerGone { pool, .. }
            | Request::SetService { pool, .. } => Some(*pool),
            _ => None,
        };
        if pool.is_some_and(|pool| pool.index() >= self.pools.count()) {
            return ControlFlow::Break(Err(Refusal::NoSuchPool));
        }
        ControlFlow::Break(match request {
            Request::Supervise => {
                self.control.set_supervisor(peer, self.pools.streams());
                self.pools.retire_announced();
                Ok(Answer::Done)
            }
            Request::WorkerUp { pool, address, named } => {
                let came = self.pools.add_worker(pool, vsock(address), named, now);
                done(came, Refusal::TooManyWorkers)
            }
            Request::WorkerReport { pool, address, down, note } => {
                let found = self.pools.report_worker(pool, vsock(address), down, note, now);
                done(found, Refusal::NoSuchWorker)
            }
            Request::StreamEnded { name, whole } => {
                self.pools.stream_ended(name, whole);
                Ok(Answer::Done)
            }
            Request::WorkerLeaving { pool, address } => {
                done(self.pools.retire_worker(pool, vsock(address)), Refusal::NoSuchWorker)
            }
            Request::WorkerGone { pool, address, died } => {
                let found = self.pools.remove_worker(pool, vsock(address), died, now);
                done(found, Refusal::NoSuchWorker)
            }
            Request::SetService { pool, service, out } => {
                self.pools.set_service(pool, service, out);
                Ok(Answer::Done)
            }
            Request::Pools(from) => {
                let ids = (from.0..=u16::MAX).take(POOLS_PAGE);
                Ok(Answer::Pools(ids.map_while(|id| self.pool_info(PoolId(id), now)).collect()))
            }
            other => return ControlFlow::Continue(other),
        })
    }

    fn pool_info(&self, pool: PoolId, now: Instant) -> Option<PoolInfo> {
        let name = self.names.get(pool.index())?.clone();
        let status = self.pools.status(pool);
        let worker = |w: WorkerStatus| WorkerInfo {
            address: Worker { cid: w.address.cid, port: w.address.port },
            leaving: w.leaving,
            healthy: w.healthy,
            down: w.down,
            note: w.note,
            in_hand: w.in_hand as u32,
            served: w.served,
            unused_ms: now.since(w.used_at).as_millis() as u64,
        };
        Some(PoolInfo {
            name,
            state: status.state as u8,
            out: self.pools.outage(pool).cloned(),
            waiting: status.waiting as u32,
            in_hand: status.in_hand as u32,
            workers: self.pools.workers(pool).map(worker).collect(),
        })
    }
}
