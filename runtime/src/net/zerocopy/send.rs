//! The ladder of one zero-copy send.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use tracing::debug;

use super::budget::Charge;
use super::message::{Outgoing, Part, Payload};
use super::notify::{Hold, Log, ZcNotify, ZcSent, ZcUsage};
use crate::buf::{IoBuf, IoBufs};
use crate::cancel;
use crate::net::socket::Socket;
use crate::runtime::{self, Core};

/// Sends some of `buf`'s initialised bytes.
pub(crate) async fn send<B: IoBuf>(socket: &Socket, buf: B) -> ZcSent<B> {
    let core = runtime::current();
    if !core.zero_copy.is_worth(buf.bytes_init()) {
        // Nearly as cheap as a plain send.
        let (result, buf) = socket.send(buf, 0).await;
        let mut log = Log::default();
        if result.is_ok() {
            core.zero_copy.count(|tally| &mut tally.plain);
            log.note(ZcUsage::Copied);
        }
        return ZcSent { result, notify: ZcNotify::new(Rc::new(buf), log) };
    }
    let buf = Rc::new(buf);
    let payload = Payload::one(&buf);
    some(socket, buf, payload).await
}

/// Sends all of `buf`'s initialised bytes as one datagram.
pub(crate) async fn send_datagram<B: IoBuf>(socket: &Socket, buf: B) -> ZcSent<B> {
    let buf = Rc::new(buf);
    let mut sending = Sending::new(socket, Payload::one(&buf));
    sending.whole = true;
    let result = sending.send(0, 0).await;
    sending.end(buf, result)
}

/// Sends some of the initialised bytes of `bufs`, in order.
pub(crate) async fn send_msg<V: IoBufs>(socket: &Socket, bufs: V) -> ZcSent<V> {
    let bufs = Rc::new(bufs);
    let payload = Payload::several(&bufs);
    some(socket, bufs, payload).await
}

/// Sends all of `buf`'s initialised bytes.
pub(crate) async fn send_all<B: IoBuf>(socket: &Socket, buf: B) -> ZcSent<B> {
    let buf = Rc::new(buf);
    let payload = Payload::one(&buf);
    all(socket, buf, payload).await
}

/// Sends all of the initialised bytes of `bufs`, in order.
pub(crate) async fn send_msg_all<V: IoBufs>(socket: &Socket, bufs: V) -> ZcSent<V> {
    let bufs = Rc::new(bufs);
    let payload = Payload::several(&bufs);
    all(socket, bufs, payload).await
}

async fn some<T: 'static>(socket: &Socket, buf: Rc<T>, payload: Payload) -> ZcSent<T> {
    let mut sending = Sending::new(socket, payload);
    let result = sending.send(0, 0).await;
    sending.end(buf, result)
}

async fn all<T: 'static>(socket: &Socket, buf: Rc<T>, payload: Payload) -> ZcSent<T> {
    let mut sending = Sending::new(socket, payload);
    let (mut done, total) = (0, sending.payload.total());
    let result = loop {
        if done == total {
            break Ok(total);
        }
        // The kernel goes on by itself after a short send, where it can.
        match sending.send(done, libc::MSG_WAITALL).await {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => done += sent,
            Err(error) => break Err(error),
        }
    };
    sending.end(buf, result)
}

/// A way to send, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// On the ring, out of the registered buffer of this number.
    Fixed(u16),
    Ring,
    ErrorQueue,
    Plain,
}

/// One call.
struct Sending<'a> {
    core: Rc<Core>,
    socket: &'a Socket,
    payload: Payload,
    /// What does not fit into the budgets is copied, and not cut.
    whole: bool,
    log: Log,
}

impl<'a> Sending<'a> {
    fn new(socket: &'a Socket, payload: Payload) -> Self {
        Self { core: runtime::current(), socket, payload, whole: false, log: Log::default() }
    }

    fn end<T>(self, buf: Rc<T>, result: io::Result<usize>) -> ZcSent<T> {
        let Self { payload, log, .. } = self;
        drop(payload);
        ZcSent { result, notify: ZcNotify::new(buf, log) }
    }

    /// Sends some of the bytes from `skip` on, by the first way that takes them.
    async fn send(&mut self, skip: usize, ring_flags: i32) -> io::Result<usize> {
        if let Some(error) = self.socket.zero_copy().queue.take_error() {
            return Err(error);
        }
        let left = self.payload.total() - skip;
        let room = self.core.zero_copy.room(&self.socket.zero_copy().account, left);
        let room = room.filter(|&room| room == left || !self.whole);
        if room.is_none() {
            self.tell_why_not(left);
        }
        let mut part = self.payload.part(skip, room.unwrap_or(left));
        let cut = self.core.ops.cut(part.kind(), part.len());
        if cut < part.len() && !self.whole {
            part = self.payload.part(skip, cut);
        }
        for way in self.ways(&part, room.is_some()) {
            if cancel::is_cancelled() {
                return Err(io::Error::from_raw_os_error(libc::ECANCELED));
            }
            match self.by(way, &part, ring_flags).await {
                Err(error) if way != Way::Plain && is_refusal(&error) => {
                    self.refused(way, &part, &error);
                }
                result => return result.inspect(|_| self.count(way)),
            }
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    /// By one way, again if that was interrupted.
    async fn by(&mut self, way: Way, part: &Part, ring_flags: i32) -> io::Result<usize> {
        loop {
            let result = match way {
                Way::Fixed(place) => self.on_ring(part, Some(place), ring_flags).await,
                Way::Ring => self.on_ring(part, None, ring_flags).await,
                Way::ErrorQueue => self.by_error_queue(part).await,
                Way::Plain => self.plainly(part).await,
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// The ways in the order of trying. The last is always [`Way::Plain`].
    fn ways(&self, part: &Part, zero_copy: bool) -> impl Iterator<Item = Way> + use<> {
        let side = self.socket.zero_copy();
        let ring =
            zero_copy && !side.account.off_ring.get() && self.core.ops.has_multi(part.kind());
        let fixed = part.registered_with(&self.core).filter(|_| ring);
        let error_queue = zero_copy && self.core.zero_copy.error_queue;
        let refused = (ring || error_queue) && self.core.ops.refuses();
        if refused {
            self.core.zero_copy.count(|tally| &mut tally.refused);
        }
        let ways = [
            fixed.map(Way::Fixed),
            ring.then_some(Way::Ring),
            error_queue.then_some(Way::ErrorQueue),
            Some(Way::Plain),
        ];
        ways.into_iter().flatten().skip(usize::from(refused))
    }

    async fn on_ring(&mut self, part: &Part, fixed: Option<u16>, flags: i32) -> io::Result<usize> {
        let outgoing = Outgoing::new(self.socket, &self.payload, part);
        let mut multi = outgoing.send_on_ring(fixed, flags, self.charge(part));
        let first = poll_fn(|cx| multi.poll_next(cx)).await;
        // An error, too, can leave a notification to wait for: `more` alone says.
        self.log.hold(Hold::Ring(Some(multi)));
        let first = first.ok_or_else(|| io::Error::from_raw_os_error(libc::ECANCELED))?;
        first.result().map(|sent| sent as usize)
    }

    async fn by_error_queue(&mut self, part: &Part) -> io::Result<usize> {
        let queue = &self.socket.zero_copy().queue;
        if !queue.is_usable(self.socket) {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        let charge = self.charge(part);
        queue.send(&self.core, self.socket, &self.payload, part, charge, &mut self.log).await
    }

    async fn plainly(&mut self, part: &Part) -> io::Result<usize> {
        let outgoing = Outgoing::new(self.socket, &self.payload, part);
        // Many bytes are copied while the core may still have them at hand, and not after whatever else it does until
        // the ring is entered.
        let sent = match self.core.zero_copy.is_worth(part.len()) {
            true => outgoing.send_now().await?,
            false => outgoing.send().await?,
        };
        self.log.note(ZcUsage::Copied);
        Ok(sent)
    }

    fn charge(&self, part: &Part) -> Charge {
        Charge::new(&self.core.zero_copy, &self.socket.zero_copy().account, part.len())
    }

    fn count(&self, way: Way) {
        self.core.zero_copy.count(|tally| match way {
            Way::Fixed(_) => &mut tally.fixed,
            Way::Ring => &mut tally.ring,
            Way::ErrorQueue => &mut tally.error_queue,
            Way::Plain => &mut tally.plain,
        });
    }

    /// Why so many bytes are copied: nothing is said of few.
    fn tell_why_not(&self, bytes: usize) {
        let account = &self.socket.zero_copy().account;
        if account.off.get() {
            if !account.told_off.replace(true) {
                let fd = self.socket.as_raw_fd();
                debug!(fd, "a socket's sends were copied all the same, so zero copy is off there");
            }
        } else if self.core.zero_copy.is_worth(bytes)
            && !self.core.zero_copy.told.over_budget.replace(true)
        {
            let fd = self.socket.as_raw_fd();
            debug!(fd, bytes, "a budget for zero copy is used up, so bytes are copied");
        }
    }

    fn tell_refusal(&self, way: Way, part: &Part, error: &io::Error) {
        let told = &self.core.zero_copy.told;
        let (rung, told) = match way {
            Way::Fixed(_) | Way::Ring => ("ring", &told.refused_on_ring),
            Way::ErrorQueue | Way::Plain => ("error queue", &told.refused_by_queue),
        };
        if !told.replace(true) {
            let (op, errno) = (part.kind(), error.raw_os_error());
            debug!(?op, rung, errno, "a zero-copy send was refused, and goes another way");
        }
    }

    fn refused(&self, way: Way, part: &Part, error: &io::Error) {
        self.core.zero_copy.count(|tally| &mut tally.refused);
        self.tell_refusal(way, part, error);
        // Said of the kind of socket, and not of this send.
        if way == Way::Ring && error.raw_os_error() == Some(libc::EOPNOTSUPP) {
            self.socket.zero_copy().account.off_ring.set(true);
        }
    }
}

/// Whether an error says nothing about the connection, only that these bytes cannot go this way. Nothing
/// went out then.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            // A socket or an opcode without such a form.
            libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS
            // Limits: locked memory; the socket's memory for notifications.
            | libc::ENOMEM | libc::ENOBUFS
            // Memory that cannot be pinned may still be read.
            | libc::EFAULT
        )
    )
}
