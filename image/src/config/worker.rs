//! `[[pool.worker]]`.

use super::queue::number;
use super::supervision::MAX_WORKERS;
use super::value::{kernel_words, memory, worker_address};
use super::{ListensOn, VmImage, Worker, WorkerKind, raw};
use crate::toolchain::in_path;
use std::path::{Path, PathBuf};
use toml::Spanned;

type Result<T> = std::result::Result<T, (usize, String)>;

fn wrong<T>(at: &Spanned<T>, what: impl Into<String>) -> (usize, String) {
    (at.span().start, what.into())
}

/// A worker; paths are relative to `dir`.
pub(super) fn worker(worker: &Spanned<raw::Worker>, dir: &Path) -> Result<Worker> {
    let raw::Worker { kind, image, kernel, initrd, append, memory: size, at, command, instances } =
        worker.get_ref();
    // Each kind has its own keys, and none of the others'.
    let needs = |key: &str| wrong(worker, format!("{} worker without {key}, expected it", kind.get_ref()));
    let foreign = |start: Option<usize>, key: &str| match start {
        Some(at) => Err((at, format!("{key} with kind {:?}, expected none", kind.get_ref()))),
        None => Ok(()),
    };
    let start = |key: &Option<Spanned<String>>| key.as_ref().map(|k| k.span().start);
    let of_vm =
        [(image, "image"), (kernel, "kernel"), (initrd, "initrd"), (append, "append"), (size, "memory")];
    let no_vm = || of_vm.into_iter().try_for_each(|(key, name)| foreign(start(key), name));
    let command_at = command.as_ref().map(|c| c.span().start);
    let kind = match kind.get_ref().as_str() {
        "vm" => {
            foreign(start(at), "at")?;
            foreign(command_at, "command")?;
            let image = vm_image(worker, dir)?;
            let size = size.as_ref().ok_or_else(|| needs("memory"))?;
            let memory_mib = memory(size.get_ref()).map_err(|what| wrong(size, what))?;
            WorkerKind::Vm { image, memory_mib }
        }
        "process" => {
            foreign(start(at), "at")?;
            no_vm()?;
            process(command.as_ref().ok_or_else(|| needs("command"))?, dir)?
        }
        "address" => {
            no_vm()?;
            foreign(command_at, "command")?;
            foreign(instances.as_ref().map(|i| i.span().start), "instances")?;
            let at = at.as_ref().ok_or_else(|| needs("at"))?;
            WorkerKind::Address(worker_address(at.get_ref(), dir).map_err(|what| wrong(at, what))?)
        }
        other => {
            let what = format!("kind {other:?}, expected \"vm\", \"process\" or \"address\"");
            return Err(wrong(kind, what));
        }
    };
    let instances = number("instances", instances.as_ref(), 1..=MAX_WORKERS, "workers")?.unwrap_or(1);
    Ok(Worker { kind, instances })
}

fn vm_image(worker: &Spanned<raw::Worker>, dir: &Path) -> Result<VmImage> {
    let raw::Worker { image, kernel, initrd, append, .. } = worker.get_ref();
    if let (Some(append), None) = (append, kernel) {
        return Err(wrong(append, "append without kernel, expected none"));
    }
    match (image, kernel, initrd) {
        (Some(image), None, None) if image.get_ref() == "worker" => Ok(VmImage::Worker),
        (Some(image), None, None) => Ok(VmImage::Elf(file(image, dir, "\"worker\" or an ELF")?)),
        (None, Some(kernel), Some(initrd)) => Ok(VmImage::Linux {
            kernel: file(kernel, dir, "a Linux kernel")?,
            initrd: file(initrd, dir, "an initial RAM file system")?,
            append: match append {
                Some(append) => {
                    kernel_words(append.get_ref()).map_err(|what| wrong(append, what))?;
                    append.get_ref().clone()
                }
                None => String::new(),
            },
        }),
        (Some(_), Some(other), _) | (Some(_), None, Some(other)) => {
            Err(wrong(other, "image and kernel or initrd, expected either"))
        }
        (None, Some(alone), None) | (None, None, Some(alone)) => {
            Err(wrong(alone, "kernel or initrd alone, expected both"))
        }
        (None, None, None) => {
            Err(wrong(worker, "vm worker without image, expected it, or kernel and initrd"))
        }
    }
}

/// The path of a file that has to be there.
fn file(name: &Spanned<String>, dir: &Path, expected: &str) -> Result<PathBuf> {
    let path = dir.join(name.get_ref());
    match path.is_file() {
        true => Ok(path),
        false => Err(wrong(name, format!("{}: not found, expected {expected}", path.display()))),
    }
}

fn process(command: &Spanned<Vec<String>>, dir: &Path) -> Result<WorkerKind> {
    let words = command.get_ref();
    let Some(program) = words.first().filter(|program| !program.is_empty()) else {
        return Err(wrong(command, "empty command, expected a program and its arguments"));
    };
    let program = find(program, dir).ok_or_else(|| {
        wrong(command, format!("{program}: not found, expected a program, its path or one of PATH"))
    })?;
    let says = |place: &str| words.iter().any(|word| word.contains(place));
    let listens_on = match (says("{socket}"), says("{port}")) {
        (true, true) => return Err(wrong(command, "both {socket} and {port}, expected one of them")),
        (false, true) => ListensOn::Port,
        // Also where neither is said: the environment tells it.
        _ => ListensOn::Socket,
    };
    let command = std::iter::once(program).chain(words.iter().skip(1).cloned()).collect();
    Ok(WorkerKind::Process { command, listens_on })
}

/// The path of a program: as written if it has a `/`, else the first of `PATH`.
fn find(program: &str, dir: &Path) -> Option<String> {
    let found = match program.contains('/') {
        true => Some(dir.join(program)).filter(|path| path.is_file()),
        false => in_path(program),
    };
    found?.to_str().map(str::to_owned)
}
