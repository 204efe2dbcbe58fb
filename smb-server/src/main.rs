//! Temporary.
use usmbd::config::*;
fn main() {
    let mut a = std::env::args().skip(1);
    let dir = a.next().unwrap(); let port = a.next().unwrap(); let backend: ringway::Backend = a.next().unwrap().parse().unwrap();
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    let config = Config { listen: vec![format!("127.0.0.1:{port}").parse().unwrap()], shares: ByName::new(vec![ShareConfig::new("share".parse().unwrap(), std::path::Path::new(&dir), false).unwrap()]).unwrap(), users: ByName::new(vec![UserConfig { name: "alice".parse().unwrap(), password: Secret::new("secret1".into()) }]).unwrap(), backend, threads: 2.try_into().unwrap(), require_signing: false, require_encryption: false, limits: Limits::default() };
    let s = usmbd::server::Server::start(config).unwrap();
    println!("{} {:?}", s.features(), s.local_addrs());
    loop { std::thread::park() }
}
