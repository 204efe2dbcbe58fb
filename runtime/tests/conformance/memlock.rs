//! The ladder of locked memory: with any limit on it, as a user whom limits bind, runtimes can be made
//! and move bytes.

#![allow(unsafe_code, reason = "limits a child process by system calls")]

use libtest_mimic::{Completion, Failed, Trial};
use ringway::fs::{Dir, OFlags, OpenHow};
use ringway::net::{TcpListener, TcpStream};
use ringway::{Backend, Builder, Runtime};

use crate::{child, config};

const NOBODY: u32 = 65_534;

/// In KiB: nothing, less than a page's worth of anything, around what rings of each size are charged
/// on kernels that do so, the old default (64 KiB) and the new one (8 MiB).
const LIMITS: [u64; 11] = [0, 1, 4, 8, 16, 24, 32, 64, 128, 512, 8192];

/// How many at once: they share what the user may lock.
const RUNTIMES: usize = 3;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |limit: u64| config::trial(format!("memlock::{limit}_KiB"), move || limited(limit));
    LIMITS.into_iter().map(trial).collect()
}

fn limited(limit: u64) -> Result<Completion, Failed> {
    let told = child::run(&format!("memlock:{limit}"))?;
    match told.lines().filter(|line| line.starts_with("MOVED ")).count() {
        RUNTIMES => Ok(Completion::Completed),
        _ => Err(told.into()),
    }
}

/// What the child does.
pub(crate) fn child(limit: &str) {
    limit_memlock(limit.parse::<u64>().expect("a number of KiB") << 10);
    let runtimes: Vec<_> = (0..RUNTIMES).map(|_| Builder::new().build().unwrap()).collect();
    for runtime in &runtimes {
        move_bytes(runtime);
        println!("MOVED {}", runtime.features());
    }
    for backend in [Backend::Uring, Backend::Hybrid] {
        match Builder::new().backend(backend).build() {
            Ok(runtime) => move_bytes(&runtime),
            Err(error) => println!("{backend}: {error}"),
        }
    }
}

/// Sockets and files work, with more in flight than a small ring holds.
fn move_bytes(runtime: &Runtime) {
    runtime.block_on(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..100_u8)
            .map(|number| {
                ringway::spawn(async move {
                    let stream = TcpStream::connect(addr).await.unwrap();
                    stream.send_all(vec![number; 1000]).await.0.unwrap();
                    let (done, buf) = stream.recv_exact(vec![0; 1000]).await;
                    done.unwrap();
                    assert_eq!(buf, vec![number; 1000]);
                })
            })
            .collect();
        for _ in 0..clients.len() {
            let (stream, _) = listener.accept().await.unwrap();
            ringway::spawn(async move {
                let (done, buf) = stream.recv_exact(vec![0; 1000]).await;
                done.unwrap();
                stream.send_all(buf).await.0.unwrap();
            });
        }
        for client in clients {
            client.await.unwrap();
        }
        let proc = Dir::open_ambient("/proc").unwrap();
        let version = proc.open_at("version", &OpenHow::new(OFlags::RDONLY)).await.unwrap();
        assert!(version.read_at(vec![0; 100], 0).await.0.unwrap() > 10);
    });
}

/// Limits locked memory to `bytes`, as a user whom limits bind.
fn limit_memlock(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the limit lives through the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
    if rustix::process::geteuid().is_root() {
        // SAFETY: no memory is involved. The C library sets all threads of this process.
        assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
    }
}
