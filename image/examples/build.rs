//! Builds a program (`appliance` or `worker`), or an image from a `weir.toml`, without the `weir` command:
//! `cargo run -p weir-image --example build -- appliance|worker|WEIR.TOML [OUTDIR [KERNEL_DIR]]`.

use image::{Options, Program, step::StepError};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut options = Options::new()?;
    if let Some(dir) = args.get(1) {
        options.out_dir = std::path::absolute(dir)?;
    }
    options.kernel = args.get(2).map(std::path::absolute).transpose()?;
    let progress = |line: &str| eprintln!("{line}");
    let built = match args.first().map(String::as_str) {
        Some("appliance") => image::build_program(Program::Appliance, &options, &progress),
        Some("worker") => image::build_program(Program::Worker, &options, &progress),
        Some(path) => image::check(path.as_ref())
            .map_err(Into::into)
            .and_then(|config| image::build(&config, &options, &progress)),
        None => anyhow::bail!("expected appliance, worker or a weir.toml"),
    };
    let built = built.inspect_err(|error| {
        // Show developers the compiler's whole output.
        if let Some(step) = error.downcast_ref::<StepError>() {
            eprintln!("{}", std::fs::read_to_string(&step.log).unwrap_or_default());
        }
    })?;
    println!("{}\n{}", built.loader, built.elf);
    Ok(())
}
