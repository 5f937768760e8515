//! Orders of administrators, and when they are in force.

use super::Told;
use super::client::Client;
use super::pool::Event;
use model::id::PoolId;
use model::pool::PoolState;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// An administrator's order to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolOrder {
    /// Replace its workers by new ones.
    Recycle,
    /// Out of service.
    Stop,
    /// Into service.
    Start,
}

impl From<PoolOrder> for Event {
    fn from(order: PoolOrder) -> Self {
        match order {
            PoolOrder::Recycle => Self::Recycle,
            PoolOrder::Stop => Self::Stop,
            PoolOrder::Start => Self::Start,
        }
    }
}

/// How far an order has come when it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The appliance has said that it does as ordered: no later request is treated as before.
    InForce,
    /// It holds, but not for every request yet: why, in words.
    NotYet(String),
}

/// Gives orders to a running supervisor.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) orders: mpsc::UnboundedSender<Told>,
    /// Asks the appliance.
    pub client: Client,
    /// Names of the pools.
    pub pools: Vec<String>,
}

impl Handle {
    /// Gives an order to the pool of this name, and waits until the appliance has taken it. `None` if there is no such pool.
    pub async fn order(&self, pool: &str, order: PoolOrder) -> Option<Outcome> {
        let id = PoolId::at(self.pools.iter().position(|name| name == pool)?)?;
        let (done, is_done) = oneshot::channel();
        self.orders.send(Told::Order(id, order, done)).ok()?;
        is_done.await.ok()
    }

    /// Ends the supervisor once its workers have finished what they have. The pools stay in service.
    pub fn leave(&self) {
        // Fails only when it has ended.
        let _ = self.orders.send(Told::Leave);
    }
}

/// Asks the appliance how it treats the pool now that everything that an order led to has been sent. `running`: the
/// workers that answer.
pub(super) async fn confirm(client: &Client, pool: PoolId, order: PoolOrder, running: usize) -> Outcome {
    let state = match client.pool(pool).await {
        Ok(info) => info.state,
        Err(error) => {
            return Outcome::NotYet(format!("{error:#}; the appliance is told as soon as it can be reached"));
        }
    };
    let is_out = [PoolState::Disabling, PoolState::Disabled].map(|state| state as u8).contains(&state);
    match order {
        PoolOrder::Stop if !is_out => Outcome::NotYet("the appliance has it in service still".into()),
        PoolOrder::Start if is_out => Outcome::NotYet("the appliance has it out of service still".into()),
        PoolOrder::Recycle if running > 0 => {
            Outcome::NotYet(format!("workers to be replaced, each when its successor answers: {running}"))
        }
        PoolOrder::Stop | PoolOrder::Start | PoolOrder::Recycle => Outcome::InForce,
    }
}
