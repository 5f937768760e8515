//! The command line.

use crate::target::Target;
use crate::{CONTROL_PORT, PORT};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` says.
pub const HELP: &str = "\
weir-agent --to TARGET [OPTION...] [-- COMMAND [ARGUMENT...]]
Makes a Linux server a worker of Weir: hands streams that come over vsock to a local socket.
  --to TARGET           where the application listens: tcp:ADDRESS:PORT or unix:PATH
  --port N              vsock port for streams; 80
  --control-port N      vsock port for the supervisor's questions; 81
  --streams N           most streams at a time, 1 to 4096, further ones are closed at once; 256
  --tls-chain FILE      the streams carry TLS 1.3: our certificate and those between it and its authority, in PEM
  --tls-key FILE        its private key, in PEM
  --tls-ca FILE         whom the appliance's certificate must lead to, in PEM
  --tls-name NAME       the DNS name that certificate must be for
  --restart             starts COMMAND again when it ends, instead of ending with it
  COMMAND               the application, started as a child and asked to end by SIGTERM
";

/// Most streams that `--streams` allows: each takes two file descriptors.
pub const STREAMS_MAX: u64 = 4096;

/// What the agent is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Where the application listens.
    pub target: Target,
    /// The vsock port for streams.
    pub port: u32,
    /// The vsock port for questions.
    pub control_port: u32,
    /// Most streams at a time.
    pub streams: u64,
    /// What secures the streams.
    pub tls: Option<TlsFiles>,
    /// Whether the application is started again when it ends.
    pub restart: bool,
    /// The application and its arguments; empty if somebody else starts it.
    pub command: Vec<OsString>,
}

/// Files in PEM, and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, the end entity's first.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whom the appliance's certificate must lead to.
    pub ca: PathBuf,
    /// The DNS name it must be for: others may have certificates by the same authority, such as workers.
    pub name: String,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To run.
    Run(Arguments),
    /// [`HELP`].
    Help,
}

/// Reads the arguments, without the program's name. The error is one line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Wish, String> {
    let mut parser = Parser::from_args(arguments);
    let (mut target, mut port, mut control_port) = (None, PORT, CONTROL_PORT);
    let (mut streams, mut restart, mut command) = (256, false, Vec::new());
    let (mut chain, mut key, mut ca, mut appliance) = (None, None, None, None);
    while let Some(arg) = parser.next().map_err(one_line)? {
        let name = match arg {
            Arg::Long(name) => name.to_owned(),
            Arg::Short('h') => return Ok(Wish::Help),
            Arg::Short(other) => return Err(unknown(&format!("-{other}"))),
            Arg::Value(first) => {
                command = std::iter::once(first).chain(parser.raw_args().map_err(one_line)?).collect();
                break;
            }
        };
        let mut value = || parser.value().map_err(one_line);
        match name.as_str() {
            "to" => target = Some(value()?.string().map_err(one_line)?.parse()?),
            "port" => port = port_number(value()?, "--port")?,
            "control-port" => control_port = port_number(value()?, "--control-port")?,
            "streams" => {
                let number = value()?.parse().ok().filter(|n| (1..=STREAMS_MAX).contains(n));
                streams = number.ok_or_else(|| format!("--streams, expected 1 to {STREAMS_MAX}"))?;
            }
            "tls-chain" => chain = Some(PathBuf::from(value()?)),
            "tls-key" => key = Some(PathBuf::from(value()?)),
            "tls-ca" => ca = Some(PathBuf::from(value()?)),
            "tls-name" => appliance = Some(value()?.string().map_err(one_line)?),
            "restart" => restart = true,
            "help" => return Ok(Wish::Help),
            other => return Err(unknown(&format!("--{other}"))),
        }
    }
    if port == control_port {
        return Err(format!("--port and --control-port are both {port}, expected two"));
    }
    if restart && command.is_empty() {
        return Err("--restart without a command, expected one".into());
    }
    let tls = match (chain, key, ca, appliance) {
        (Some(chain), Some(key), Some(ca), Some(name)) => Some(TlsFiles { chain, key, ca, name }),
        (None, None, None, None) => None,
        _ => {
            return Err(
                "some of --tls-chain, --tls-key, --tls-ca and --tls-name, expected all or none".into()
            );
        }
    };
    let target = target.ok_or("--to is missing, expected tcp:ADDRESS:PORT or unix:PATH")?;
    Ok(Wish::Run(Arguments { target, port, control_port, streams, tls, restart, command }))
}

fn port_number(value: OsString, name: &str) -> Result<u32, String> {
    // The highest means any.
    let number = value.parse::<u32>().ok().filter(|&n| n != u32::MAX);
    number.ok_or_else(|| format!("{name}, expected a port number"))
}

fn unknown(option: &str) -> String {
    format!("{option}, expected what --help shows")
}

#[allow(clippy::needless_pass_by_value)]
fn one_line(error: lexopt::Error) -> String {
    error.to_string().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Wish, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let Ok(Wish::Run(run)) = words("--to unix:/a --streams 8 --restart -- app --to x -- --help") else {
            panic!()
        };
        assert_eq!(run.command, ["app", "--to", "x", "--", "--help"]);
        assert_eq!((run.port, run.control_port, run.streams, run.restart), (PORT, CONTROL_PORT, 8, true));
        assert_eq!(run.tls, None);
        let Ok(Wish::Run(run)) = words("--to unix:/a --tls-chain c --tls-key k --tls-ca a --tls-name n")
        else {
            panic!()
        };
        let files = TlsFiles { chain: "c".into(), key: "k".into(), ca: "a".into(), name: "n".into() };
        assert_eq!(run.tls, Some(files));
        assert_eq!(words("--to unix:/a app"), words("--to unix:/a -- app"));
    }

    #[test]
    fn nonsense_is_refused_in_one_line() {
        for bad in [
            "",
            "--to",
            "--to x",
            "--to unix:/a --port x",
            "--to unix:/a --port 4294967295",
            "--to unix:/a --port 81",
            "--to unix:/a --streams 0",
            "--to unix:/a --streams 4097",
            "--to unix:/a --restart",
            "--to unix:/a --tls-chain c --tls-key k",
            "--to unix:/a --what",
            "--to unix:/a -x",
        ] {
            let error = words(bad).expect_err(bad);
            assert!(!error.is_empty() && error.lines().count() == 1, "{error}");
        }
        assert_eq!(words("--help"), Ok(Wish::Help));
    }
}
