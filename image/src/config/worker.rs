//! `[[pool.worker]]`.

use super::bounds::INSTANCES;
use super::error::{Fault, Faults};
use super::process::process;
use super::value::{kernel_words, memory, worker_address};
use super::{VmImage, Worker, WorkerKind, raw};
use std::path::{Path, PathBuf};
use toml::Spanned;

type Result<T> = std::result::Result<T, Fault>;

fn wrong<T>(at: &Spanned<T>, what: impl Into<String>) -> (usize, String) {
    (at.span().start, what.into())
}

/// Parses a worker; paths are relative to `dir`. `None` after an error.
pub(super) fn worker(worker: &Spanned<raw::Worker>, dir: &Path, faults: &Faults) -> Option<Worker> {
    let raw::Worker { kind, image, kernel, initrd, append, memory: size, at, command, .. } = worker.get_ref();
    let raw::Worker { directory, environment, user, instances, .. } = worker.get_ref();
    // Each kind has its own keys.
    let start = |key: &Option<Spanned<String>>| key.as_ref().map(|k| k.span().start);
    let keys = [
        ("image", start(image), "vm"),
        ("kernel", start(kernel), "vm"),
        ("initrd", start(initrd), "vm"),
        ("append", start(append), "vm"),
        ("memory", start(size), "vm"),
        ("command", command.as_ref().map(|c| c.span().start), "process"),
        ("directory", start(directory), "process"),
        ("environment", environment.as_ref().map(|e| e.span().start), "process"),
        ("user", start(user), "process"),
        ("at", start(at), "address"),
    ];
    let is_known = keys.iter().any(|(_, _, whose)| whose == kind.get_ref());
    for (name, written, whose) in keys {
        if let Some(at) = written.filter(|_| is_known && whose != kind.get_ref()) {
            faults.error(at, format!("{name} with kind {:?}, expected none", kind.get_ref()));
        }
    }
    let needs = |key: &str, is_there: bool| {
        if !is_there {
            let what = format!("{} worker without {key}, expected it", kind.get_ref());
            faults.missing(worker.span().start, &[key], what);
        }
    };
    let found = match kind.get_ref().as_str() {
        "vm" => {
            needs("memory", size.is_some());
            let mib = |size: &Spanned<String>| memory(size.get_ref()).map_err(|what| wrong(size, what));
            let memory_mib = size.as_ref().and_then(|size| faults.ok(mib(size)));
            let image = vm_image(worker, dir, faults);
            image.zip(memory_mib).map(|(image, memory_mib)| WorkerKind::Vm { image, memory_mib })
        }
        "process" => {
            needs("command", command.is_some());
            process(worker.get_ref(), dir, faults).map(WorkerKind::Process)
        }
        "address" => {
            if let Some(instances) = instances {
                faults.error(instances.span().start, "instances with kind \"address\", expected none");
            }
            needs("at", at.is_some());
            let address =
                |at: &Spanned<String>| worker_address(at.get_ref(), dir).map_err(|what| wrong(at, what));
            at.as_ref().and_then(|at| faults.ok(address(at))).map(WorkerKind::Address)
        }
        other => {
            let what = format!("kind {other:?}, expected \"vm\", \"process\" or \"address\"");
            faults.error(kind.span().start, what);
            None
        }
    };
    let instances = faults.value(INSTANCES.read("instances", instances.as_ref()));
    Some(Worker { kind: found?, instances: instances.unwrap_or(1) })
}

fn vm_image(worker: &Spanned<raw::Worker>, dir: &Path, faults: &Faults) -> Option<VmImage> {
    let raw::Worker { image, kernel, initrd, append, .. } = worker.get_ref();
    if let (Some(append), None) = (append, kernel) {
        faults.error(append.span().start, "append without kernel, expected none");
    }
    match (image, kernel, initrd) {
        (Some(image), None, None) if image.get_ref() == "worker" => Some(VmImage::Worker),
        (Some(image), None, None) => faults.ok(file(image, dir, "\"worker\" or an ELF")).map(VmImage::Elf),
        (None, Some(kernel), Some(initrd)) => {
            if let Some(append) = append {
                faults.value(kernel_words(append.get_ref()).map_err(|what| wrong(append, what)));
            }
            let kernel = faults.ok(file(kernel, dir, "a Linux kernel"));
            let initrd = faults.ok(file(initrd, dir, "an initial RAM file system"));
            Some(VmImage::Linux {
                kernel: kernel?,
                initrd: initrd?,
                append: append.as_ref().map(|append| append.get_ref().clone()).unwrap_or_default(),
            })
        }
        (Some(_), Some(other), _) | (Some(_), None, Some(other)) => {
            faults.ok(Err(wrong(other, "image with kernel or initrd, expected only one of them")))
        }
        (None, Some(alone), None) | (None, None, Some(alone)) => {
            faults.ok(Err(wrong(alone, "kernel or initrd missing, expected both")))
        }
        (None, None, None) => {
            let what = "vm worker without image, expected one, or kernel and initrd";
            faults.missing(worker.span().start, &["image", "kernel", "initrd"], what);
            None
        }
    }
}

/// Path of a file that must exist.
fn file(name: &Spanned<String>, dir: &Path, expected: &str) -> Result<PathBuf> {
    let path = dir.join(name.get_ref());
    match path.is_file() {
        true => Ok(path),
        false => Err(wrong(name, format!("{}: not found, expected {expected}", path.display()))),
    }
}
