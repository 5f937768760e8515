//! The world's streams and the programs at their other ends: workers and the log collector, which crash and restart.

use super::*;

impl World {
    pub(super) fn queue_stream_packets(&mut self, to_worker: bool, packets: Vec<(u64, Packet)>) {
        let at = self.now_ns + STREAM_DELAY_NS;
        self.stream_packets
            .extend(packets.into_iter().map(|(stream, packet)| (at, to_worker, stream, packet)));
    }

    pub(super) fn carry_stream_packets(&mut self) {
        while self.stream_packets.front().is_some_and(|(at, ..)| *at <= self.now_ns) {
            let Some((_, to_worker, stream, packet)) = self.stream_packets.pop_front() else { break };
            if to_worker && stream >= HOST_STREAMS {
                self.host.deliver(stream, packet);
                self.send_from_host();
            } else if to_worker {
                self.hand_to_worker(stream, packet);
            } else {
                self.shard.hub_mut().transport().deliver(stream, packet);
                self.wake = Some(self.now_ns);
            }
        }
    }

    /// Carries packets of the host's streams.
    pub fn send_from_host(&mut self) {
        let packets = std::mem::take(&mut self.host.outgoing);
        self.queue_stream_packets(false, packets);
    }

    pub(super) fn hand_to_worker(&mut self, stream: u64, packet: Packet) {
        if let Packet::Request(to) = packet
            && to.port != collector::PORT
        {
            self.stream_seats.insert(stream, (to.port - WORKER.port) as usize);
        }
        let Some(&number) = self.stream_seats.get(&stream) else {
            return self.collector.deliver(stream, packet);
        };
        // There may be no peer.
        let Some(seat) = self.seats.get_mut(number) else { return };
        if seat.stalled_until.is_some() {
            seat.held.push((stream, packet));
            return;
        }
        // A dead machine does not respond, not even to a connection request.
        let Some(vm) = &mut seat.vm else { return };
        if let Packet::Data(bytes) = &packet
            && let Some(mark) =
                bytes.strip_prefix(b"POST ").and_then(|rest| rest.split(|b| *b == b' ').next())
        {
            self.delivered.entry(mark.to_vec()).or_default().push((number, seat.lives));
        }
        vm.streams.end.deliver(stream, packet);
    }

    pub(super) fn run_workers(&mut self) {
        let now = self.now_ns;
        let packets = self.collector.turn();
        self.queue_stream_packets(false, packets);
        for number in 0..self.seats.len() {
            let seat = &mut self.seats[number];
            let Some(vm) = seat.vm.as_mut().filter(|_| seat.stalled_until.is_none()) else { continue };
            vm.streams.poll(now);
            match &mut vm.program {
                Program::Demo(server) => server.turn(&mut vm.streams, now),
                Program::Script(script) => script.turn(&mut vm.streams, now),
            }
            let packets = std::mem::take(&mut vm.streams.end.outgoing);
            self.queue_stream_packets(false, packets);
        }
    }

    /// Restarts the supervisor: the collector's streams end, and packets to it are lost.
    pub fn restart_collector(&mut self) {
        let resets = self.collector.numbers().into_iter().map(|n| (n, Packet::Reset)).collect();
        self.collector.restart();
        self.queue_stream_packets(false, resets);
    }

    /// Starts an absent worker.
    pub fn revive(&mut self, number: usize) {
        let mut streams = WorkerStreams::secured_by(self.worker_tls.clone());
        let port = WORKER.port + number as u32;
        let lives = self.seats[number].lives + 1;
        let program = match &self.script {
            None => Program::Demo(Server::new(&mut streams, port)),
            Some(script) => {
                streams.listen(port);
                Program::Script(script(number, lives))
            }
        };
        let seat = &mut self.seats[number];
        seat.lives = lives;
        seat.vm = Some(WorkerVm { streams, program });
        seat.revive_at = None;
    }

    pub(super) fn go_wrong(&mut self) {
        if self.crashes.first().is_some_and(|(at, _)| *at <= self.now_ns) {
            let (_, down_ns) = self.crashes.remove(0);
            self.crash(0, down_ns);
        }
        while self.faults.front().is_some_and(|(at, _)| *at <= self.now_ns) {
            match self.faults.pop_front() {
                Some((_, Fault::Crash(worker, down_ns))) => self.crash(worker, down_ns),
                Some((_, Fault::Stall(worker, ns))) => {
                    self.seats[worker].stalled_until = Some(self.now_ns + ns)
                }
                Some((_, Fault::TransportReset)) => {
                    self.shard.hub_mut().transport().reset_transport();
                    self.wake = Some(self.now_ns);
                }
                None => {}
            }
        }
        for number in 0..self.seats.len() {
            let seat = &mut self.seats[number];
            if seat.stalled_until.is_some_and(|at| at <= self.now_ns) {
                seat.stalled_until = None;
                let held = std::mem::take(&mut seat.held);
                held.into_iter().for_each(|(stream, packet)| self.hand_to_worker(stream, packet));
            }
            if self.seats[number].revive_at.is_some_and(|at| at <= self.now_ns) {
                self.revive(number);
            }
        }
    }

    pub(super) fn crash(&mut self, number: usize, down_ns: u64) {
        let seat = &mut self.seats[number];
        seat.held.clear();
        seat.stalled_until = None;
        seat.revive_at = Some(self.now_ns + down_ns);
        let Some(vm) = seat.vm.take() else { return };
        // Packets it sent that were not carried yet are lost with it; the relay resets its streams.
        let seats = &self.stream_seats;
        self.stream_packets
            .retain(|(_, to_worker, stream, _)| *to_worker || seats.get(stream) != Some(&number));
        let resets = vm.streams.end.numbers().into_iter().map(|n| (n, Packet::Reset)).collect();
        self.queue_stream_packets(false, resets);
    }
}
