//! The command line.

use crate::target::Target;
use crate::{CONTROL_PORT, PORT};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

/// Text of `--help`.
pub const HELP: &str = "\
weir-agent --to TARGET [OPTION...] [-- COMMAND [ARGUMENT...]]
Makes a Linux server a Weir worker: forwards vsock streams to a local socket.
  --to TARGET           where the application listens: tcp:ADDRESS:PORT or unix:PATH
  --port N              vsock port for streams; default 80
  --control-port N      vsock port for the supervisor's commands; default 81
  --streams N           maximum number of concurrent streams, 1 to 4096; further ones are closed; default 256
  --tls-chain FILE      enables TLS 1.3 on streams; PEM file of the agent's certificate chain
  --tls-key FILE        PEM file of its private key
  --tls-ca FILE         PEM file of trust anchors for the appliance's certificate
  --tls-name NAME       DNS name of the appliance's certificate
  --restart             restarts COMMAND when it ends, instead of ending with it
  COMMAND               the application, run as a child process and stopped with SIGTERM
";

/// Upper limit of `--streams`: each stream takes two file descriptors.
pub const STREAMS_MAX: u64 = 4096;

/// Arguments of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Where the application listens.
    pub target: Target,
    /// The vsock port for streams.
    pub port: u32,
    /// The vsock port of the control protocol.
    pub control_port: u32,
    /// Maximum number of concurrent streams.
    pub streams: u64,
    /// TLS files, if streams use TLS.
    pub tls: Option<TlsFiles>,
    /// Whether the application is restarted when it ends.
    pub restart: bool,
    /// The application and its arguments; empty if it is started by other means.
    pub command: Vec<OsString>,
}

/// TLS files in PEM format, and the client's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The agent's certificate chain, end entity first.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Trust anchors for the appliance's certificate.
    pub ca: PathBuf,
    /// DNS name of the appliance's certificate. Needed because others, such as workers, may have certificates of the same CA.
    pub name: String,
}

/// Parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Run the agent.
    Run(Arguments),
    /// Print [`HELP`].
    Help,
}

/// Parses the arguments, without the program name. The error is one line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, String> {
    let mut parser = Parser::from_args(arguments);
    let (mut target, mut port, mut control_port) = (None, PORT, CONTROL_PORT);
    let (mut streams, mut restart, mut command) = (256, false, Vec::new());
    let (mut chain, mut key, mut ca, mut appliance) = (None, None, None, None);
    while let Some(arg) = parser.next().map_err(one_line)? {
        let name = match arg {
            Arg::Long(name) => name.to_owned(),
            Arg::Short('h') => return Ok(Invocation::Help),
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
            "help" => return Ok(Invocation::Help),
            other => return Err(unknown(&format!("--{other}"))),
        }
    }
    if port == control_port {
        return Err(format!("--port and --control-port are both {port}, expected different ports"));
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
    Ok(Invocation::Run(Arguments { target, port, control_port, streams, tls, restart, command }))
}

fn port_number(value: OsString, name: &str) -> Result<u32, String> {
    // The highest port is a wildcard.
    let number = value.parse::<u32>().ok().filter(|&n| n != u32::MAX);
    number.ok_or_else(|| format!("{name}, expected a port number"))
}

fn unknown(option: &str) -> String {
    format!("unknown option {option}, see --help")
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` passes it")]
fn one_line(error: lexopt::Error) -> String {
    error.to_string().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Invocation, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let Ok(Invocation::Run(run)) = words("--to unix:/a --streams 8 --restart -- app --to x -- --help")
        else {
            panic!()
        };
        assert_eq!(run.command, ["app", "--to", "x", "--", "--help"]);
        assert_eq!((run.port, run.control_port, run.streams, run.restart), (PORT, CONTROL_PORT, 8, true));
        assert_eq!(run.tls, None);
        let Ok(Invocation::Run(run)) =
            words("--to unix:/a --tls-chain c --tls-key k --tls-ca a --tls-name n")
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
        assert_eq!(words("--help"), Ok(Invocation::Help));
    }
}
