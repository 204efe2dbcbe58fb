//! Zero-copy sends through devices that do not copy: there they are zero-copy sends, by the kernel's own
//! word, and stay so.
//!
//! Datagrams go into a dummy device, a stream to a sink on another host (`support/sink.rs`). Where there
//! is no such thing a trial is ignored, and says why; the guests of `./dev kernels` have both.

#[path = "support/sink.rs"]
mod sink;
mod support;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use libtest_mimic::{Arguments, Completion, Trial};
use ringway::buf::{FixedPool, IoBuf};
use ringway::net::{TcpStream, UdpSocket, ZcSent, ZcUsage};
use ringway::time::timeout;
use ringway::{Backend, Builder, Feature, Mask, OpKind, Policy, Rung, Runtime, ZeroCopyPolicy};
use support::emulated::is_emulated;
use support::pattern;

fn main() -> ExitCode {
    let mut trials = vec![on_dummy(PLAIN, "the_kernel_tells_nothing", MTU, plainly)];
    for way in WAYS {
        trials.extend([
            on_dummy(way, "datagrams_go_out_uncopied", MTU, datagrams),
            on_dummy(way, "many_datagrams_go_out_at_a_time", MTU, many_datagrams),
            on_dummy(way, "a_capture_sees_what_was_sent_and_makes_it_a_copy", MTU, captured),
            on_dummy(way, "datagrams_longer_than_a_packet_are_copied", 1500, in_fragments),
            on_loopback(way, "datagrams_on_loopback_are_copied_until_they_are_plain"),
            to_tcp_sink(way, "a_stream_goes_out_uncopied", stream),
            to_tcp_sink(way, "many_streams_go_out_at_a_time", many_of_streams),
        ]);
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// How bytes are to go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// `SEND_ZC`.
    Ring,
    /// `SEND_ZC` out of a registered buffer.
    Fixed,
    /// `MSG_ZEROCOPY`.
    ErrorQueue,
    Plain,
}

type Way = (Backend, How);

const WAYS: [Way; 7] = [
    (Backend::Uring, How::Ring),
    (Backend::Uring, How::Fixed),
    (Backend::Uring, How::ErrorQueue),
    (Backend::Hybrid, How::Ring),
    (Backend::Hybrid, How::Fixed),
    (Backend::Hybrid, How::ErrorQueue),
    (Backend::Epoll, How::ErrorQueue),
];

const PLAIN: Way = (Backend::Auto, How::Plain);

/// Of the dummy device: enough for the longest datagram of IPv4.
const MTU: u32 = 65_535;

/// The longest datagram of IPv4.
const DATAGRAM: usize = 65_507;

const LONG: Duration = Duration::from_secs(20);

fn on_dummy(way: Way, name: &str, mtu: u32, run: fn(&Stage)) -> Trial {
    trial(way, name, move || {
        let ran = sink::with_dummy(mtu, || Stage::new(way).map(|stage| run(&stage)));
        // The guests of `./dev kernels` have the device.
        assert!(ran.is_ok() || !is_emulated(), "{ran:?}");
        ran.and_then(|ran| ran)
    })
}

fn on_loopback(way: Way, name: &str) -> Trial {
    trial(way, name, move || Stage::new(way).map(|stage| loopback(&stage)))
}

fn to_tcp_sink(way: Way, name: &str, run: fn(&Stage, SocketAddr)) -> Trial {
    trial(way, name, move || {
        run(&Stage::new(way)?, sink::tcp()?);
        Ok(())
    })
}

/// A trial fails by panicking; an error of `run` says why it could not run.
fn trial(
    (backend, how): Way,
    name: &str,
    run: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(format!("{backend}::{how:?}::{name}"), || {
        Ok(run().map_or_else(Completion::ignored_with, |()| Completion::Completed))
    })
}

fn policy() -> Policy {
    // What is left of a short send is not to be copied either.
    Policy::new().zero_copy(ZeroCopyPolicy { threshold: 1, ..ZeroCopyPolicy::default() })
}

/// A runtime that sends one way.
struct Stage {
    how: How,
    rt: Runtime,
}

impl Stage {
    /// # Errors
    /// What this kernel lacks.
    fn new((backend, how): Way) -> Result<Self, String> {
        let no_ring = Mask::none().without_on_ring(OpKind::SendZc);
        let mask = match how {
            How::Ring | How::Fixed => Mask::none(),
            How::ErrorQueue => no_ring,
            How::Plain => no_ring.without(Feature::MsgZerocopy),
        };
        let built = Builder::new().backend(backend).mask(mask).policy(policy()).build();
        let rt = built.map_err(|error| error.to_string())?;
        let on_ring = rt.features().rungs(OpKind::SendZc).any(|rung| rung == Rung::Ring);
        let needed: &[Feature] = match how {
            How::Ring | How::Fixed if !on_ring => return Err("the ring has no SendZc".into()),
            How::Ring => &[Feature::ReportUsage],
            How::Fixed => &[Feature::ReportUsage, Feature::FixedBuffers],
            How::ErrorQueue => &[Feature::MsgZerocopy],
            How::Plain => &[],
        };
        match needed.iter().find(|&&feature| !rt.features().has(feature)) {
            Some(missing) => Err(format!("this kernel has no {missing:?}")),
            None => Ok(Self { how, rt }),
        }
    }

    /// Sends `len` bytes `count` times, to each of `to` in turn, all of them before a notification is waited for. Each buffer comes
    /// back as it was; what was told of each.
    async fn send(&self, to: &[impl Sends], len: usize, count: usize) -> Vec<ZcUsage> {
        let expected = pattern(len);
        if self.how != How::Fixed {
            return check(to, vec![expected.clone(); count], &expected).await;
        }
        let pool = FixedPool::new(count, len).unwrap();
        assert!(pool.is_registered());
        let mut bufs: Vec<_> = (0..count).map(|_| pool.try_get().unwrap()).collect();
        bufs.iter_mut().for_each(|buf| buf.extend_from_slice(&expected));
        check(to, bufs, &expected).await
    }

    /// Checks the metrics: so many sends went this way, of which the kernel said that it did not copy, or
    /// did; and so many were plain ones.
    fn expect(&self, this_way: u64, told: [u64; 2], plain: u64) {
        let tally = self.rt.metrics().zero_copy;
        let found = (self.sent(), [tally.uncopied, tally.copied], tally.plain);
        assert_eq!(found, (this_way, told, plain), "{tally:?}");
        let switches_off = tally.copied >= ZeroCopyPolicy::default().copied_limit.into();
        assert_eq!((tally.switched_off, tally.refused), (switches_off.into(), 0), "{tally:?}");
        assert_eq!(self.rt.metrics().zero_copy_bytes, 0);
    }

    /// How many sends went this way.
    fn sent(&self) -> u64 {
        let tally = self.rt.metrics().zero_copy;
        match self.how {
            How::Ring => tally.ring,
            How::Fixed => tally.fixed,
            How::ErrorQueue => tally.error_queue,
            How::Plain => 0,
        }
    }
}

async fn check<B>(to: &[impl Sends], bufs: Vec<B>, expected: &[u8]) -> Vec<ZcUsage>
where
    B: IoBuf + Deref<Target = [u8]>,
{
    let mut usages = Vec::new();
    let sends = bufs.into_iter().zip(to.iter().cycle()).map(|(buf, to)| to.send_zc(buf));
    for ZcSent { result, notify } in join_all(sends).await {
        assert_eq!(result.unwrap(), expected.len());
        let done = timeout(LONG, notify).await.expect("the notification did not come");
        assert!(*done.buf == *expected, "the buffer was changed");
        usages.push(done.usage);
    }
    usages
}

/// Sends all of a buffer.
trait Sends {
    async fn send_zc<B: IoBuf>(&self, buf: B) -> ZcSent<B>;
}

impl Sends for UdpSocket {
    async fn send_zc<B: IoBuf>(&self, buf: B) -> ZcSent<B> {
        Self::send_zc(self, buf).await
    }
}

impl Sends for TcpStream {
    async fn send_zc<B: IoBuf>(&self, buf: B) -> ZcSent<B> {
        self.send_zc_all(buf).await
    }
}

async fn socket(to: SocketAddr) -> [UdpSocket; 1] {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    socket.connect(to).await.unwrap();
    [socket]
}

fn datagrams(stage: &Stage) {
    stage.rt.block_on(async {
        let socket = socket(sink::BEHIND_DUMMY).await;
        for _ in 0..20 {
            assert_eq!(stage.send(&socket, DATAGRAM, 1).await, [ZcUsage::ZeroCopy]);
        }
    });
    stage.expect(20, [20, 0], 0);
}

fn many_datagrams(stage: &Stage) {
    stage.rt.block_on(async {
        let socket = socket(sink::BEHIND_DUMMY).await;
        for _ in 0..3 {
            assert_eq!(stage.send(&socket, DATAGRAM, 64).await, [ZcUsage::ZeroCopy; 64]);
        }
    });
    stage.expect(192, [192, 0], 0);
}

fn plainly(stage: &Stage) {
    stage.rt.block_on(async {
        let socket = socket(sink::BEHIND_DUMMY).await;
        assert_eq!(stage.send(&socket, DATAGRAM, 8).await, [ZcUsage::Copied; 8]);
    });
    stage.expect(0, [0, 0], 8);
}

fn captured(stage: &Stage) {
    let mut capture = sink::capture().unwrap();
    capture.set_read_timeout(Some(LONG)).unwrap();
    stage.rt.block_on(async {
        let socket = socket(sink::BEHIND_DUMMY).await;
        assert_eq!(stage.send(&socket, DATAGRAM, 1).await, [ZcUsage::Copied]);
    });
    stage.expect(1, [0, 1], 0);
    let mut packet = vec![0; 1 << 17];
    // The kernel says a few things by itself. Ours has the heads of IPv4 and of UDP.
    while capture.read(&mut packet).unwrap() != 28 + DATAGRAM {}
    assert!(packet[28..][..DATAGRAM] == *pattern(DATAGRAM), "it went out changed");
}

fn in_fragments(stage: &Stage) {
    stage.rt.block_on(async {
        let socket = socket(sink::BEHIND_DUMMY).await;
        assert_eq!(stage.send(&socket, DATAGRAM, 1).await, [ZcUsage::Copied]);
    });
    stage.expect(1, [0, 1], 0);
}

fn loopback(stage: &Stage) {
    stage.rt.block_on(async {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let socket = socket(server.local_addr().unwrap()).await;
        for _ in 0..12 {
            assert_eq!(stage.send(&socket, DATAGRAM, 1).await, [ZcUsage::Copied]);
        }
    });
    stage.expect(8, [0, 8], 4);
}

fn stream(stage: &Stage, sink: SocketAddr) {
    on_streams(stage, sink, 1);
}

fn many_of_streams(stage: &Stage, sink: SocketAddr) {
    on_streams(stage, sink, 16);
}

/// One send at a time on each of so many streams, less than the window that peers have without scaling it.
///
/// More than that at a time is not always reported as uncopied. A window that closes within a send can
/// leave a few bytes of it for a packet of their own, which a driver may take for a head, and copy:
/// vmxnet3's does up to 128 bytes, of which 54 are one. And since 6.10 the notifications of a ring's sends
/// that share a packet are chained, and only the first of a chain hears that nothing was copied.
fn on_streams(stage: &Stage, sink: SocketAddr, count: usize) {
    stage.rt.block_on(async {
        let streams = join_all((0..count).map(|_| TcpStream::connect(sink))).await;
        let streams: Vec<_> = streams.into_iter().map(Result::unwrap).collect();
        for _ in 0..10 {
            let usages = stage.send(&streams, 60_000, count).await;
            let tally = stage.rt.metrics().zero_copy;
            assert_eq!(usages, vec![ZcUsage::ZeroCopy; count], "{tally:?}");
        }
    });
    // Without a ring, a send takes as many as there is room for in the socket's buffer.
    let sent = stage.sent();
    assert!(sent >= 10 * count as u64);
    stage.expect(sent, [sent, 0], 0);
}
