//! The program: command line in, a running server out, and its end on a signal.

mod cli;

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use ringway::{Backend, Builder};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tracing_subscriber::filter::LevelFilter;

use cli::banner::{BannerFacts, banner};
use cli::routes::routes;
use cli::{Cli, Command, ProbeArgs, ServeArgs, SweepArgs};
use usmbd::datapath::host;
use usmbd::server::Server;
use usmbd::vfs;

/// A small request takes memory a dozen times, which is a tenth of what it costs with the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long requests in flight may take to finish after the first signal: less than systemd's patience of 90 s.
const GRACE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match Cli::try_parse().map(|cli| cli.command) {
        Ok(Command::Serve(serve_args)) => serve(serve_args),
        Ok(Command::Probe(ProbeArgs { routes: true, folder })) => print_routes(folder),
        Ok(Command::Probe(_)) => probe(),
        Ok(Command::Sweep(sweep_args)) => sweep(&sweep_args),
        Err(error) => usage(&error),
    }
}

/// Help and version go to stdout as they are; an error becomes one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody is left to tell if the terminal is gone.
        let _ = error.print();
        return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    fail(2, format!("{} (see --help)", line.strip_prefix("error: ").unwrap_or(line)))
}

fn fail(code: u8, reason: impl Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "usmbd: {reason}");
    ExitCode::from(code)
}

fn say(text: impl Display) {
    let mut stdout = std::io::stdout();
    let _ = write!(stdout, "{text}").and_then(|()| stdout.flush());
}

fn serve(arguments: ServeArgs) -> ExitCode {
    log_to_stderr(arguments.log);
    let (config, password) = match arguments.config() {
        Ok(made) => made,
        Err(error) => return fail(error.exit_code(), error),
    };
    raise_descriptor_limit();
    // Before the start, so that no signal falls between; SIGPIPE is already ignored by every Rust program.
    let signals = match Signals::new([SIGINT, SIGTERM, SIGUSR1]) {
        Ok(signals) => signals,
        Err(error) => return fail(1, format_args!("cannot handle signals: {error}")),
    };
    let server = match Server::start(config.clone()) {
        Ok(server) => server,
        Err(error) => return fail(1, error),
    };
    let facts = BannerFacts {
        features: server.features().to_string(),
        addresses: server.local_addrs().to_vec(),
        identities: server.identities(),
        monitored: server.monitored().to_vec(),
        host: host_name(),
        password,
    };
    say(banner(&config, &facts));
    wait_for_the_end(signals, &server);
    tracing::info!("stopping: finishing what is in flight");
    server.shutdown(GRACE);
    ExitCode::SUCCESS
}

/// Returns at the first signal that asks for the end; a second one ends the process. Others are answered by the log.
fn wait_for_the_end(mut signals: Signals, server: &Server) {
    while signals.forever().next() == Some(SIGUSR1) {
        server.log_routes();
    }
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().find(|signal| *signal != SIGUSR1) {
            std::process::exit(128 + signal);
        }
    });
}

fn log_to_stderr(level: LevelFilter) {
    tracing_subscriber::fmt()
        .compact()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(level)
        .init();
}

/// Every connection and every open file is a descriptor, and the usual soft limit of 1024 is for programs that use
/// `select`.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// What the kernel calls this machine.
fn host_name() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(name) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => "localhost".to_owned(),
    }
}

/// The table by which bytes are moved, as this host has it.
fn print_routes(folder: Option<PathBuf>) -> ExitCode {
    raise_descriptor_limit();
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    if let Err(error) = std::fs::read_dir(&folder) {
        return fail(1, format_args!("{}: {error}", folder.display()));
    }
    let runtime = match Builder::new().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let features = runtime.features().clone();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let trials = runtime.block_on(host::tried(&folder, cores, &features));
    let with = format!("{} and files in {}", features.backend(), folder.display());
    say(routes(&with, &trials));
    ExitCode::SUCCESS
}

/// One line for each backend.
fn probe() -> ExitCode {
    for backend in [Backend::Auto, Backend::Uring, Backend::Hybrid, Backend::Epoll] {
        match Builder::new().backend(backend).build() {
            Ok(runtime) => {
                say(format_args!("{:<6}  {}\n", backend.to_string(), runtime.features()))
            }
            Err(error) => say(format_args!("{:<6}  cannot run: {error}\n", backend.to_string())),
        }
    }
    ExitCode::SUCCESS
}

/// One line for each file, and one for all.
fn sweep(arguments: &SweepArgs) -> ExitCode {
    let unchanged = Duration::from_secs(u64::from(arguments.hours) * 3600);
    let swept = match vfs::sweep(&arguments.folders, unchanged, arguments.dry_run) {
        Ok(swept) => swept,
        Err(error) => return fail(1, error),
    };
    let done = if arguments.dry_run { "would remove" } else { "removed" };
    for (path, size) in &swept.removed {
        say(format_args!("{done} {} ({size} bytes)\n", path.display()));
    }
    let (count, kept) = (swept.removed.len(), swept.kept);
    let size: u64 = swept.removed.iter().map(|(_, size)| size).sum();
    say(format_args!("{done} {count} files ({size} bytes), kept {kept}\n"));
    ExitCode::SUCCESS
}
