//! Peers whose receive window is zero: what smoltcp is told, and window probes.
//!
//! smoltcp has two habits that cannot be configured. Together with a peer that neither sends window updates nor answers unexpected
//! segments, such as passt (of March 2023, in Debian 12), they stall a connection for good:
//!
//! - While the window is zero, smoltcp does not retransmit data in flight. It probes with the byte *after* that data, which means
//!   nothing to a peer that accepted a part of the data and dropped the rest. RFC 9293 §3.8.6.1 requires retransmission as usual. So
//!   while data is in flight, smoltcp is told of a window of one unit instead ([`read`]), and as soon as the peer has
//!   room again, everything in flight is retransmitted.
//! - smoltcp sends its first probe after its retransmission timeout, at least a second, and later ones up to a minute apart. The
//!   stack therefore sends earlier probes of its own ([`Probes`]).

use crate::time::Instant;
use core::time::Duration;
use smoltcp::wire::{Ipv4Packet, TcpPacket, TcpSeqNumber};

/// From the closing of the window to the first probe.
const FIRST_PAUSE_MS: u16 = 50;
/// The longest pause between two probes.
const LAST_PAUSE_MS: u16 = 6_400;

/// What an acknowledgement says about the peer's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) is_closed: bool,
    /// The acknowledgement number (SND.UNA).
    expected: TcpSeqNumber,
    /// Some sent data is not acknowledged.
    in_flight: bool,
}

/// Reads the window from a validated packet; `None` if the packet carries none. `sent` is SND.NXT. If the window is zero while data is
/// in flight, the packet's window field is set to one unit.
pub(super) fn read(packet: &mut [u8], sent: TcpSeqNumber) -> Option<Said> {
    let start = usize::from(Ipv4Packet::new_unchecked(&*packet).header_len());
    let mut segment = TcpPacket::new_unchecked(packet.get_mut(start..)?);
    if !segment.ack() || segment.syn() || segment.rst() {
        return None;
    }
    let (is_closed, expected) = (segment.window_len() == 0, segment.ack_number());
    let in_flight = expected < sent;
    if is_closed && in_flight {
        segment.set_window_len(1);
    }
    Some(Said { is_closed, expected, in_flight })
}

/// The probes of a closed window. The pause between them doubles, so that an opening is noticed before the window has been
/// open for as long as it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probes {
    /// When the next one is due.
    pub(super) at: Instant,
    expected: TcpSeqNumber,
    // Every connection has this: two bytes, not the sixteen of a `Duration`.
    pause_ms: u16,
    in_flight: bool,
}

impl Probes {
    /// The state after this acknowledgement, and whether the data in flight has to be retransmitted now.
    pub(super) fn after(said: Said, before: Option<Self>, now: Instant) -> (Option<Self>, bool) {
        let Said { is_closed, expected, in_flight } = said;
        if is_closed {
            let (at, pause_ms) = before
                .map_or((after(now, FIRST_PAUSE_MS), FIRST_PAUSE_MS), |probes| (probes.at, probes.pause_ms));
            return (Some(Self { at, expected, pause_ms, in_flight }), false);
        }
        (None, in_flight && before.is_some_and(|probes| probes.in_flight))
    }

    /// Schedules the next probe, and returns the sequence number of the one to send now. It lies before the peer's window, so the
    /// peer answers with its window and ignores the segment otherwise. Linux probes the same way.
    pub(super) fn ask(&mut self, now: Instant) -> TcpSeqNumber {
        self.pause_ms = (self.pause_ms * 2).min(LAST_PAUSE_MS);
        self.at = after(now, self.pause_ms);
        self.expected - 1
    }
}

fn after(now: Instant, pause_ms: u16) -> Instant {
    now + Duration::from_millis(pause_ms.into())
}
