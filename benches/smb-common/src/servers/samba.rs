//! Samba's smbd out of unpacked packages, in a mount namespace of its own: settings, accounts and state are below a
//! folder of ours. It takes root.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{ACCOUNT, PASSWORD, PATIENCE, Places, SHARE, USER, first_line_of, pinned, processes};

/// What a program of the tree sees of this machine: all that it needs, and a folder for settings and the share each.
/// Gone when it ends. $0 the tree, then settings, share, and the words to run.
const ENTER: &str = r#"set -e
for m in proc sys dev; do mount --rbind "/$m" "$0/$m"; done
mount -t tmpfs none "$0/tmp"
mkdir "$0/tmp/settings" "$0/tmp/share"
mount --bind "$1" "$0/tmp/settings"
mount --bind "$2" "$0/tmp/share"
mount --bind "$1/passwd" "$0/etc/passwd"
shift 2
exec chroot "$0" "$@""#;

/// Where it finds its settings.
const SETTINGS: &str = "/tmp/settings";

/// Below the settings, for what it keeps.
const FOLDERS: [&str; 7] = ["private", "lock", "state", "cache", "pid", "ncalrpc", "log"];

pub(crate) fn start(lines: &str, name: &str, places: &Places) -> io::Result<(Child, SocketAddr)> {
    let tree = places.samba.as_deref().ok_or_else(|| io::Error::other("there is no Samba"))?;
    // Nobody else gets it in the moment until it is taken again, most likely.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let settings = places.settings.join(name);
    write_settings(&settings, lines, address.port())?;
    let run = |words: &[&str]| {
        let mut command = pinned(Path::new("unshare"));
        command.args(["--mount", "sh", "-c", ENTER]).arg(tree).arg(&settings).arg(&places.share);
        command.args(words).stdout(Stdio::null());
        command
    };
    let config = format!("{SETTINGS}/smb.conf");
    add_user(&mut run(&["smbpasswd", "-c", &config, "-s", "-a", USER]))?;
    let log = fs::File::create(settings.join("stderr"))?;
    let mut command = run(&["smbd", "--foreground", "--no-process-group", "-s", &config]);
    // Ending, it ends its whole process group, which is not to be ours.
    command.process_group(0).stdin(Stdio::null()).stderr(log);
    let mut process = command.spawn()?;
    if listens(&mut process, address) {
        return Ok((process, address));
    }
    processes::end(&mut process, PATIENCE);
    Err(io::Error::other(format!("smbd does not start; see {}", settings.display())))
}

fn write_settings(settings: &Path, lines: &str, port: u16) -> io::Result<()> {
    let _ = fs::remove_dir_all(settings);
    for folder in FOLDERS {
        fs::create_dir_all(settings.join(folder))?;
    }
    // smbd insists on this for sockets of its own.
    fs::set_permissions(settings.join("ncalrpc"), fs::Permissions::from_mode(0o755))?;
    let accounts = format!(
        "root:x:0:0::/root:/bin/false\nnobody:x:65534:65534::/:/bin/false\n\
         {USER}:x:{ACCOUNT}:{ACCOUNT}::/:/bin/false\n"
    );
    fs::write(settings.join("passwd"), accounts)?;
    fs::write(settings.join("smb.conf"), config(lines, port))
}

/// Everything but `[bench]` is about where it runs, none about how fast.
fn config(lines: &str, port: u16) -> String {
    format!(
        "[global]\n  \
           server role = standalone server\n  \
           netbios name = BENCH\n  \
           interfaces = 127.0.0.1\n  \
           bind interfaces only = yes\n  \
           smb ports = {port}\n  \
           disable netbios = yes\n  \
           private dir = {SETTINGS}/private\n  \
           lock directory = {SETTINGS}/lock\n  \
           state directory = {SETTINGS}/state\n  \
           cache directory = {SETTINGS}/cache\n  \
           pid directory = {SETTINGS}/pid\n  \
           ncalrpc dir = {SETTINGS}/ncalrpc\n  \
           log file = {SETTINGS}/log/log\n  \
           load printers = no\n  \
           printing = bsd\n\
         [{SHARE}]\n  \
           path = /tmp/share\n  \
           read only = no\n  {lines}\n"
    )
}

fn add_user(command: &mut Command) -> io::Result<()> {
    let mut process = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = process.stdin.take() {
        write!(stdin, "{PASSWORD}\n{PASSWORD}\n")?;
    }
    let output = process.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("smbpasswd: {complaint}")))
}

fn listens(process: &mut Child, address: SocketAddr) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE && matches!(process.try_wait(), Ok(None)) {
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

pub(crate) fn version(tree: &Path) -> Option<String> {
    let line = first_line_of(Command::new("chroot").arg(tree).args(["smbd", "--version"]))?;
    Some(line.replace("Version ", "Samba "))
}
