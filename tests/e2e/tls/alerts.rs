//! Alerts sent to OpenSSL for rejected handshakes.

use super::Client;
use anyhow::{Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use weir_tests::PATIENCE;

/// Each rejection has its specific alert.
pub(super) fn say_why(client: &Client<'_>) -> Result<()> {
    for (host, more, alert) in [
        ("ec.test", "-tls1_2 -cipher AES128-SHA", 40),
        ("ec.test", "-tls1_2 -sigalgs RSA+SHA256", 40),
        ("ec.test", "-tls1_3 -sigalgs RSA-PSS+SHA256", 40),
        ("ec.test", "-tls1_3 -groups secp521r1", 40),
        ("ec.test", "-tls1_1 -cipher DEFAULT@SECLEVEL=0", 70),
        ("modern.test", "-tls1_2", 70),
        ("ec.test", "-tls1_2 -fallback_scsv", 86),
        ("ec.test", "-alpn spdy/3", 120),
    ] {
        let said = client.s_client(host, more)?;
        ensure!(said.contains(&format!("SSL alert number {alert}\n")), "{host} {more}: {said}");
    }
    // SSL 3, which OpenSSL no longer supports: a hello of 41 bytes.
    let mut hello = vec![22, 3, 0, 0, 45, 1, 0, 0, 41, 3, 0];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 10, 1, 0]);
    for (bytes, alert) in [(&hello[..], 70), (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", 70)] {
        let mut stream = TcpStream::connect(client.https)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(bytes)?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said)?;
        ensure!(said == [21, 3, 3, 0, 2, 2, alert], "{bytes:?}: {said:?}");
    }
    Ok(())
}
