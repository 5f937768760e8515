//! Verifies an image of any format and shows its contents.

use super::{Format, Info, gcp, qemu_img, seal};
use crate::artifact::hex_sha256;
use crate::payload;
use crate::private::Scratch;
use anyhow::{Context, Result, bail, ensure};
use model::bundle::{Bundle, MAGIC};
use model::settings::{Handler, Settings};
use std::fmt::{self, Write};
use std::path::Path;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A certificate in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its names.
    pub names: Vec<String>,
    /// Its expiry date, as text.
    pub expires: String,
}

/// Contents of an image.
#[derive(Clone, Debug)]
pub struct Contents {
    kind: &'static str,
    len: u64,
    sha256: String,
    /// `None` for a bundle on its own.
    info: Option<Info>,
    bundle: Vec<u8>,
}

/// Reads and verifies the file at `path`: an image of any format, or a bundle.
pub fn inspect(path: &Path) -> Result<Contents> {
    examine(path).with_context(|| path.display().to_string())
}

fn examine(path: &Path) -> Result<Contents> {
    let mut file = std::fs::read(path).context("reading it")?;
    let (len, sha256) = (file.len() as u64, hex_sha256(&file));
    let work = || Scratch::new(&std::env::temp_dir(), "weir-");
    let from_disk = |disk: &mut [u8], at| {
        let (loader, elf) = seal::open_disk(disk, at)?;
        open_elf(elf, Some(loader))
    };
    let (kind, (info, bundle)) = if file.starts_with(&MAGIC) {
        ("bundle", (None, file))
    } else if file.starts_with(b"\x7fELF") {
        let mut loader = path.as_os_str().to_owned();
        loader.push(".loader");
        ("ELF", open_elf(&file, std::fs::read(&loader).ok().as_deref())?)
    } else if file.starts_with(b"QFI\xfb") {
        let mut disk = qemu_img::read(path, Format::Qcow2, work()?.path())?;
        ("qcow2 disk", from_disk(&mut disk, seal::IN_DISK)?)
    } else if file.starts_with(b"KDMV") {
        let mut disk = qemu_img::read(path, Format::Vmdk, work()?.path())?;
        ("VMDK disk", from_disk(&mut disk, seal::IN_DISK)?)
    } else if file.starts_with(&[0x1f, 0x8b]) {
        ("GCP tarball", from_disk(&mut gcp::read(&file)?, seal::IN_DISK)?)
    } else if file.get(0x8001..0x8006) == Some(b"CD001") {
        ("ISO", from_disk(&mut file, seal::IN_ISO)?)
    } else if file.get(510..512) == Some(&[0x55, 0xaa]) {
        ("raw disk", from_disk(&mut file, seal::IN_DISK)?)
    } else {
        bail!("truncated, damaged, or not a Weir image: unknown first bytes");
    };
    // The image is intact; now check that this version can read its bundle.
    Bundle::parse(&bundle)?;
    Ok(Contents { kind, len, sha256, info, bundle })
}

fn open_elf(elf: &[u8], loader: Option<&[u8]>) -> Result<(Option<Info>, Vec<u8>)> {
    let info = seal::open_elf(elf)?;
    if let Some(loader) = loader {
        ensure!(
            hex_sha256(loader) == info.loader_sha256,
            "the loader is damaged, or belongs to another image"
        );
    }
    let bundle = payload::attached(elf).context("no bundle in the ELF")?;
    Ok((Some(info), bundle.to_vec()))
}

/// The certificates of a bundle: each site's in order, then those shown to workers.
fn certificates(bundle: &Bundle<'_>) -> Vec<Certificate> {
    let settings = &bundle.manifest.settings;
    let sites = settings.sites.iter().filter_map(|site| site.tls.as_ref()).flat_map(|tls| &tls.certificates);
    let links = settings.pools.iter().filter_map(|pool| pool.tls.as_ref()).map(|tls| &tls.certificate);
    let ends = sites.chain(links).filter_map(|c| c.chain.first());
    ends.filter_map(|der| {
        let certificate = x509_cert::Certificate::from_der(der).ok()?.tbs_certificate;
        let alternatives = certificate.get::<SubjectAltName>().ok().flatten();
        let names = alternatives.iter().flat_map(|(_, names)| &names.0).filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            GeneralName::IpAddress(octets) => match octets.as_bytes() {
                [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
                bytes => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
            },
            _ => None,
        });
        Some(Certificate { names: names.collect(), expires: certificate.validity.not_after.to_string() })
    })
    .collect()
}

impl Contents {
    /// A human-readable report of everything but keys.
    pub fn report(&self) -> Result<String> {
        let bundle = Bundle::parse(&self.bundle)?;
        let mut text = String::new();
        self.describe(&bundle, &mut text).context("writing the report")?;
        Ok(text)
    }

    fn describe(&self, bundle: &Bundle<'_>, out: &mut String) -> fmt::Result {
        writeln!(out, "{}, {} bytes, sha256 {}, checksums match", self.kind, self.len, self.sha256)?;
        if let Some(info) = &self.info {
            let commit = info.commit.as_deref().unwrap_or("unknown");
            writeln!(out, "weir {}, commit {commit}, rustc {}", info.weir, info.rustc)?;
            writeln!(out, "kernel {}, {} bytes", info.kernel, info.kernel_bytes)?;
            writeln!(out, "appliance {} bytes, TLS {} bytes", info.appliance_bytes, info.tls_bytes)?;
            writeln!(out, "loader {} bytes, sha256 {}", info.loader_bytes, info.loader_sha256)?;
        }
        let files = &bundle.manifest.files;
        writeln!(
            out,
            "bundle format {}, {} bytes, {} files",
            model::bundle::VERSION,
            self.bundle.len(),
            files.len()
        )?;
        settings(&bundle.manifest.settings, out)?;
        for file in files {
            writeln!(
                out,
                "file {} /{}: {} bytes, {}, etag {}",
                file.tree, file.path, file.len, file.media_type, file.etag
            )?;
        }
        let certificates = certificates(bundle);
        if certificates.is_empty() {
            writeln!(out, "certificates: none")?;
        }
        certificates
            .iter()
            .try_for_each(|c| writeln!(out, "certificate for {}, expires {}", c.names.join(", "), c.expires))
    }
}

fn settings(settings: &Settings, out: &mut String) -> fmt::Result {
    match settings.server.address {
        None => writeln!(out, "address by DHCP")?,
        Some(a) => {
            let dotted = |ip: [u8; 4]| std::net::Ipv4Addr::from(ip);
            write!(out, "address {}/{}", dotted(a.address), a.prefix_len)?;
            writeln!(out, "{}", a.gateway.map_or(String::new(), |g| format!(", gateway {}", dotted(g))))?;
        }
    }
    for site in &settings.sites {
        for prefix in &site.prefixes {
            let by = match prefix.handler {
                Handler::Files(tree) => format!("files of tree {tree}"),
                Handler::Nobody(why) => format!("nobody ({why:?})"),
                Handler::Pool(pool) => {
                    let name = settings.pools.get(pool.index()).map_or("?", |p| &p.name);
                    format!("pool {name}")
                }
            };
            writeln!(out, "site {}: {} by {by}", site.name, prefix.url)?;
        }
    }
    for pool in &settings.pools {
        let workers: Vec<_> = pool.workers.iter().map(|w| format!("vsock {}:{}", w.cid, w.port)).collect();
        writeln!(out, "pool {}: {}", pool.name, workers.join(", "))?;
    }
    Ok(())
}
