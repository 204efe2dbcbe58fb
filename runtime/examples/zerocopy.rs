//! The benchmark that came with io_uring's zero-copy sends (Begunkov's RFC of 2021): sends into a sink,
//! plain and uncopied, one, 8 and 64 at a time: `cargo run --release -p ringway --example zerocopy`.
//!
//! Datagrams go into a dummy device, which needs root and the kernel's module of that name; a stream goes
//! to the server that `RINGWAY_TEST_SINK=ADDRESS:PORT` names, on another host. Each round of sends is
//! submitted before the first of its notifications is waited for, and the next round after the last.
//!
//! In an emulated guest the times mean nothing; the share that was copied, by the kernel's word, does.

#[path = "../tests/support/sink.rs"]
mod sink;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ringway::buf::{FixedPool, IoBuf};
use ringway::net::{TcpStream, UdpSocket, ZcUsage};
use ringway::{Builder, Feature, Mask, OpKind, Policy, Rung, Runtime, ZeroCopyPolicy};

/// The longest datagram of IPv4, and the least MTU that takes it.
const DATAGRAM: usize = 65_507;
const MTU: u32 = 65_535;

/// One send of a stream.
const PIECE: usize = 64 << 10;

const AT_A_TIME: [usize; 3] = [1, 8, 64];
const A_ROW_TAKES: Duration = Duration::from_millis(500);

fn main() {
    println!("Datagrams of {DATAGRAM} bytes to a dummy device:");
    sink::with_dummy(MTU, || rows(To::Dummy))
        .unwrap_or_else(|reason| println!("  not here: {reason}"));
    println!("Sends of {PIECE} bytes of a stream to another host:");
    match sink::tcp() {
        Ok(server) => rows(To::Server(server)),
        Err(reason) => println!("  not here: {reason}"),
    }
}

#[derive(Clone, Copy)]
enum To {
    Dummy,
    Server(SocketAddr),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    MsgZerocopy,
    SendZc,
    SendZcFixed,
}

fn rows(to: To) {
    for how in [How::Plain, How::MsgZerocopy, How::SendZc, How::SendZcFixed] {
        for at_a_time in AT_A_TIME {
            println!("  {}, {at_a_time} at a time: {}", how.name(), row(to, how, at_a_time));
        }
    }
}

fn row(to: To, how: How, at_a_time: usize) -> String {
    match how.runtime() {
        Ok(runtime) => match runtime.block_on(run(to, how, at_a_time)) {
            Ok(tally) => tally.told(how),
            Err(error) => error.to_string(),
        },
        Err(reason) => reason,
    }
}

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::MsgZerocopy => "MSG_ZEROCOPY",
            Self::SendZc => "SEND_ZC",
            Self::SendZcFixed => "SEND_ZC out of registered buffers",
        }
    }

    /// A runtime that sends this way and no other.
    ///
    /// # Errors
    /// What this kernel lacks.
    fn runtime(self) -> Result<Runtime, String> {
        let mask = match self {
            Self::MsgZerocopy => Mask::none().without_on_ring(OpKind::SendZc),
            _ => Mask::none(),
        };
        let zero_copy =
            ZeroCopyPolicy { threshold: 1, copied_limit: u32::MAX, ..ZeroCopyPolicy::default() };
        let builder = Builder::new().mask(mask).policy(Policy::new().zero_copy(zero_copy));
        let runtime = builder.build().map_err(|error| error.to_string())?;
        let features = runtime.features();
        let has = match self {
            Self::Plain => true,
            Self::MsgZerocopy => features.has(Feature::MsgZerocopy),
            Self::SendZc => features.rungs(OpKind::SendZc).any(|rung| rung == Rung::Ring),
            Self::SendZcFixed => features.has(Feature::FixedBuffers),
        };
        let missing = || format!("not here: no {}", self.name());
        has.then_some(runtime).ok_or_else(missing)
    }
}

/// What a row has come to.
#[derive(Default)]
struct Tally {
    sends: u32,
    copied: u32,
    unknown: u32,
    elapsed: Duration,
}

impl Tally {
    fn told(&self, how: How) -> String {
        let rate = f64::from(self.sends) / self.elapsed.as_secs_f64();
        match (how, self.unknown) {
            (How::Plain, _) => format!("{rate:.0}/s"),
            (_, 0) => format!("{rate:.0}/s, {} of {} copied", self.copied, self.sends),
            _ => format!("{rate:.0}/s, copied or not: the kernel does not say"),
        }
    }

    fn count(&mut self, usage: ZcUsage) {
        self.sends += 1;
        self.copied += u32::from(usage == ZcUsage::Copied);
        self.unknown += u32::from(usage == ZcUsage::Unknown);
    }
}

async fn run(to: To, how: How, at_a_time: usize) -> io::Result<Tally> {
    let (connection, len) = match to {
        To::Dummy => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
            socket.connect(sink::BEHIND_DUMMY).await?;
            (Connection::Udp(socket), DATAGRAM)
        }
        To::Server(server) => (Connection::Tcp(TcpStream::connect(server).await?), PIECE),
    };
    let bytes = vec![b'z'; len];
    if how != How::SendZcFixed {
        return rounds(&connection, how, vec![bytes; at_a_time]).await;
    }
    let pool = FixedPool::new(at_a_time, len)?;
    let mut bufs = Vec::new();
    while let Some(mut buf) = pool.try_get() {
        buf.extend_from_slice(&bytes);
        bufs.push(buf);
    }
    rounds(&connection, how, bufs).await
}

async fn rounds<B: IoBuf>(to: &Connection, how: How, mut bufs: Vec<B>) -> io::Result<Tally> {
    let (mut tally, began) = (Tally::default(), Instant::now());
    while began.elapsed() < A_ROW_TAKES {
        bufs = match how {
            How::Plain => plain_round(to, bufs, &mut tally).await?,
            _ => zero_copy_round(to, bufs, &mut tally).await?,
        };
    }
    tally.elapsed = began.elapsed();
    Ok(tally)
}

// The sends of a round to a stream may mix: a sink does not mind.

async fn plain_round<B: IoBuf>(
    to: &Connection,
    bufs: Vec<B>,
    tally: &mut Tally,
) -> io::Result<Vec<B>> {
    let sends = bufs.into_iter().map(|buf| async {
        match to {
            Connection::Udp(socket) => {
                let (result, buf) = socket.send(buf).await;
                (result.map(drop), buf)
            }
            Connection::Tcp(stream) => stream.send_all(buf).await,
        }
    });
    let done = join_all(sends).await.into_iter();
    done.map(|(result, buf)| result.map(|()| tally.count(ZcUsage::Copied)).map(|()| buf)).collect()
}

async fn zero_copy_round<B: IoBuf>(
    to: &Connection,
    bufs: Vec<B>,
    tally: &mut Tally,
) -> io::Result<Vec<B>> {
    let sends = bufs.into_iter().map(|buf| async {
        match to {
            Connection::Udp(socket) => socket.send_zc(buf).await,
            Connection::Tcp(stream) => stream.send_zc_all(buf).await,
        }
    });
    let mut back = Vec::new();
    for sent in join_all(sends).await {
        sent.result?;
        let done = sent.notify.await;
        tally.count(done.usage);
        back.push(done.buf);
    }
    Ok(back)
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
}
