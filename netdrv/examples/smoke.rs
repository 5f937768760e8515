//! Tests the drivers on the real target: prints one line per part and ends with `smoke: ok`.
//!
//! Needs `-netdev user` (it sends an ARP request to the gateway 10.0.2.2) and, for the vsock part, a host process that listens on
//! port 9000 and echoes what it gets. Parts whose device is missing are skipped.
#![cfg_attr(target_os = "hermit", no_std, no_main)]

#[cfg(not(target_os = "hermit"))]
fn main() {}

#[cfg(target_os = "hermit")]
extern crate alloc;

#[cfg(target_os = "hermit")]
netdrv::entry!(target::main);

#[cfg(target_os = "hermit")]
mod target {
    use netdrv::{
        hermit::{Clock, Machine, Net, StartError, Vsock, heap_use},
        nic::{ChecksumOffload, Nic, TxOffload},
        println,
        stream::{HOST_CID, StreamEvent, StreamTransport, VsockAddr},
    };

    const MS: u64 = 1_000_000;
    const ECHO_PORT: u32 = 9000;
    const ECHO_BYTES: usize = 32 << 20;

    #[derive(Debug)]
    #[expect(dead_code, reason = "printed")]
    pub(crate) enum Failure {
        Start(StartError),
        Entropy,
        NoArpReply,
        Stream(StreamEvent),
        WrongEcho(usize),
    }

    pub(crate) fn main() -> Result<(), Failure> {
        let mut machine = Machine::start().map_err(Failure::Start)?;
        let clock = machine.clock();
        println!(
            "clock: {} s since 1970, {} ns since start; heap {:?}",
            clock.unix_seconds(),
            clock.now_ns(),
            heap_use()
        );
        let random = machine.entropy().seed_u64().map_err(|_| Failure::Entropy)?;
        println!("entropy: {random:016x}");
        timer(&mut machine, clock);
        match machine.take_nic() {
            Ok(mut nic) => {
                arp(&mut machine, &mut nic, clock)?;
                segmentation(&mut nic);
            }
            Err(error) => println!("net: {error:?}, skipped"),
        }
        match machine.take_vsock() {
            Ok(mut vsock) => echo(&mut machine, &mut vsock, clock)?,
            Err(error) => println!("vsock: {error:?}, skipped"),
        }
        println!("smoke: ok; heap {:?}", heap_use());
        Ok(())
    }

    fn timer(machine: &mut Machine, clock: Clock) {
        let (start, mut worst, mut wakes) = (clock.now_ns(), 0, 0);
        for round in 1..=20 {
            let deadline = start + round * 5 * MS;
            while clock.now_ns() < deadline {
                machine.wait(Some(deadline));
                wakes += 1;
            }
            worst = worst.max(clock.now_ns() - deadline);
        }
        println!("timer: 20 waits of 5 ms, {wakes} wake-ups, at most {} us late", worst / 1000);
    }

    /// Requests the Ethernet address of 10.0.2.2 and waits for the reply, halting.
    fn arp(machine: &mut Machine, nic: &mut Net, clock: Clock) -> Result<(), Failure> {
        let info = nic.info();
        println!(
            "net: {info:?}, link {}, features {:#x}, interrupts {}",
            nic.link_up(),
            nic.features(),
            nic.has_interrupts()
        );
        let start = clock.now_ns();
        for round in 0..5 {
            let _ = nic.transmit(60, |frame| {
                frame.fill(0);
                frame[..6].fill(0xff);
                frame[6..12].copy_from_slice(&info.mac);
                frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
                frame[22..28].copy_from_slice(&info.mac);
                frame[28..32].copy_from_slice(&[10, 0, 2, 15]);
                frame[38..42].copy_from_slice(&[10, 0, 2, 2]);
                ((), TxOffload::default())
            });
            nic.flush();
            let deadline = start + (round + 1) * 200 * MS;
            while clock.now_ns() < deadline {
                while let Some(frame) = nic.receive() {
                    let bytes = frame.buffer.as_ref();
                    if bytes.get(12..14) == Some(&[8, 6]) && bytes.get(28..32) == Some(&[10, 0, 2, 2]) {
                        println!("net: 10.0.2.2 answered after {} us", (clock.now_ns() - start) / 1000);
                        nic.recycle(frame.buffer);
                        return Ok(());
                    }
                    nic.recycle(frame.buffer);
                }
                nic.flush();
                if nic.arm(false) {
                    machine.wait(Some(deadline));
                }
            }
        }
        Err(Failure::NoArpReply)
    }

    /// Sends one TCP segment of 10,000 bytes for the card to segment. On the host's tap interface it appears whole, or as seven
    /// frames, with correct checksums; user networking does not offer this.
    fn segmentation(nic: &mut Net) {
        const HEADERS: usize = 14 + 20 + 20;
        const LEN: usize = HEADERS + 10_000;
        if nic.info().tso4_max.is_none_or(|max| (max as usize) < LEN) {
            return println!("net: no segmentation offload, skipped");
        }
        let mac = nic.info().mac;
        let (source, target) = ([10, 0, 2, 15], [10, 0, 2, 2]);
        let sum = |parts: &[&[u8]]| {
            let words = parts
                .iter()
                .flat_map(|part| part.chunks(2))
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
            let sum = words.sum::<u32>();
            ((sum & 0xffff) + (sum >> 16)) as u16
        };
        let sent = nic.transmit(LEN, |frame| {
            frame.fill(b'x');
            frame[..6].fill(0xff);
            frame[6..12].copy_from_slice(&mac);
            frame[12..14].copy_from_slice(&[8, 0]);
            frame[14..34].fill(0);
            frame[14] = 0x45;
            frame[16..18].copy_from_slice(&((LEN - 14) as u16).to_be_bytes());
            frame[20] = 0x40;
            (frame[22], frame[23]) = (64, 6);
            frame[26..30].copy_from_slice(&source);
            frame[30..34].copy_from_slice(&target);
            let checksum = !sum(&[&frame[14..34]]);
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
            frame[34..54].fill(0);
            frame[34..38].copy_from_slice(&[0x1f, 0x90, 0x1f, 0x91]);
            (frame[46], frame[47]) = (5 << 4, 0x10);
            let pseudo = sum(&[&source, &target, &[0, 6], &((LEN - 34) as u16).to_be_bytes()]);
            frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
            let checksum = Some(ChecksumOffload { start: 34, offset: 16 });
            ((), TxOffload { checksum, tso4_segment: Some(1448) })
        });
        nic.flush();
        // The device processes it while no notification is expected: the next reception or the end of the program follows.
        println!("net: a segment of 10000 bytes sent: {sent:?}");
    }

    /// Sends 32 MiB to the host and checks that they come back.
    fn echo(machine: &mut Machine, vsock: &mut Vsock, clock: Clock) -> Result<(), Failure> {
        println!("vsock: cid {}, interrupts {}", vsock.cid(), vsock.has_interrupts());
        let host = VsockAddr { cid: HOST_CID, port: ECHO_PORT };
        let stream = vsock.connect(host, clock.now_ns()).map_err(|_| Failure::WrongEcho(0))?;
        let pattern =
            alloc::vec::Vec::from_iter((0..65_536u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
        let (mut sent, mut echoed, mut open, mut waits) = (0, 0, false, 0u32);
        let start = clock.now_ns();
        while echoed < ECHO_BYTES {
            vsock.poll(clock.now_ns());
            while let Some(event) = vsock.next_event() {
                match event {
                    StreamEvent::Connected(_) => open = true,
                    StreamEvent::Closed(..) => return Err(Failure::Stream(event)),
                    _ => {}
                }
            }
            loop {
                let bytes = vsock.readable(stream);
                let n = bytes.len();
                if n == 0 {
                    break;
                }
                let at = echoed % 65_536;
                let whole = n.min(65_536 - at);
                if bytes[..whole] != pattern[at..at + whole] {
                    return Err(Failure::WrongEcho(echoed));
                }
                vsock.consume(stream, whole);
                echoed += whole;
            }
            while open && sent < ECHO_BYTES {
                let n = vsock.send(stream, &pattern[sent % 65_536..]);
                sent += n;
                if n == 0 {
                    break;
                }
            }
            vsock.flush();
            if echoed < ECHO_BYTES && vsock.arm() {
                waits += 1;
                machine.wait(vsock.next_deadline());
            }
        }
        let ms = (clock.now_ns() - start) / MS;
        println!(
            "vsock: {} MiB there and back in {ms} ms, {waits} halts, {:?}",
            ECHO_BYTES >> 20,
            vsock.errors()
        );
        vsock.release(stream);
        vsock.flush();
        Ok(())
    }
}
