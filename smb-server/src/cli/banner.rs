//! What the server says when it has started: what it shares, as whom, on what, and how to get there.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use usmbd::config::{Config, Secret, ShareConfig};
use usmbd::server::{Monitored, WorksAs};
use usmbd::vfs::Mapping;

use super::quote;

/// What only the running server knows.
pub(crate) struct BannerFacts {
    /// One line: which backend runs and why.
    pub(crate) features: String,
    /// Where the server listens, with the ports it got.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) identities: Vec<WorksAs>,
    pub(crate) monitored: Vec<Monitored>,
    /// What this machine is called.
    pub(crate) host: String,
    /// The password of the user that was made up.
    pub(crate) password: Option<Secret>,
}

/// The text, lines and all.
pub(crate) fn banner(config: &Config, facts: &BannerFacts) -> String {
    let mut text = String::new();
    write(&mut text, config, facts).unwrap_or_default(); // writing to a string cannot fail
    text
}

fn write(out: &mut String, config: &Config, facts: &BannerFacts) -> std::fmt::Result {
    writeln!(out, "usmbd {} serves", env!("CARGO_PKG_VERSION"))?;
    for share in &config.shares {
        let read_only = if share.options.read_only { " (read-only)" } else { "" };
        let streams = if share.options.streams { "" } else { " (without streams)" };
        let hidden = if share.options.hide_unreadable { " (unreadable files hidden)" } else { "" };
        let mapping = match share.options.mapping {
            Mapping::PrivateUse => "",
            Mapping::Catia => " (with Catia's characters)",
            Mapping::None => " (without mapped characters)",
        };
        let guests = if share.options.guests { " (guests too)" } else { "" };
        let direct = if share.options.direct { " (past the page cache)" } else { "" };
        let path = share.path.display();
        writeln!(
            out,
            "  {} -> {path}{read_only}{streams}{hidden}{mapping}{guests}{direct}",
            share.name
        )?;
    }
    for address in &facts.addresses {
        writeln!(out, "listening on {address}")?;
    }
    writeln!(out, "users")?;
    for WorksAs { user, share, because, .. } in &facts.identities {
        writeln!(out, "  {user} on {share}: {because}")?;
    }
    if let (Some(user), Some(password)) = (config.users.first(), &facts.password) {
        writeln!(
            out,
            "  the password of {} until the server stops: {}",
            user.name,
            password.expose()
        )?;
    }
    writeln!(out, "I/O: {}", facts.features)?;
    monitored(out, &facts.monitored)?;
    if let (Some(share), Some(user), Some(address)) =
        (config.shares.first(), config.users.first(), facts.addresses.first())
    {
        connect(out, share, &user.name, &host(*address, &facts.host), address.port())?;
    }
    Ok(())
}

/// A line for each way of seeing changes, with the shares that have it.
fn monitored(out: &mut String, monitored: &[Monitored]) -> std::fmt::Result {
    for (index, Monitored { source, .. }) in monitored.iter().enumerate() {
        let same = |other: &&Monitored| other.source == *source;
        if monitored.iter().position(|other| same(&other)) != Some(index) {
            continue;
        }
        let shares: Vec<_> =
            monitored.iter().filter(same).map(|other| other.share.as_str()).collect();
        writeln!(out, "changes by others in {}: {source}", shares.join(", "))?;
    }
    Ok(())
}

/// Lines to paste, for the first share and the first user.
fn connect(
    out: &mut String,
    share: &ShareConfig,
    user: &str,
    host: &str,
    port: u16,
) -> std::fmt::Result {
    let unc = quote::shell(&format!("//{host}/{}", share.name));
    let options = quote::shell(&format!("port={port},username={user},vers=3.1.1"));
    let url = format!("smb://{}@{host}:{port}/{}", quote::url(user), quote::url(&share.name));
    let windows = quote::windows(&format!(r"\\{host}\{}", share.name));
    let windows_user = quote::windows(&format!("/user:{user}"));
    writeln!(out, "connect")?;
    writeln!(out, "  smbclient  smbclient {unc} -p {port} -U {}", quote::shell(user))?;
    writeln!(out, "  Linux      sudo mount -t cifs {unc} /mnt -o {options}")?;
    writeln!(out, "  macOS      open '{url}'")?;
    if port == 445 {
        return writeln!(out, "  Windows    net use X: {windows} {windows_user}");
    }
    writeln!(out, "  Windows    net use X: {windows} {windows_user} /tcpport:{port}")?;
    writeln!(
        out,
        "             (Windows 11 24H2 or Server 2025; older ones speak only to port 445)"
    )
}

/// A name for the server that a client can use: addresses that mean "every interface", and IPv6 addresses, which no UNC
/// path can carry, are replaced by the host's name.
fn host(address: SocketAddr, name: &str) -> String {
    match address.ip() {
        IpAddr::V6(ip) if ip.is_loopback() => "localhost".to_owned(),
        IpAddr::V4(ip) if !ip.is_unspecified() => ip.to_string(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;

    use ringway::Backend;
    use usmbd::config::{ByName, Limits, ShareOptions, UserConfig};
    use usmbd::monitor::Source;

    use super::*;

    fn config(share: &str, read_only: bool, user: &str) -> Config {
        let options = ShareOptions { read_only, ..ShareOptions::default() };
        let share = ShareConfig::new(share.parse().unwrap(), Path::new("/"), options).unwrap();
        let password = Secret::new("hunter2".into());
        let user = UserConfig { name: user.parse().unwrap(), password };
        Config {
            listen: Vec::new(),
            shares: ByName::new(vec![share]).unwrap(),
            users: ByName::new(vec![user]).unwrap(),
            backend: Backend::Auto,
            threads: NonZeroUsize::MIN,
            helping: usmbd::cores::Helping::default(),
            require_signing: false,
            require_encryption: false,
            assume_remote_peers: false,
            without: Vec::new(),
            guest: None,
            anonymous: true,
            limits: Limits::default(),
        }
    }

    fn monitored(share: &str) -> Monitored {
        let because = "not permitted".into();
        Monitored { share: share.into(), source: Source::Inotify { because } }
    }

    fn facts(address: &str) -> BannerFacts {
        BannerFacts {
            features: "epoll, because no ring".into(),
            addresses: vec![address.parse().unwrap()],
            identities: vec![WorksAs {
                user: "ann".into(),
                share: "data".into(),
                uid: 1000,
                because: "unix account ann (uid 1000)".into(),
            }],
            monitored: ["data", "more"].map(monitored).into(),
            host: "tower".into(),
            password: None,
        }
    }

    #[test]
    fn every_client_gets_a_line_to_paste() {
        let text = banner(&config("data", true, "ann"), &facts("127.0.0.1:4450"));
        for line in [
            "  data -> / (read-only)\n",
            "listening on 127.0.0.1:4450\n",
            "  ann on data: unix account ann (uid 1000)\n",
            "I/O: epoll, because no ring\n",
            "changes by others in data, more: inotify, because fanotify: not permitted\n",
            " smbclient //127.0.0.1/data -p 4450 -U ann\n",
            " sudo mount -t cifs //127.0.0.1/data /mnt -o port=4450,username=ann,vers=3.1.1\n",
            " open 'smb://ann@127.0.0.1:4450/data'\n",
            " net use X: \\\\127.0.0.1\\data /user:ann /tcpport:4450\n",
            "port 445",
        ] {
            assert!(text.contains(line), "{line:?} is missing in\n{text}");
        }
    }

    #[test]
    fn an_unspecified_address_is_named_by_the_host() {
        for address in ["0.0.0.0:4450", "[::]:4450", "[2001:db8::1]:4450"] {
            let text = banner(&config("data", false, "ann"), &facts(address));
            assert!(text.contains("smbclient //tower/data "), "{text}");
        }
        let text = banner(&config("data", false, "ann"), &facts("[::1]:4450"));
        assert!(text.contains("smbclient //localhost/data "), "{text}");
    }

    #[test]
    fn special_characters_are_quoted_for_each_client() {
        let text = banner(&config("it's $5", false, "ann lee"), &facts("10.0.0.1:4450"));
        for part in [
            r"smbclient '//10.0.0.1/it'\''s $5' -p 4450 -U 'ann lee'",
            "-o 'port=4450,username=ann lee,vers=3.1.1'",
            "open 'smb://ann%20lee@10.0.0.1:4450/it%27s%20%245'",
            r#"net use X: "\\10.0.0.1\it's $5" "/user:ann lee" /tcpport:4450"#,
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    #[test]
    fn on_port_445_every_windows_can_connect() {
        let text = banner(&config("data", false, "ann"), &facts("127.0.0.1:445"));
        assert!(text.contains("/user:ann\n") && !text.contains("/tcpport"), "{text}");
    }

    #[test]
    fn only_a_password_that_was_made_up_is_shown() {
        let config = config("data", false, "ann");
        let mut facts = facts("127.0.0.1:4450");
        assert!(!banner(&config, &facts).contains("hunter2"));
        facts.password = Some(Secret::new("fresh".into()));
        assert!(
            banner(&config, &facts).contains("the password of ann until the server stops: fresh")
        );
    }
}
