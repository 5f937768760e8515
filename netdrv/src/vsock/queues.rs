//! The queues below the streams, and notifying the device.

use crate::{
    dma::{DmaBuffer, InBuffer, OutBuffer},
    platform::Platform,
    queue::SplitQueue,
    transport::Doorbell,
};

/// A queue and its notification register.
#[derive(Debug)]
pub(super) struct Side<B> {
    pub(super) queue: SplitQueue<B>,
    pub(super) doorbell: Doorbell,
}

impl<B: DmaBuffer> Side<B> {
    fn publish<P: Platform>(&mut self, platform: &P) {
        if self.queue.publish() {
            self.doorbell.ring(platform);
        }
    }
}

/// The three queues of §5.10.2.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) rx: Side<InBuffer>,
    pub(super) tx: Side<OutBuffer>,
    pub(super) events: Side<InBuffer>,
}

impl Queues {
    pub(super) fn publish<P: Platform>(&mut self, platform: &P) {
        self.rx.publish(platform);
        self.tx.publish(platform);
        self.events.publish(platform);
    }
}
