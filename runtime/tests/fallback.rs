//! What happens where the kernel, or who runs it, gives no ring: in child processes, under real limits.
//!
//! A parent test runs this same program again with one test named and `ROLE` set; that test, which
//! does nothing otherwise, puts the limit on itself and tells on standard output how it went.
//! The sysctl `kernel.io_uring_disabled` is the whole machine's, so it is not tried here.

#![allow(unsafe_code, reason = "limits a child process by system calls")]

use std::process::Command;

use ringway::net::{TcpListener, TcpStream};
use ringway::{Backend, Builder, Runtime};

const ROLE: &str = "RINGWAY_TEST_ROLE";
const NOBODY: u32 = 65_534;

#[test]
fn a_filter_that_forbids_set_up_leads_to_epoll() {
    let told = child("seccomp_setup", &[]);
    assert_no_ring(&told, "io_uring setup: ", "seccomp");
}

#[test]
fn a_filter_that_hides_io_uring_leads_to_epoll() {
    let told = child("seccomp_enosys", &[]);
    assert_no_ring(&told, "io_uring setup: ", "a kernel without io_uring, or a seccomp filter");
}

#[test]
fn a_filter_that_allows_set_up_and_forbids_use_leads_to_epoll() {
    let told = child("seccomp_enter", &[]);
    if told.contains("io_uring setup") {
        return eprintln!("SKIPPED: no ring in the first place");
    }
    assert_no_ring(&told, "io_uring enter: ", "seccomp");
}

#[test]
fn no_locked_memory_leads_to_epoll() {
    let told = child("memlock_none", &[]);
    if told.contains("AUTO uring") {
        return eprintln!("SKIPPED: this kernel does not charge rings as locked memory");
    }
    assert_no_ring(&told, "io_uring ", "RLIMIT_MEMLOCK");
}

#[test]
fn little_locked_memory_leads_to_a_smaller_ring() {
    let told = child("memlock_little", &[]);
    if told.contains("ring of 256 entries") {
        return eprintln!("SKIPPED: this kernel does not charge rings as locked memory");
    }
    if told.contains("AUTO epoll") {
        return assert!(told.contains("no ring: "), "{told}");
    }
    // The second ring may come too soon for what the first was charged to be given back.
    assert!(told.contains("AUTO uring (chosen by probing), ring of "), "{told}");
}

#[test]
fn the_environment_forces_a_backend() {
    for name in ["uring", "hybrid", "epoll"] {
        let told = child("environment", &[("RINGWAY_BACKEND", name)]);
        let forced = format!("AUTO {name} (asked for by RINGWAY_BACKEND)");
        let impossible = format!("AUTO failed: backend {name}");
        assert!(told.contains(&forced) || told.contains(&impossible), "{told}");
    }
    let told = child("environment", &[("RINGWAY_BACKEND", "auto")]);
    assert!(told.contains("(chosen by probing)"), "{told}");
    let told = child("environment", &[("RINGWAY_BACKEND", "kqueue")]);
    assert!(told.contains("AUTO failed: ") && told.contains("kqueue"), "{told}");
}

#[test]
fn the_builder_overrides_the_environment() {
    let told = child("builder", &[("RINGWAY_BACKEND", "nonsense")]);
    assert!(told.contains("epoll (asked for by the program)"), "{told}");
}

fn assert_no_ring(told: &str, step: &str, cause: &str) {
    assert!(told.contains("AUTO epoll (chosen by probing)"), "{told}");
    assert!(told.contains(step) && told.contains(cause), "{told}");
    assert!(told.contains("FORCED failed: backend uring"), "{told}");
}

/// Runs [`the_child`] in a process of its own and gives what it tells.
fn child(role: &str, env: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child", "--nocapture", "--test-threads=1"])
        .env_remove("RINGWAY_BACKEND")
        .envs(env.iter().copied())
        .env(ROLE, role)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{log}");
    told
}

#[test]
fn the_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.as_str() {
        "seccomp_setup" => forbid(libc::SYS_io_uring_setup, libc::EPERM),
        "seccomp_enosys" => forbid(libc::SYS_io_uring_setup, libc::ENOSYS),
        "seccomp_enter" => forbid(libc::SYS_io_uring_enter, libc::EPERM),
        "memlock_none" => limit_memlock(0),
        // Enough for a ring of 64 entries, not for one of 256.
        "memlock_little" => limit_memlock(24 << 10),
        "builder" => {
            let rt = Builder::new().backend(Backend::Epoll).build().unwrap();
            println!("{}", rt.features());
        }
        _ => {}
    }
    match Builder::new().build() {
        Ok(rt) => {
            serve(&rt);
            println!("AUTO {}", rt.features());
        }
        Err(error) => println!("AUTO failed: {error}"),
    }
    match Builder::new().backend(Backend::Uring).build() {
        Ok(rt) => {
            serve(&rt);
            println!("FORCED works");
        }
        Err(error) => println!("FORCED failed: {error}"),
    }
}

/// Sockets and files work.
fn serve(rt: &Runtime) {
    rt.block_on(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let connecting = ringway::spawn(TcpStream::connect(listener.local_addr().unwrap()));
        let (server, _) = listener.accept().await.unwrap();
        let client = connecting.await.unwrap().unwrap();
        let echo = ringway::spawn(async move {
            let (received, buf) = server.recv_exact(vec![0; 5]).await;
            received.unwrap();
            server.send_all(buf).await.0
        });
        client.send_all(b"hello".as_slice()).await.0.unwrap();
        let (received, buf) = client.recv_exact(vec![0; 5]).await;
        received.unwrap();
        assert_eq!(buf, b"hello");
        echo.await.unwrap().unwrap();
        let root = ringway::fs::Dir::open_ambient("/").unwrap();
        assert!(root.as_file().read_dir(Vec::with_capacity(4096)).await.0.unwrap() > 0);
    });
}

/// Makes system call `number` fail with `errno` on this thread and those it starts.
fn forbid(number: libc::c_long, errno: i32) {
    let step =
        |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let answer = libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut program = [
        // The number of the system call is the first word of what a filter looks at.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, answer),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter lives through the call, which copies it.
    let set = unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
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
