//! The servers: how each is started, and what it does not support.

use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use tempfile::TempDir;
use weir_tests::process::{Process, descendants};
use weir_tests::weir::command;
use weir_tests::{free_port, wait_for, workspace};

/// The pools' response timeout: far more than any response here takes, and the duration of the column `hang`.
const RESPONSE_TIMEOUT_S: u64 = 20;

/// How a server is started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// By `weir up`, with this command.
    Process(&'static [&'static str]),
    /// By the test, with this command; it listens at this address.
    Address(&'static str, &'static [&'static str]),
}

/// How a server is made to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By the application.
    Application,
    /// By signals to its processes, which have this in their command line.
    Signal(&'static str),
}

/// A server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// It reads all content before it responds.
    pub(crate) reads_first: bool,
    /// Uploads are PUT to `/NAME/put/FILE` and fetched again, because it runs no program.
    pub(crate) stores: bool,
    /// The application sends content with 204, and the server permits it.
    pub(crate) adds_to_204: bool,
    pub(crate) cut_by: By,
    pub(crate) hang_by: By,
    pub(crate) crash_by: By,
    /// Unsupported columns, with the reason.
    pub(crate) cannot: &'static [(&'static str, &'static str)],
}

const NO_TRAILERS: (&str, &str) =
    ("trailers down", "its interface to applications has no trailers in HTTP/1.1");
const NO_UPGRADE: (&str, &str) = ("upgrade", "no WebSocket in it");
const NO_CHUNKED: (&str, &str) = ("chunked up", "it speaks HTTP/1.0: chunked content is not read");
const NO_REQUEST_TRAILERS: (&str, &str) = ("trailers up", "it speaks HTTP/1.0: chunked content is not read");
const NO_CLOSE: (&str, &str) =
    ("close", "it refuses applications that say Connection, as PEP 3333 allows, and closes only broken ones");
const FILES_ONLY: &str = "it serves files; nothing in it makes events";
const NO_RESET: (&str, &str) = ("reset", "nothing in it resets a connection");

const PYTHON: Server = Server {
    name: "",
    kind: Kind::Process(&[]),
    reads_first: false,
    stores: false,
    adds_to_204: false,
    cut_by: By::Application,
    hang_by: By::Application,
    crash_by: By::Application,
    cannot: &[NO_TRAILERS, NO_UPGRADE],
};

pub(crate) const SERVERS: &[Server] = &[
    Server {
        name: "gunicorn",
        kind: Kind::Address(
            "unix:@DIR@/gunicorn.sock",
            &[
                "@VENV@/bin/gunicorn",
                "--bind",
                "unix:@DIR@/gunicorn.sock",
                "--threads",
                "8",
                "--keep-alive",
                "1",
                "wsgi",
            ],
        ),
        adds_to_204: true,
        ..PYTHON
    },
    Server {
        name: "waitress",
        kind: Kind::Process(&[
            "@VENV@/bin/waitress-serve",
            "--listen=127.0.0.1:{port}",
            "--threads=8",
            "--channel-timeout=1",
            "--cleanup-interval=1",
            "wsgi:application",
        ]),
        reads_first: true,
        adds_to_204: true,
        cannot: &[NO_TRAILERS, NO_UPGRADE, NO_CLOSE],
        ..PYTHON
    },
    Server {
        name: "cheroot",
        kind: Kind::Process(&[
            "@VENV@/bin/cheroot",
            "--bind",
            "127.0.0.1:{port}",
            "--timeout",
            "1",
            "wsgi:application",
        ]),
        adds_to_204: true,
        reads_first: true,
        ..PYTHON
    },
    Server {
        name: "uvicorn",
        kind: Kind::Process(&[
            "@VENV@/bin/uvicorn",
            "--port",
            "{port}",
            "--timeout-keep-alive",
            "1",
            "asgi:application",
        ]),
        cannot: &[NO_TRAILERS],
        ..PYTHON
    },
    Server {
        name: "hypercorn",
        kind: Kind::Process(&[
            "@VENV@/bin/hypercorn",
            "--bind",
            "unix:{socket}",
            "--keep-alive",
            "1",
            "asgi:application",
        ]),
        cannot: &[NO_TRAILERS],
        ..PYTHON
    },
    Server {
        name: "wsgiref",
        kind: Kind::Process(&["@VENV@/bin/python", "@APPLICATIONS@/wsgiref_server.py", "{port}"]),
        cannot: &[NO_TRAILERS, NO_UPGRADE, NO_CHUNKED, NO_REQUEST_TRAILERS],
        adds_to_204: true,
        ..PYTHON
    },
    Server {
        name: "node",
        kind: Kind::Process(&["node", "@APPLICATIONS@/node.js", "{port}"]),
        cannot: &[],
        ..PYTHON
    },
    Server {
        name: "nginx",
        kind: Kind::Address(
            "tcp:127.0.0.1:@PORT@",
            &["nginx", "-p", "@DIR@", "-c", "@DIR@/nginx.conf", "-g", "daemon off;"],
        ),
        stores: true,
        cut_by: By::Signal("nginx: worker"),
        hang_by: By::Signal("nginx: worker"),
        crash_by: By::Signal("nginx: worker"),
        cannot: &[NO_UPGRADE, NO_RESET, ("SSE", FILES_ONLY)],
        ..PYTHON
    },
    Server {
        name: "httpd",
        kind: Kind::Process(&["sh", "-c", "PORT={port} exec apache2 -f @DIR@/httpd.conf -DFOREGROUND"]),
        reads_first: true,
        // It does not verify a program's Content-Length, so a truncated response looks complete to it.
        cut_by: By::Signal("@DIR@/httpd.conf"),
        crash_by: By::Signal("@DIR@/httpd.conf"),
        cannot: &[NO_TRAILERS, NO_UPGRADE, NO_RESET],
        ..PYTHON
    },
    Server {
        name: "lighttpd",
        kind: Kind::Process(&["sh", "-c", "PORT={port} exec lighttpd -D -f @DIR@/lighttpd.conf"]),
        reads_first: true,
        crash_by: By::Signal("@DIR@/lighttpd.conf"),
        cannot: &[NO_TRAILERS, NO_UPGRADE, NO_RESET],
        ..PYTHON
    },
];

/// The directory of the servers' files and of signals to applications; servers at addresses run as long as it exists.
#[derive(Debug)]
pub(crate) struct Stage {
    directory: TempDir,
    port: u16,
    children: Vec<Child>,
}

impl Stage {
    /// Writes files and starts servers. Must be called on the main thread, whose end ends them.
    pub(crate) fn set() -> Result<Self> {
        let mut stage = Self { directory: TempDir::new()?, port: free_port()?, children: Vec::new() };
        let venv = venv();
        ensure!(
            venv.join("bin/gunicorn").is_file(),
            "no Python servers in {}: ./tests/run installs them",
            venv.display()
        );
        // Apache's user needs access.
        fs::set_permissions(stage.directory.path(), fs::Permissions::from_mode(0o777))?;
        for file in ["nginx.conf", "httpd.conf", "lighttpd.conf", "cgi.sh"] {
            let text = fs::read_to_string(applications().join(file)).context(file)?;
            fs::write(stage.path(file), stage.filled(&text))?;
            fs::set_permissions(stage.path(file), fs::Permissions::from_mode(0o755))?;
        }
        stage.files()?;
        fs::write(stage.path("weir.toml"), stage.config())?;
        for server in SERVERS {
            if let Kind::Address(at, words) = server.kind {
                let child = stage.start(words).with_context(|| server.name.to_owned())?;
                stage.children.push(child);
                stage.wait_for(&stage.filled(at)).with_context(|| server.name.to_owned())?;
            }
        }
        Ok(stage)
    }

    /// Path of a file in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sends an application the signal it waits for.
    pub(crate) fn tell(&self, server: &Server, what: &str) -> Result<()> {
        fs::write(self.path(&format!("{}-{what}", server.name)), "").context("telling the application")
    }

    /// Our processes with this in their command line, as in [`By::Signal`].
    pub(crate) fn processes(&self, mark: &str) -> Result<Vec<Process>> {
        let (mark, me) = (self.filled(mark), i32::try_from(std::process::id())?);
        let found: Vec<_> = descendants(me).into_iter().filter(|p| p.command.contains(&mark)).collect();
        ensure!(!found.is_empty(), "no process {mark}");
        Ok(found)
    }

    /// Environment variables of servers.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 3] {
        let bytecode = self.path("bytecode");
        [
            ("WEIR_APPS", self.directory.path().to_owned()),
            ("PYTHONPATH", applications()),
            // Keeps Python from writing beside the sources.
            ("PYTHONPYCACHEPREFIX", bytecode),
        ]
    }

    fn filled(&self, text: &str) -> String {
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let user = if text.contains("ServerName apps") { httpd_user() } else { user };
        text.replace("@DIR@", &self.directory.path().display().to_string())
            .replace("@PORT@", &self.port.to_string())
            .replace("@VENV@", &venv().display().to_string())
            .replace("@APPLICATIONS@", &applications().display().to_string())
            .replace("@MODULES@", "/usr/lib/apache2/modules")
            .replace("@USER@", user)
    }

    fn files(&self) -> Result<()> {
        let down: Vec<u8> = super::behaviours::down();
        let half = vec![b'x'; super::behaviours::HALF];
        for server in ["nginx", "httpd", "lighttpd"] {
            let directory = self.path("www").join(server);
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("get"), format!("hello from {server}\n"))?;
            fs::write(directory.join("down"), &down)?;
            fs::write(directory.join("trailers"), "with trailers\n")?;
            fs::write(directory.join("cut"), [&half[..], &half].concat())?;
        }
        Ok(())
    }

    fn config(&self) -> String {
        let mut config = "[[site]]\nname = \"apps\"\n".to_owned();
        for Server { name, .. } in SERVERS {
            let _ = write!(config, "[[site.prefix]]\nurl = \"http://*:80/{name}/\"\npool = \"{name}\"\n");
        }
        for server in SERVERS {
            let worker = match server.kind {
                Kind::Process(words) => {
                    let words: Vec<_> = words.iter().map(|word| self.filled(word)).collect();
                    format!("kind = \"process\"\ncommand = {words:?}\n")
                }
                Kind::Address(at, _) => format!("kind = \"address\"\nat = {:?}\n", self.filled(at)),
            };
            let min = u8::from(matches!(server.kind, Kind::Process(_)));
            let _ = write!(
                config,
                "[[pool]]\nname = {:?}\nresponse_timeout = {RESPONSE_TIMEOUT_S}\nmin_workers = {min}\n\
                 [pool.rapid_fail]\nfailures = 0\n[[pool.worker]]\n{worker}",
                server.name
            );
        }
        config
    }

    fn start(&self, words: &[&str]) -> Result<Child> {
        let words: Vec<_> = words.iter().map(|word| self.filled(word)).collect();
        let (program, arguments) = words.split_first().context("no command")?;
        let mut server = command(program);
        server.args(arguments).envs(self.variables()).stdout(Stdio::null());
        if std::env::var_os("WEIR_TEST_LOG").is_none() {
            server.stderr(Stdio::null());
        }
        server.spawn().context("starting it through setpriv")
    }

    fn wait_for(&self, at: &str) -> Result<()> {
        let answers = || match at.split_once(':') {
            Some(("unix", path)) => UnixStream::connect(path).is_ok(),
            _ => TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok(),
        };
        wait_for(|| format!("it does not listen at {at}"), || Ok(answers().then_some(())))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.children {
            if let Some(process) = i32::try_from(child.id()).ok().and_then(Process::find) {
                // Both have child processes, which they end themselves.
                process.signal(rustix::process::Signal::TERM);
            }
            let _ = child.wait();
        }
    }
}

fn httpd_user() -> &'static str {
    if rustix::process::getuid().is_root() { "User www-data\nGroup www-data" } else { "" }
}

fn applications() -> PathBuf {
    workspace().join("tests/apps/applications").canonicalize().unwrap_or_default()
}

fn venv() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let venv = target.join("apps/venv");
    Path::canonicalize(&venv).unwrap_or(venv)
}
