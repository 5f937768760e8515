//! A device that changes every byte right after the driver has read it.

use super::{DmaBuffer as _, InBuffer, hook};
use crate::net::VirtioNet;
use crate::nic::Nic;
use crate::platform::Platform;
use crate::rng::VirtioRng;
use crate::stream::{StreamEvent, StreamTransport, VsockAddr};
use crate::support::{Chain, DMA_OFFSET, FakeDevice, FakeMachine, VERSION_1};
use crate::vsock::{VirtioVsock, VsockErrors};
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

/// Reads from one buffer: offset and length of each.
type Reads = Rc<RefCell<Vec<(u64, usize)>>>;

/// From now on, whatever is read from `chain` becomes `byte` if it is read again.
fn scribble_over(chain: Chain, byte: u8) -> Reads {
    let reads = Reads::default();
    let (log, whole) = (reads.clone(), chain.address..chain.address + u64::from(chain.len));
    hook::set(move |address, len| {
        if whole.contains(&address) {
            log.borrow_mut().push((address - whole.start, len));
            Chain { address, len: len as u32, ..chain }.write(&vec![byte; len]);
        }
    });
    reads
}

/// Checks that no byte was read twice, and that all from `0` to `len` were read.
fn assert_read_once(reads: &Reads, len: u64) {
    let mut reads = reads.borrow_mut();
    reads.sort_unstable();
    let mut end = 0;
    for &(at, len) in reads.iter() {
        assert!(at >= end, "byte {at} was read twice: {reads:?}");
        end = at + len as u64;
    }
    assert_eq!(end, len, "{reads:?}");
}

#[test]
fn a_frame_is_what_was_checked() {
    let config = [0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0xdc, 5];
    let machine = FakeMachine::new(vec![FakeDevice::new(1, VERSION_1 | 1 << 5, &config, &[256, 256])]);
    let mut card = VirtioNet::new(machine.clone(), FakeMachine::address(0)).expect("a card");
    for len in [14, 60, 64, 77, 1514, 2036] {
        let frame: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let packet = [vec![0; 12], frame.clone()].concat();
        let chain = machine.queue(0).take().expect("a buffer");
        chain.write(&packet);
        machine.queue(0).complete(chain.id, packet.len() as u32);
        let reads = scribble_over(chain, 0xff);
        let received = card.receive().expect("a frame");
        assert_eq!(received.buffer.as_ref(), frame);
        assert_read_once(&reads, packet.len() as u64);
        card.recycle(received.buffer);
    }
}

/// A packet to our stream: header fields and payload.
fn packet(op: u16, ports: (u32, u32), data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 44];
    bytes[0] = 2;
    bytes[8] = 5;
    bytes[16..20].copy_from_slice(&ports.0.to_le_bytes());
    bytes[20..24].copy_from_slice(&ports.1.to_le_bytes());
    bytes[24..28].copy_from_slice(&(data.len() as u32).to_le_bytes());
    bytes[28] = 1;
    bytes[30..32].copy_from_slice(&op.to_le_bytes());
    bytes[36..40].copy_from_slice(&262_144_u32.to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn a_stream_packet_is_what_was_checked() {
    let device = FakeDevice::new(19, VERSION_1, &5_u64.to_le_bytes(), &[128, 128, 64]);
    let machine = FakeMachine::new(vec![device]);
    let mut vsock = VirtioVsock::new(machine.clone(), FakeMachine::address(0)).expect("a device");
    let stream = vsock.connect(VsockAddr { cid: 2, port: 9 }, 1).expect("a stream");
    vsock.flush();
    let request = machine.queue(1).drain().remove(0);
    let port = u32::from_le_bytes(request[16..20].try_into().expect("four bytes"));
    let deliver = |bytes: &[u8], byte| {
        let chain = machine.queue(0).take().expect("a buffer");
        chain.write(bytes);
        machine.queue(0).complete(chain.id, bytes.len() as u32);
        scribble_over(chain, byte)
    };
    // All ones: a length beyond every buffer, an invalid operation, an impossible count.
    let reads = deliver(&packet(2, (9, port), &[]), 0xff);
    vsock.poll(1);
    assert_eq!(vsock.next_event(), Some(StreamEvent::Connected(stream)));
    assert_read_once(&reads, 44);
    let mut all = Vec::new();
    // The ring wraps around in the middle of one of them.
    for (round, len) in [1_usize, 500, 16_340, 16_340, 16_340, 16_340, 0, 7].into_iter().enumerate() {
        let data: Vec<u8> = (0..len).map(|i| (i * 7 + round) as u8).collect();
        let reads = deliver(&packet(5, (9, port), &data), if round % 2 == 0 { 0xff } else { 0 });
        vsock.poll(1);
        assert_read_once(&reads, 44 + len as u64);
        let before = all.len();
        while !vsock.readable(stream).is_empty() {
            all.extend_from_slice(vsock.readable(stream));
            vsock.consume(stream, vsock.readable(stream).len());
        }
        assert_eq!(all[before..], data);
        vsock.flush();
        let _ = machine.queue(1).drain();
    }
    assert_eq!(vsock.errors(), VsockErrors::default());
}

#[test]
fn random_bytes_and_events_are_read_once() {
    let machine = FakeMachine::new(vec![FakeDevice::new(4, VERSION_1, &[], &[8])]);
    let mut rng = VirtioRng::new(machine.clone(), FakeMachine::address(0)).expect("a device");
    assert!(rng.request(32));
    let chain = machine.queue(0).take().expect("a request");
    chain.write(&[7; 32]);
    machine.queue(0).complete(chain.id, 32);
    let reads = scribble_over(chain, 9);
    let mut out = [0; 32];
    assert_eq!((rng.take(&mut out), out), (Ok(Some(32)), [7; 32]));
    assert_read_once(&reads, 32);

    let device = FakeDevice::new(19, VERSION_1, &5_u64.to_le_bytes(), &[128, 128, 64]);
    let machine = FakeMachine::new(vec![device]);
    let mut vsock = VirtioVsock::new(machine.clone(), FakeMachine::address(0)).expect("a device");
    let chain = machine.queue(2).take().expect("a buffer");
    chain.write(&0_u32.to_le_bytes());
    machine.queue(2).complete(chain.id, 4);
    let reads = scribble_over(chain, 0xff);
    vsock.poll(1);
    assert_eq!(vsock.errors(), VsockErrors::default(), "a transport reset, and nothing else");
    assert_read_once(&reads, 4);
}

fn buffer(capacity: u32) -> InBuffer {
    let region = FakeMachine::new(vec![]).dma_alloc(4096).expect("memory");
    region.split(capacity).next().expect("a buffer")
}

/// The device's pointer to the buffer.
fn device_side(buffer: &InBuffer) -> *mut u8 {
    (buffer.device_address() - DMA_OFFSET) as *mut u8
}

proptest! {
    /// Any part is copied exactly, and one beyond the end not at all.
    #[test]
    fn copies_what_is_there(at in 0_usize..300, len in 0_usize..300) {
        let mut from = buffer(256);
        let bytes: Vec<u8> = (0..=255).collect();
        prop_assert!(from.write(0, &bytes));
        let mut to = vec![0xee; len];
        let fits = at + len <= 256;
        prop_assert_eq!(from.copy_out(at, &mut to), fits);
        if fits {
            prop_assert_eq!(&to[..], &bytes[at..at + len]);
        } else {
            prop_assert!(to.iter().all(|&byte| byte == 0xee));
            prop_assert!(!from.write(at, &to));
        }
    }
}

#[test]
fn what_was_copied_out_stays_and_what_is_cleared_is_gone() {
    let mut from = buffer(16);
    assert!(from.write(0, &[1; 16]));
    let copied: [u8; 16] = from.read(0).expect("sixteen bytes");
    // SAFETY: sixteen bytes of the fake machine's memory.
    unsafe { device_side(&from).write_bytes(2, 16) };
    assert_eq!((copied, from.read(15)), ([1; 16], Some([2])));
    from.clear(100);
    assert_eq!(from.read(0), Some([0; 16]));
    assert_eq!((from.read::<17>(0), from.copy_out(usize::MAX, &mut [0; 2])), (None, false));
}
