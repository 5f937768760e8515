//! A machine without a source of random numbers does not serve TLS.

use super::*;

pub(super) fn without_entropy() -> Result<()> {
    let lab = prepare()?;
    lab.write(
        "small.toml",
        "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\n\
         [[site.prefix]]\nurl = \"https://*:443/\"\nfiles = \"www\"\n\
         [[site.certificate]]\nchain = \"ec.pem\"\nkey = \"ec.key\"\n",
    )?;
    let config = image::check(Path::new(&lab.path("small.toml")))?;
    let mut options = image::Options::new()?;
    options.out_dir = lab.0.path().join("images");
    let built = image::build(&config, &options, &|_| {})?;
    for (cpu, rng, expected) in [
        ("max,-rdrand,-rdseed", false, false),
        ("max,-rdrand,-rdseed", true, true),
        ("max", false, true),
        ("max,-aes,-pclmulqdq", false, true),
    ] {
        let (http, https, log) = (free_port()?, free_port()?, lab.path("serial"));
        let mut qemu = command("qemu-system-x86_64");
        qemu.args(["-M", "q35", "-accel", "tcg", "-m", "64", "-cpu", cpu, "-nodefaults", "-display", "none"])
            .args([
                "-no-reboot",
                "-serial",
                &format!("file:{log}"),
                "-device",
                "virtio-net-pci,netdev=n,romfile=",
            ])
            .args([
                "-netdev",
                &format!("user,id=n,hostfwd=tcp:127.0.0.1:{http}-:80,hostfwd=tcp:127.0.0.1:{https}-:443"),
            ])
            .arg("-kernel")
            .arg(&built.loader.path)
            .arg("-initrd")
            .arg(&built.elf.path);
        if rng {
            qemu.args(["-device", "virtio-rng-pci"]);
        }
        let mut machine = qemu.spawn()?;
        let outcome = entropy_case(cpu, http, https, &log, expected);
        machine.kill()?;
        machine.wait()?;
        outcome.with_context(|| format!("-cpu {cpu}, virtio-rng {rng}"))?;
    }
    Ok(())
}

fn entropy_case(cpu: &str, http: u16, https: u16, log: &str, expected: bool) -> Result<()> {
    let get = |url: String| -> Result<bool> {
        let done = output(Command::new("curl").args(["-sk", "--max-time", "300", "-o", "/dev/null", &url]))?;
        Ok(done.status.success())
    };
    let answers = || Ok(get(format!("http://127.0.0.1:{http}/128"))?.then_some(()));
    wait_for(|| format!("no answer: {:?}", std::fs::read_to_string(log)), answers)?;
    let said = std::fs::read_to_string(log)?;
    let slow = "weir: TLS is slow: the processor lacks AES, PCLMULQDQ\n";
    ensure!(said.replace('\r', "").contains(slow) == cpu.contains("-aes"), "{said}");
    let refused =
        "weir: https is not served: no source of random numbers, expected virtio-rng, RDSEED or RDRAND";
    ensure!(said.contains(refused) != expected, "{said}");
    ensure!(get(format!("https://127.0.0.1:{https}/128"))? == expected, "{said}");
    Ok(())
}
