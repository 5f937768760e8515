//! The demo worker as a Hermit image: [`weir_worker`] on the VM's vsock.
#![cfg_attr(target_os = "hermit", no_std, no_main)]

#[cfg(target_os = "hermit")]
mod image {
    use netdrv::hermit::{Machine, StartError};
    use netdrv::println;
    use netdrv::stream::StreamTransport;
    use weir_worker::server::Server;

    netdrv::entry!(main);

    fn main() -> Result<(), StartError> {
        let mut machine = Machine::start()?;
        let mut vsock = machine.take_vsock()?;
        let clock = machine.clock();
        let mut server = Server::new(&mut vsock, weir_worker::PORT);
        println!("weir-worker: listening on vsock port {}", weir_worker::PORT);
        loop {
            let now = clock.now_ns();
            vsock.poll(now);
            server.turn(&mut vsock, now);
            vsock.flush();
            if vsock.arm() {
                machine.wait([vsock.next_deadline(), server.wake_at()].into_iter().flatten().min());
            }
        }
    }
}

#[cfg(not(target_os = "hermit"))]
fn main() {
    eprintln!("weir-worker is a Hermit program: build its image with `weir image build`");
    std::process::exit(1);
}
