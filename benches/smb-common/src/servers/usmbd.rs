//! usmbd's program, with one thread, for it has one core.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ringway::Backend;

use super::{PASSWORD, Places, SHARE, USER, first_line_of, pinned};

pub(crate) fn start(
    backend: Backend,
    more: &[&str],
    name: &str,
    places: &Places,
) -> io::Result<(Child, SocketAddr)> {
    let mut command = pinned(&places.usmbd);
    command.args(["serve", "--listen", "127.0.0.1:0", "--threads", "1", "--log", "warn"]);
    command.args(["--backend", &backend.to_string()]).args(more);
    command.args(["--user", &format!("{USER}:{PASSWORD}")]);
    command.arg("--share").arg(format!("{SHARE}={}", places.share.display()));
    command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let log = places.settings.join(name).with_extension("log");
    let mut process = command.stderr(File::create(&log)?).spawn()?;
    let banner = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let address = BufReader::new(banner).lines().map_while(Result::ok).find_map(listening);
    match address {
        Some(address) => Ok((process, address)),
        None => {
            super::processes::end(&mut process, super::PATIENCE);
            Err(io::Error::other(format!("usmbd does not start; see {}", log.display())))
        }
    }
}

/// The address in a line of the banner.
fn listening(line: String) -> Option<SocketAddr> {
    let address = &line[line.find("127.0.0.1:")?..];
    let end = address.find(|c: char| !matches!(c, '0'..='9' | '.' | ':')).unwrap_or(address.len());
    address[..end].parse().ok()
}

pub(crate) fn version(program: &Path) -> Option<String> {
    first_line_of(Command::new(program).arg("--version"))
}
