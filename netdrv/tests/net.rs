//! virtio-net against a fake card.

mod support;

use netdrv::{
    net::VirtioNet,
    nic::{ChecksumOffload, Nic, NicInfo, TxFull, TxOffload},
    queue::QueueError,
    transport::DeviceError,
};
use proptest::prelude::*;
use support::{EVENT_IDX, FakeDevice, FakeMachine, VERSION_1};

const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const HOST_TSO4: u64 = 1 << 11;
const STATUS: u64 = 1 << 16;
const ALL: u64 = VERSION_1 | EVENT_IDX | CSUM | GUEST_CSUM | MTU | MAC | HOST_TSO4 | STATUS;
const BASE: u64 = VERSION_1 | MAC;

const RX: usize = 0;
const TX: usize = 1;
const HEADER: usize = 12;

fn device(offered: u64) -> FakeDevice {
    let config = [0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0xdc, 5];
    FakeDevice::new(1, offered, &config, &[256, 256])
}

fn card(offered: u64) -> (FakeMachine, VirtioNet<FakeMachine>) {
    let machine = FakeMachine::new(vec![device(offered)]);
    let card = VirtioNet::new(machine.clone(), FakeMachine::address(0)).expect("a card");
    (machine, card)
}

fn frame(len: usize, tag: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes.extend((0..len).map(|i| (i as u8).wrapping_mul(7) ^ tag));
    bytes
}

#[test]
fn negotiates_what_is_offered() {
    let info = |offered| card(offered).1.info();
    let mac = [0x52, 0x54, 0, 1, 2, 3];
    assert_eq!(info(BASE), NicInfo { mac, mtu: 1500, tx_checksum: false, tso4_max: None });
    assert_eq!(info(ALL), NicInfo { mac, mtu: 1500, tx_checksum: true, tso4_max: Some(65_524) });
    // TSO without checksum offload is an invalid offer: neither is used.
    assert_eq!(info(BASE | HOST_TSO4).tso4_max, None);
    // No other feature is chosen.
    let (machine, _card) = card(u64::MAX >> 24 & !(1 << 34));
    assert_eq!(machine.device(0).accepted, ALL);
    assert_eq!(machine.device(0).status, 15);
}

#[test]
fn works_with_every_combination_of_features() {
    for bits in 0..64u64 {
        let optional = [EVENT_IDX, CSUM, GUEST_CSUM, MTU, HOST_TSO4, STATUS];
        let offered =
            optional.iter().enumerate().filter(|(i, _)| bits >> i & 1 != 0).fold(BASE, |all, (_, f)| all | f);
        let (machine, mut card) = card(offered);
        for round in 0..3u8 {
            assert!(machine.queue(RX).deliver(&frame(60, round)));
            let received = card.receive().expect("a frame");
            assert_eq!(received.buffer.as_ref(), &frame(60, round)[HEADER..]);
            card.recycle(received.buffer);
            card.transmit(64, |bytes| (bytes.fill(round), TxOffload::default())).expect("room");
            card.flush();
            assert_eq!(machine.queue(TX).drain(), [[vec![0; HEADER], vec![round; 64]].concat()]);
            assert!(card.receive().is_none());
            assert!(card.arm(false));
        }
        assert_eq!(card.errors(), netdrv::net::NetErrors::default());
    }
}

#[test]
fn refuses_what_it_cannot_drive() {
    let open = |device: FakeDevice| {
        VirtioNet::new(FakeMachine::new(vec![device]), FakeMachine::address(0)).err().expect("an error")
    };
    assert_eq!(open(device(MAC)), DeviceError::MissingFeature);
    assert_eq!(open(device(VERSION_1)), DeviceError::MissingFeature);
    assert_eq!(open(FakeDevice { refuse_features: true, ..device(BASE) }), DeviceError::FeaturesRefused);
    let stuck = FakeDevice { stuck_in_reset: true, status: 15, ..device(BASE) };
    assert_eq!(open(stuck), DeviceError::ResetTimeout);
    assert_eq!(open(FakeDevice { restless: true, ..device(BASE) }), DeviceError::BadConfiguration);
    assert_eq!(open(FakeDevice::new(1, BASE, &[0; 3], &[256, 256])), DeviceError::BadConfiguration);
    assert_eq!(open(FakeDevice::new(1, BASE, &[0; 12], &[256])), DeviceError::NoQueue(1));
    assert_eq!(open(FakeDevice::new(1, BASE, &[0; 12], &[256, 100])), DeviceError::NoQueue(1));
    let machine = FakeMachine::new(vec![device(ALL)]);
    machine.limit_dma(1 << 20);
    assert_eq!(VirtioNet::new(machine, FakeMachine::address(0)).err(), Some(DeviceError::NoMemory));
}

#[test]
fn uses_at_most_two_mebibytes_and_rings() {
    let (machine, _card) = card(ALL);
    assert_eq!(machine.dma_bytes(), (2 << 20) + 4 * 4096);
    let (machine, _card) = card(BASE);
    assert_eq!(machine.dma_bytes(), (1 << 20) + 4 * 4096);
}

#[test]
fn a_frame_stays_as_it_was_received() {
    let (machine, mut card) = card(ALL);
    let chain = machine.queue(RX).take().expect("a buffer");
    chain.write(&frame(100, 1));
    machine.queue(RX).complete(chain.id, 112);
    let received = card.receive().expect("a frame");
    // A device that keeps writing to a buffer it has returned.
    chain.write(&[0xff; 112]);
    assert_eq!(received.buffer.as_ref(), &frame(100, 1)[HEADER..]);
    card.recycle(received.buffer);
}

#[test]
fn frames_that_cannot_be_held_wait_with_the_card() {
    let (machine, mut card) = card(ALL);
    for tag in 0..20 {
        assert!(machine.queue(RX).deliver(&frame(60, tag)));
    }
    let mut tags = 0..20;
    while !tags.is_empty() {
        let held: Vec<_> = std::iter::from_fn(|| card.receive()).collect();
        assert!((1..20).contains(&held.len()), "{} frames held", held.len());
        for received in held {
            assert_eq!(received.buffer.as_ref(), &frame(60, tags.next().expect("another"))[HEADER..]);
            card.recycle(received.buffer);
        }
    }
    assert!(card.receive().is_none());
    card.flush();
    assert_eq!(machine.queue(RX).available(), 256, "all buffers are with the card again");
}

#[test]
fn small_device_queues_get_fewer_buffers() {
    let machine = FakeMachine::new(vec![FakeDevice::new(1, ALL, &device(0).config, &[16, 8])]);
    let mut card = VirtioNet::new(machine.clone(), FakeMachine::address(0)).expect("a card");
    assert_eq!(machine.queue(RX).available(), 16);
    assert_eq!(card.tx_room(), 8);
    for _ in 0..8 {
        card.transmit(60, |_| ((), TxOffload::default())).expect("room");
    }
    assert_eq!(card.transmit(60, |_| ((), TxOffload::default())), Err(TxFull));
}

#[test]
fn one_notification_a_batch_and_none_when_unwanted() {
    for offered in [BASE, ALL] {
        let (machine, mut card) = card(offered);
        machine.take_notifications();
        let mut send = |n: usize| {
            for _ in 0..n {
                card.transmit(60, |_| ((), TxOffload::default())).expect("room");
            }
            card.flush();
        };
        machine.queue(TX).want_notification(true);
        send(10);
        assert_eq!(machine.take_notifications(), [1]);
        machine.queue(TX).drain();
        machine.queue(TX).want_notification(false);
        send(10);
        assert_eq!(machine.take_notifications(), Vec::<u16>::new());
        send(0);
        assert_eq!(machine.take_notifications(), Vec::<u16>::new());
    }
}

#[test]
fn interrupts_only_when_armed() {
    for offered in [BASE, ALL] {
        let (machine, mut card) = card(offered);
        for _ in 0..5 {
            machine.queue(RX).deliver(&frame(60, 0));
        }
        while let Some(frame) = card.receive() {
            card.recycle(frame.buffer);
        }
        assert_eq!(machine.queue(RX).interrupts, 0);
        assert!(card.arm(false));
        machine.queue(RX).deliver(&frame(60, 0));
        assert_eq!(machine.queue(RX).interrupts, 1);
        // Not idle: the frame arrived before arming.
        assert!(!card.arm(false));
        assert!(card.receive().is_some());
        machine.queue(RX).deliver(&frame(60, 0));
        assert_eq!(machine.queue(RX).interrupts, 1);
    }
}

#[test]
fn waits_for_room_after_a_refusal() {
    let (machine, mut card) = card(ALL);
    while card.transmit(60, |_| ((), TxOffload::default())).is_ok() {}
    assert_eq!(card.tx_room(), 0);
    card.flush();
    assert!(card.arm(false));
    assert_eq!(machine.queue(TX).drain().len(), 256);
    assert!(machine.queue(TX).interrupts >= 1);
    assert!(!card.arm(false), "freed room is work");
    assert_eq!(card.tx_room(), 256);
    assert!(card.arm(false));
}

/// A flood in which every frame gets a reply: the data plane receives nothing while it has no room, so only `flush` can notice
/// that the card has sent everything.
#[test]
fn there_is_room_again_without_receiving_or_sending() {
    let (machine, mut card) = card(ALL);
    for _ in 0..card.tx_room() {
        card.transmit(60, |_| ((), TxOffload::default())).expect("room");
    }
    card.flush();
    assert_eq!(card.tx_room(), 0, "the card has sent nothing yet");
    assert_eq!(machine.queue(TX).drain().len(), 256);
    card.flush();
    assert_eq!(card.tx_room(), 256);
}

#[test]
fn large_frames_have_room_of_their_own() {
    let (machine, mut card) = card(ALL);
    assert_eq!(card.tx_room_for(60_000), 16);
    let offload =
        TxOffload { checksum: Some(ChecksumOffload { start: 34, offset: 16 }), tso4_segment: Some(1448) };
    for _ in 0..16 {
        card.transmit(65_524, |bytes| {
            bytes.fill(0x50);
            ((), offload)
        })
        .expect("room");
    }
    assert_eq!(card.transmit(65_524, |_| ((), offload)), Err(TxFull));
    assert_eq!(card.transmit(65_525, |_| ((), offload)), Err(TxFull));
    assert!(card.tx_room() > 0);
    card.flush();
    let sent = machine.queue(TX).drain();
    assert!(sent.iter().all(|frame| frame.len() == 65_536));
    // NEEDS_CSUM, TCPV4, 34 + 20 bytes of headers, 1448 per segment, checksum at 34 + 16.
    assert_eq!(sent[0][..HEADER], [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
    assert!(!card.arm(false));
    assert_eq!(card.tx_room_for(60_000), 16);
}

#[test]
fn offload_that_was_not_negotiated_is_not_asked_for() {
    let (machine, mut card) = card(BASE);
    let offload =
        TxOffload { checksum: Some(ChecksumOffload { start: 34, offset: 16 }), tso4_segment: Some(1448) };
    card.transmit(1500, |_| ((), offload)).expect("room");
    assert_eq!(card.transmit(4000, |_| ((), offload)), Err(TxFull));
    card.flush();
    assert_eq!(machine.queue(TX).drain()[0][..HEADER], [0; HEADER]);
    // Nor a checksum outside the frame.
    let (machine, mut card) = self::card(ALL);
    let outside = TxOffload { checksum: Some(ChecksumOffload { start: 50, offset: 16 }), tso4_segment: None };
    card.transmit(60, |_| ((), outside)).expect("room");
    card.flush();
    assert_eq!(machine.queue(TX).drain()[0][..HEADER], [0; HEADER]);
}

#[test]
fn checksums_are_trusted_only_if_negotiated() {
    for (offered, trusted) in [(BASE, false), (ALL, true)] {
        let (machine, mut card) = card(offered);
        for (flags, verified) in [(0, false), (1, true), (2, true)] {
            let mut bytes = frame(60, 0);
            bytes[0] = flags;
            machine.queue(RX).deliver(&bytes);
            assert_eq!(card.receive().expect("a frame").checksum_verified, verified && trusted);
        }
    }
}

#[test]
fn malformed_frames_are_dropped_and_counted() {
    let (machine, mut card) = card(ALL);
    let mut segmented = frame(60, 0);
    segmented[1] = 1;
    for bytes in [&frame(13, 0)[..], &[], &[0; 11], &segmented] {
        machine.queue(RX).deliver(bytes);
    }
    machine.queue(RX).deliver(&frame(14, 0));
    assert_eq!(card.receive().map(|frame| frame.buffer.as_ref().len()), Some(14));
    assert_eq!(card.errors().rx_malformed, 4);
    // Their buffers were returned to the card.
    card.flush();
    assert_eq!(machine.queue(RX).available(), 256 - 1);
}

/// Faults of a hostile card in a queue, and the expected errors.
type Attack = (fn(&mut support::DeviceQueue), QueueError);

const RX_ATTACKS: [Attack; 6] = [
    (
        |queue| {
            queue.write_used(9999, 60);
            queue.set_used_idx(queue.used_idx.wrapping_add(1))
        },
        QueueError::BadId,
    ),
    (
        |queue| {
            queue.write_used(u32::MAX, 60);
            queue.set_used_idx(queue.used_idx.wrapping_add(1))
        },
        QueueError::BadId,
    ),
    (
        |queue| {
            let chain = queue.take().expect("a buffer");
            queue.complete(chain.id, 2049)
        },
        QueueError::BadLength,
    ),
    (
        |queue| {
            let chain = queue.take().expect("a buffer");
            queue.complete(chain.id, u32::MAX)
        },
        QueueError::BadLength,
    ),
    (|queue| queue.set_used_idx(queue.used_idx.wrapping_add(257)), QueueError::IndexJump),
    (|queue| queue.set_used_idx(queue.used_idx.wrapping_sub(1)), QueueError::IndexJump),
];

#[test]
fn a_hostile_card_is_reset_and_goes_on() {
    for (attack, error) in RX_ATTACKS {
        let (machine, mut card) = card(ALL);
        let resets = machine.device(0).resets;
        attack(&mut machine.queue(RX));
        assert!(card.receive().is_none());
        assert_eq!((card.errors().ring, card.errors().last), (1, Some(error)));
        assert!(!card.arm(false), "the reset is work to do");
        assert_eq!(machine.device(0).resets, resets + 1);
        // All buffers are back, and frames flow.
        assert_eq!(machine.queue(RX).available(), 256);
        assert!(machine.queue(RX).deliver(&frame(60, 1)));
        assert_eq!(card.receive().expect("a frame").buffer.as_ref(), &frame(60, 1)[HEADER..]);
        card.transmit(60, |_| ((), TxOffload::default())).expect("room");
        card.flush();
        assert_eq!(machine.queue(TX).drain().len(), 1);
    }
}

#[test]
fn a_buffer_completed_twice_is_an_error() {
    let (machine, mut card) = card(ALL);
    let chain = machine.queue(RX).take().expect("a buffer");
    machine.queue(RX).complete(chain.id, 72);
    machine.queue(RX).complete(chain.id, 72);
    let held = card.receive().expect("the first is good");
    assert!(card.receive().is_none());
    assert_eq!(card.errors().last, Some(QueueError::NotInFlight));
    // The held frame is still valid, and its buffer comes back after the reset.
    assert!(card.receive().is_none());
    assert_eq!(machine.queue(RX).available(), 255);
    card.recycle(held.buffer);
    card.flush();
    assert_eq!(machine.queue(RX).available(), 256);
}

#[test]
fn transmit_completions_are_checked_too() {
    let (machine, mut card) = card(ALL);
    card.transmit(60, |_| ((), TxOffload::default())).expect("room");
    card.flush();
    machine.queue(TX).write_used(300, 0);
    machine.queue(TX).set_used_idx(1);
    assert!(card.receive().is_none());
    assert_eq!(card.errors().last, Some(QueueError::BadId));
    assert!(card.receive().is_none());
    assert_eq!(card.tx_room(), 256, "the reset brought the buffer back");
}

#[test]
fn a_card_that_never_behaves_is_given_up() {
    let (machine, mut card) = card(ALL);
    for _ in 0..20 {
        machine.queue(RX).set_used_idx(1000);
        assert!(card.receive().is_none());
        let _ = card.arm(false);
        if card.is_dead() {
            break;
        }
    }
    assert!(card.is_dead() && !card.link_up());
    assert_eq!(card.errors().resets, 17);
    assert_eq!(machine.device(0).status, 0);
    // A dead card neither sends nor receives, and lets the machine sleep.
    assert_eq!(card.tx_room(), 0);
    assert_eq!(card.transmit(60, |_| ((), TxOffload::default())), Err(TxFull));
    assert!(card.receive().is_none());
    assert!(card.arm(false));
}

#[test]
fn a_card_that_comes_back_different_is_given_up() {
    let (machine, mut card) = card(ALL);
    machine.device_mut(0).config[0] = 0x56;
    machine.queue(RX).set_used_idx(1000);
    assert!(card.receive().is_none());
    assert!(card.receive().is_none());
    assert!(card.is_dead());
}

#[test]
fn link_and_reset_requests_follow_the_configuration() {
    let (machine, mut card) = card(ALL);
    assert!(card.link_up());
    machine.device_mut(0).config[6] = 0;
    assert!(card.arm(false) && card.link_up(), "nobody said that anything changed");
    machine.change_config();
    assert!(card.arm(false) && !card.link_up());
    machine.device_mut(0).config[6] = 1;
    machine.device_mut(0).status |= 64;
    machine.change_config();
    assert!(!card.arm(false), "DEVICE_NEEDS_RESET");
    assert_eq!((card.errors().resets, card.link_up()), (1, true));
    // Without interrupts the configuration is read every time.
    let machine = FakeMachine::new(vec![device(ALL)]).without_msi();
    let mut card = VirtioNet::new(machine.clone(), FakeMachine::address(0)).expect("a card");
    assert!(!card.has_interrupts());
    machine.device_mut(0).config[6] = 0;
    assert!(card.arm(false) && !card.link_up());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a card writes to its used rings: no panic, and no buffer is lost.
    #[test]
    fn survives_any_used_ring(steps in prop::collection::vec((0u8..7, any::<u32>(), any::<u32>()), 1..120)) {
        let (machine, mut card) = card(ALL);
        let mut held = Vec::new();
        for (what, a, b) in steps {
            if machine.queue(RX).enabled == 0 { break; }
            match what {
                0 => { machine.queue(RX).deliver(&frame(a as usize % 2100, 0)); }
                1 => { let queue = machine.queue(usize::from(a % 2 == 1)); queue.write_used(b % 512, a % 4096); }
                2 => { let mut queue = machine.queue(usize::from(a % 2 == 1)); let to = queue.used_idx.wrapping_add(b as u16 % 4); queue.set_used_idx(to); }
                3 => { let mut queue = machine.queue(usize::from(a % 2 == 1)); queue.set_used_idx(b as u16); }
                4 => { let _ = card.transmit(14 + a as usize % 3000, |bytes| { bytes[0] = 1; ((), TxOffload::default()) }); }
                5 => { if let Some(frame) = card.receive() { held.push(frame.buffer); } }
                _ => { held.drain(..).for_each(|buffer| card.recycle(buffer)); card.flush(); let _ = card.arm(false); }
            }
        }
        held.drain(..).for_each(|buffer| card.recycle(buffer));
        card.flush();
        prop_assert!(card.tx_room() <= 256);
    }
}
