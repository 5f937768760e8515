//! In steady state no packet causes an allocation, in either direction, on either device.

mod support;

use netdrv::{
    net::VirtioNet,
    nic::{Nic, TxOffload},
    stream::{StreamEvent, StreamTransport, VsockAddr},
    vsock::VirtioVsock,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};
use support::{EVENT_IDX, FakeDevice, FakeMachine, VERSION_1};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs rounds until a steady state is reached, then counts the allocations of 1,000 more.
fn allocations_of(mut round: impl FnMut()) -> u64 {
    (0..300).for_each(|_| round());
    let before = COUNT.get();
    (0..1000).for_each(|_| round());
    COUNT.get() - before
}

#[test]
fn frames() {
    let config = [2, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0xdc, 5];
    let device = FakeDevice::new(1, VERSION_1 | EVENT_IDX | 1 << 5 | 3, &config, &[256, 256]);
    let machine = FakeMachine::new(vec![device]);
    let mut card = VirtioNet::new(machine.clone(), FakeMachine::address(0)).expect("a card");
    let frame = [0; 100];
    let mut sent = [0; 2048];
    let count = allocations_of(|| {
        for _ in 0..10 {
            assert!(machine.queue(0).deliver(&frame));
        }
        let mut received = 0;
        while let Some(frame) = card.receive() {
            received += 1;
            card.recycle(frame.buffer);
            card.transmit(60, |bytes| (bytes.fill(1), TxOffload::default())).expect("room");
        }
        assert_eq!(received, 10);
        card.flush();
        let mut queue = machine.queue(1);
        while let Some(chain) = queue.take() {
            assert_eq!(chain.read_into(&mut sent), 72);
            queue.complete(chain.id, 0);
        }
        drop(queue);
        machine.device_mut(0).notifications.clear();
        let _ = card.arm(false);
    });
    assert_eq!(count, 0);
}

#[test]
fn stream_packets() {
    let device = FakeDevice::new(19, VERSION_1 | EVENT_IDX, &5u64.to_le_bytes(), &[128, 128, 64]);
    let machine = FakeMachine::new(vec![device]);
    let mut vsock = VirtioVsock::new(machine.clone(), FakeMachine::address(0)).expect("a device");
    let host = VsockAddr { cid: 2, port: 9 };
    let stream = vsock.connect(host, 1).expect("a stream");
    vsock.flush();
    let request = machine.queue(1).drain().remove(0);
    // Host to guest: the same addresses reversed.
    let mut packet = vec![0; 44 + 500];
    packet[0] = 2;
    packet[8] = 5;
    packet[16..20].copy_from_slice(&request[20..24]);
    packet[20..24].copy_from_slice(&request[16..20]);
    packet[28] = 1;
    packet[30] = 2;
    packet[36..40].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    assert!(machine.queue(0).deliver(&packet[..44]));
    vsock.poll(1);
    assert_eq!(vsock.next_event(), Some(StreamEvent::Connected(stream)));
    packet[30] = 5;
    packet[24..28].copy_from_slice(&500u32.to_le_bytes());
    let (mut now, mut sent, mut buffer) = (1, 0u32, vec![0; 65_536]);
    let data = [3; 5000];
    let count = allocations_of(|| {
        now += 1000;
        packet[40..44].copy_from_slice(&sent.to_le_bytes());
        for _ in 0..5 {
            assert!(machine.queue(0).deliver(&packet));
        }
        vsock.poll(now);
        while vsock.next_event().is_some() {}
        assert_eq!(vsock.readable(stream).len().min(500), 500);
        while !vsock.readable(stream).is_empty() {
            let n = vsock.readable(stream).len();
            vsock.consume(stream, n);
        }
        for chunk in [&data[..], &data[..20]] {
            assert_eq!(vsock.send(stream, chunk), chunk.len());
            sent = sent.wrapping_add(chunk.len() as u32);
        }
        vsock.flush();
        let mut queue = machine.queue(1);
        while let Some(chain) = queue.take() {
            assert!(chain.read_into(&mut buffer) >= 44);
            queue.complete(chain.id, 0);
        }
        drop(queue);
        machine.device_mut(0).notifications.clear();
        let _ = vsock.arm();
    });
    assert_eq!(count, 0);
}
