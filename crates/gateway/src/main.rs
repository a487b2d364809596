//! The `respool` binary: reads the command line, starts the gateway, turns its end into an exit code.
//!
//! The way of a command, one file a step: `main` → `settings` → `gateway` → `listener` → `session` →
//! `input` → `command` → the pool's queue and workers → `session`.

mod client;
mod command;
mod config;
mod console;
mod exclusive;
mod listener;
mod local_reply;
mod observe;
mod process;
mod pubsub;
mod session;
mod topology;

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use settings::{Args, Config, GatewaySettings};

use crate::{
    listener::{passed::Passed, threads::Threads},
    observe::{export::Export, logs::logs::Logs},
};

/// Replies of 16 KiB cost 9.0 to 9.9 us of CPU, run by run; with the allocator of glibc 9.1 to 12.2, as it happens
/// to return their pages to the system or not. The price is 0.4 KiB a client.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of `sysexits.h`: the configuration or the command line is wrong.
const EXIT_USAGE: u8 = 64;

/// `EX_UNAVAILABLE`: the configuration is right, and the cluster that it names cannot be served as it is.
const EXIT_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    // Not before the configuration has been read, which may want them.
    use_huge_pages(false);
    let mut args = match Args::read(env!("RESPOOL_VERSION")) {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too. Nobody is left to tell if the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let inherited = match listener::passed::inherited() {
        Ok(inherited) => inherited,
        Err(error) => {
            eprintln!("respool: cannot use a socket that was passed: {error}");
            return ExitCode::FAILURE;
        }
    };
    if !inherited.is_empty() {
        // What the configuration demands of an address, it demands of these.
        args.listen_at(inherited.iter().map(Passed::described).collect());
    }
    let (config, settings) = match args.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("respool: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if args.only_check() {
        print!("{}", settings::report(&config, &settings, process::descriptors::raise()));
        return match process::check::cluster(&settings) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(EXIT_UNAVAILABLE),
            Err(error) => {
                eprintln!("respool: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    if args.only_health() {
        return health(&settings);
    }
    match run(args, config, settings, inherited) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("respool: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asks the gateway that runs with these settings, and says what is wrong with it.
fn health(settings: &GatewaySettings) -> ExitCode {
    let Some((address, http)) = &settings.http else {
        eprintln!("respool: metrics.listen: is empty, so there is nobody to ask; write 127.0.0.1:9121");
        return ExitCode::from(EXIT_USAGE);
    };
    match process::health::ask(*address, http.timeout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("respool: the gateway at {address} is not well: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Pages of 2 MiB are resident whole as soon as a byte of them is used: several times what the bounds allow. Where the
/// system knows none, there are none to turn off.
fn use_huge_pages(wanted: bool) {
    let _ = rustix::thread::disable_transparent_huge_pages(!wanted);
}

fn run(args: Args, config: Config, settings: GatewaySettings, inherited: Vec<Passed>) -> anyhow::Result<ExitCode> {
    use_huge_pages(settings.huge_pages);
    let export = settings.export.as_ref().map(Export::start).transpose().context("cannot export spans")?;
    let (logs, _written_at_the_end) = Logs::start(&settings.log, export.as_ref());
    let runtime = listener::threads::runtime().context("cannot start the runtime")?;
    let threads = Threads::start(runtime.handle(), settings.threads.get()).context("cannot start threads")?;
    let threads = Arc::new(threads);
    let code = runtime.block_on(process::run::run(args, config, settings, logs, inherited, Arc::clone(&threads)));
    // Whatever is still looking up a name may take as long as the system's resolver likes; nobody waits for it.
    runtime.shutdown_background();
    drop(threads);
    if let Some(export) = export {
        export.end();
    }
    code
}
