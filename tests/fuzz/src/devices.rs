//! Hostile devices: whatever they write to used rings, interrupts and registers, drivers count an error and reset.

use crate::input::Input;
use crate::support::{EVENT_IDX, FakeDevice, FakeMachine, VERSION_1};
use netdrv::net::VirtioNet;
use netdrv::nic::{Nic, TxOffload};
use netdrv::rng::VirtioRng;
use netdrv::stream::{StreamTransport, VsockAddr};
use netdrv::vsock::VirtioVsock;

/// The first byte selects the device and the features it offers; steps follow.
pub fn virtio_rings(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let offered = if kind & 4 == 0 { VERSION_1 } else { VERSION_1 | EVENT_IDX };
    match kind & 3 {
        0 => net(offered | u64::from(input.u32()) | 1 << 5, &mut input),
        1 => vsock(offered, &mut input),
        _ => rng(offered, &mut input),
    }
}

fn machine(kind: u16, offered: u64, config: &[u8], queues: &[u16]) -> FakeMachine {
    FakeMachine::new(vec![FakeDevice { lenient: true, ..FakeDevice::new(kind, offered, config, queues) }])
}

/// One fault. Has no effect if the queue is not set up.
fn misbehave(machine: &FakeMachine, queues: usize, input: &mut Input<'_>) {
    let what = input.byte();
    let mut queue = machine.queue(usize::from(input.byte()) % queues);
    if queue.enabled == 0 {
        return;
    }
    match what % 8 {
        // Correct.
        0 | 1 => {
            if let Some(chain) = queue.take() {
                let len = u32::from(input.u16()).min(chain.len);
                if chain.writable {
                    chain.write(input.bytes(len as usize));
                }
                queue.complete(chain.id, if chain.writable { len } else { 0 });
            }
        }
        // A length beyond the buffer.
        2 => {
            if let Some(chain) = queue.take() {
                queue.complete(chain.id, input.u32());
            }
        }
        // Arbitrary values.
        3 => {
            queue.write_used(input.u32(), input.u32());
            let next = queue.used_idx.wrapping_add(1);
            queue.set_used_idx(next);
        }
        // An index that jumps.
        4 => queue.set_used_idx(input.u16()),
        5 => {
            let _ = queue.take();
        }
        6 => queue.want_notification(what & 8 != 0),
        _ => {
            drop(queue);
            machine.device_mut(0).status = input.byte();
            machine.change_config();
        }
    }
}

fn net(offered: u64, input: &mut Input<'_>) {
    let config = [0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0xdc, 5];
    let machine = machine(1, offered, &config, &[16, 16]);
    // A device may be rejected for its features.
    let Ok(mut card) = VirtioNet::new(machine.clone(), FakeMachine::address(0)) else { return };
    let mut held = Vec::new();
    while !input.is_empty() {
        match input.byte() % 4 {
            0 => {
                let len = usize::from(input.u16()) % 1515;
                let _ = card.transmit(len, |frame| (frame.fill(1), TxOffload::default()));
            }
            1 => {
                if let Some(frame) = card.receive() {
                    assert!(frame.buffer.as_ref().len() <= 65_550);
                    held.push(frame.buffer);
                }
            }
            2 => held.drain(..).for_each(|buffer| card.recycle(buffer)),
            _ => misbehave(&machine, 2, input),
        }
        card.flush();
        let _ = (card.arm(input.byte() & 1 == 0), card.link_up(), card.tx_room());
    }
    held.drain(..).for_each(|buffer| card.recycle(buffer));
}

fn vsock(offered: u64, input: &mut Input<'_>) {
    let machine = machine(19, offered, &5_u64.to_le_bytes(), &[16, 16, 16]);
    let Ok(mut vsock) = VirtioVsock::new(machine.clone(), FakeMachine::address(0)) else { return };
    let (mut now_ns, mut streams) = (1, Vec::new());
    while !input.is_empty() {
        match input.byte() % 4 {
            0 => streams.extend(vsock.connect(VsockAddr { cid: 2, port: 1 }, now_ns)),
            1 => {
                for stream in &streams {
                    vsock.send(*stream, &[0; 100]);
                    let n = vsock.readable(*stream).len();
                    vsock.consume(*stream, n);
                }
            }
            2 => {
                now_ns += u64::from(input.u32());
                while vsock.next_event().is_some() {}
            }
            _ => misbehave(&machine, 3, input),
        }
        vsock.poll(now_ns);
        vsock.flush();
        let _ = vsock.arm();
    }
    streams.into_iter().for_each(|stream| vsock.release(stream));
}

fn rng(offered: u64, input: &mut Input<'_>) {
    let machine = machine(4, offered, &[], &[8]);
    let Ok(mut rng) = VirtioRng::new(machine.clone(), FakeMachine::address(0)) else { return };
    let mut out = [0; 64];
    while !input.is_empty() {
        match input.byte() % 3 {
            0 => {
                let _ = rng.request(usize::from(input.byte()));
            }
            1 => {
                if let Ok(Some(n)) = rng.take(&mut out) {
                    assert!(n <= out.len());
                }
            }
            _ => misbehave(&machine, 1, input),
        }
    }
}
