//! Whether pages of the cache can go out under a signature, or be sealed from there: only if they cannot change between the
//! signature and their arrival, or until they have been copied. Nobody may have the file open for writing, here or
//! elsewhere on this host, which a lease of the kernel sees to; and where the pages themselves go out, the receiver has to
//! be on another host, for the queue of one on this host would share them.
//!
//! When somebody wants to write, what is to be copied is copied at once, and the pages that are on their way are waited for;
//! then he may. A client that does not take them loses its connection before the kernel would let the writer in unasked.

use std::cell::{Cell, RefCell};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::select;
use ringway::fs::File;
use ringway::net::TcpStream;
use ringway::time::sleep;

use crate::cores;
use crate::protocol::Protection;
use crate::signal::Signal;
use crate::state::{FileOpen, KernelLease, Leased, Open, Server};
use crate::transport::{Leased as LeasedBytes, Pin, Until, is_near, is_off_host};

use super::Source;
use super::plan::{LOOKED_AT_IN_PLACE_MIN, TEED_READ_MIN};

/// How often it is looked whether what was sent has arrived, while nobody waits for that. Until then a file that was
/// closed stays open.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The same while somebody waits to write.
const LOOK_OFTEN: Duration = Duration::from_millis(1);

/// How long a connection that ends may take to send what it still has.
const END_LIMIT: Duration = Duration::from_secs(10);

/// File systems whose leases know of every writer, by their numbers (statfs(2)): not those that other hosts write to,
/// nor those that lie on another, which may be written to beside them.
const WITH_LEASES: [u64; 5] = [
    0xef53,      // ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x0102_1994, // tmpfs
];

/// The other end of a connection, and what of files is on its way there.
#[derive(Debug)]
pub struct Receiver {
    stream: Rc<TcpStream>,
    peer: SocketAddr,
    server: Arc<Server>,
    is_near: bool,
    /// What is sent leaves this host; `None`: nobody has asked yet.
    is_off_host: Cell<Option<bool>>,
    /// Bytes that the kernel has been given for it.
    sent: Cell<u64>,
    on_the_way: RefCell<Vec<OnTheWay>>,
    is_watched: Cell<bool>,
    /// Nothing is sent any more.
    has_ended: Cell<bool>,
    look: Signal,
}

#[derive(Debug)]
struct OnTheWay {
    pin: Rc<Pin>,
    lease: Arc<KernelLease>,
}

/// Pages that stay as they are for as long as they are on their way under this pin.
#[derive(Debug)]
pub(super) struct Stable {
    pub(super) pin: Rc<Pin>,
    lease: Arc<KernelLease>,
}

impl Stable {
    /// A range of the file, to be signed or sealed where it is.
    pub(super) fn map(
        &self,
        file: &File,
        range: (u64, usize),
        is_kept: bool,
    ) -> Option<LeasedBytes> {
        let (lease, pin) = (Arc::<KernelLease>::clone(&self.lease), Rc::clone(&self.pin));
        LeasedBytes::new(lease, is_kept.then(|| self.lease.mappings()), file, range, pin)
    }
}

/// Has the pages of what a READ wants stay as they are; `None` if nothing comes of that, or they may change.
pub(super) async fn pages(source: &Source, file: &FileOpen, can_be_mapped: bool) -> Option<Stable> {
    let message = &source.message;
    let on_disk = file.handle.file()?;
    if !message.alone || (source.length as usize) < TEED_READ_MIN {
        return None;
    }
    let until = match message.protection {
        Protection::Plain => return None,
        Protection::Signed => source.receiver.until().await,
        // Those who could help do more.
        Protection::Sealed if cores::has_help() => return None,
        Protection::Sealed => Until::Sent,
    };
    let is_long = source.length as usize >= LOOKED_AT_IN_PLACE_MIN;
    if until == Until::Sent && !(can_be_mapped && is_long) {
        return None;
    }
    let lease = match file.leasing.next_read() {
        Leased::Yes(lease) => lease,
        Leased::NotYet => source.receiver.lease(&source.open, file, on_disk).await?,
        Leased::No => return None,
    };
    match message.protection {
        // It is sealed before this core does anything else, and then is nobody's but the client's.
        Protection::Sealed => Some(Stable { pin: Rc::new(Pin::new(until)), lease }),
        _ => source.receiver.pin(lease, until),
    }
}

impl Receiver {
    /// `assumed_off_host`: it counts as on another host, whatever the routes say.
    #[must_use]
    pub fn new(
        stream: Rc<TcpStream>,
        peer: SocketAddr,
        server: Arc<Server>,
        assumed_off_host: bool,
    ) -> Rc<Self> {
        let is_near = is_near(&stream);
        let known = assumed_off_host || is_near;
        Rc::new(Self {
            is_near,
            stream,
            peer,
            server,
            is_off_host: Cell::new(known.then_some(assumed_off_host)),
            sent: Cell::new(0),
            on_the_way: RefCell::default(),
            is_watched: Cell::new(false),
            has_ended: Cell::new(false),
            look: Signal::default(),
        })
    }

    /// Whether it is known to be on this host. Where that is not known, it need not be off it.
    pub(super) fn is_near(&self) -> bool {
        self.is_near
    }

    /// Tries to get a lease for a file that is sent here.
    async fn lease(
        &self,
        open: &Arc<Open>,
        file: &FileOpen,
        on_disk: &File,
    ) -> Option<Arc<KernelLease>> {
        let may_have_one =
            !self.server.sharing.is_written(file.handle.id()) && has_leases(on_disk).await;
        let lease = may_have_one.then(|| self.server.kernel_leases.take(open, file)).flatten();
        if lease.is_none() {
            file.leasing.wait_longer();
        }
        lease
    }

    /// How long what is sent here has to stay as it is.
    async fn until(&self) -> Until {
        if self.is_off_host().await { Until::Received } else { Until::Sent }
    }

    /// Found out once, for routes hardly ever change.
    async fn is_off_host(&self) -> bool {
        if let Some(known) = self.is_off_host.get() {
            return known;
        }
        // Until it is known it is not so.
        self.is_off_host.set(Some(false));
        let peer = self.peer;
        let found = match ringway::spawn_blocking(move || is_off_host(peer)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) | Err(error) => {
                tracing::debug!(%peer, %error, "it is not known by which device it is reached");
                false
            }
        };
        tracing::debug!(%peer, off_host = found, "whether what is sent leaves this host");
        self.is_off_host.set(Some(found));
        found
    }

    /// Keeps a lease until what gets this pin has arrived, or will not be sent.
    fn pin(self: &Rc<Self>, lease: Arc<KernelLease>, until: Until) -> Option<Stable> {
        if self.has_ended.get() {
            return None;
        }
        let pin = Rc::new(Pin::new(until));
        let on_the_way = OnTheWay { pin: Rc::clone(&pin), lease: Arc::clone(&lease) };
        self.on_the_way.borrow_mut().push(on_the_way);
        if !self.is_watched.replace(true) {
            let this = Rc::clone(self);
            drop(ringway::spawn(async move { this.watch().await }));
        }
        Some(Stable { pin, lease })
    }

    /// The kernel has been given so many bytes more, those with this pin among them; or, if an error kept it from
    /// taking all, nobody knows how many.
    pub fn note_sent(&self, count: Option<usize>, pin: Option<&Pin>) {
        let sent = count.map(|count| self.sent.get().saturating_add(count as u64));
        self.sent.set(sent.unwrap_or(self.sent.get()));
        if let Some(pin) = pin {
            pin.set_sent(sent.unwrap_or(u64::MAX));
        }
    }

    /// Somebody may wait to write.
    pub fn look(&self) {
        self.look.notify();
    }

    /// Waits until all has arrived that was sent, for the end of a connection; what does not in time is thrown away.
    pub async fn finish(&self) {
        let deadline = Instant::now() + END_LIMIT;
        // What is still to be sent never will be.
        self.on_the_way.borrow_mut().retain(|it| it.pin.sent().is_some());
        self.let_go();
        while !self.on_the_way.borrow().is_empty() {
            if self.has_failed() || Instant::now() >= deadline {
                self.reset();
            }
            sleep(LOOK_OFTEN).await;
            self.let_go();
        }
        self.has_ended.set(true);
    }

    /// Sees to it that leases are given up in time, while there are any.
    async fn watch(&self) {
        loop {
            self.let_go();
            // Each look is a system call for each lease that is whole.
            let mut since = self.waited_for_since();
            if since.is_some() {
                self.detach_broken();
                since = self.waited_for_since();
            }
            if self.on_the_way.borrow().is_empty() {
                return self.is_watched.set(false);
            }
            if since.is_some_and(|since| since.elapsed() >= self.patience()) {
                self.cut_off();
            }
            let pause = if since.is_some() { LOOK_OFTEN } else { LOOK_EVERY };
            select(std::pin::pin!(sleep(pause)), std::pin::pin!(self.look.wait())).await;
        }
    }

    /// Lets go of what has arrived, and of what nobody will send.
    fn let_go(&self) {
        let mut on_the_way = self.on_the_way.borrow_mut();
        if on_the_way.is_empty() {
            return;
        }
        let arrived = self.arrived();
        on_the_way.retain(|it| match it.pin.sent() {
            Some(up_to) => up_to > arrived,
            None => Rc::strong_count(&it.pin) > 1,
        });
    }

    /// Takes copies of what is still to be copied and waited for: who wants to write does not wait for a client then.
    fn detach_broken(&self) {
        let mut is_lost = false;
        self.on_the_way.borrow_mut().retain(|it| {
            if !it.lease.is_broken() {
                return true;
            }
            let detached = it.pin.detach();
            is_lost |=
                detached.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EIO));
            // Where there is no memory he waits.
            !detached.unwrap_or(false)
        });
        if is_lost {
            tracing::warn!(peer = %self.peer, "closing a connection: a disk has not what it has promised");
            self.reset();
        }
    }

    /// How many bytes have arrived at least.
    fn arrived(&self) -> u64 {
        match self.stream.unacknowledged() {
            // What is being sent right now is in the queue and not in the count.
            Ok(left) if left > 0 && self.stream.peer_addr().is_ok() => {
                self.sent.get().saturating_sub(left as u64)
            }
            Ok(0) => self.sent.get(),
            // There is no connection any more, and nothing in its queue.
            Ok(_) | Err(_) => u64::MAX,
        }
    }

    /// The longest that somebody has waited to write.
    fn waited_for_since(&self) -> Option<Instant> {
        let on_the_way = self.on_the_way.borrow();
        on_the_way.iter().filter_map(|it| it.lease.broken_since()).min()
    }

    /// How long a writer waits for this client: half of what the kernel would have him wait.
    fn patience(&self) -> Duration {
        self.server.kernel_leases.break_time() / 2
    }

    /// Something was sent in part, and the rest will not be.
    fn has_failed(&self) -> bool {
        self.on_the_way.borrow().iter().any(|it| it.pin.sent() == Some(u64::MAX))
    }

    fn cut_off(&self) {
        if !self.has_ended.get() {
            tracing::warn!(
                peer = %self.peer,
                "closing a connection: the client does not take what it has read, and somebody waits to write to that"
            );
        }
        self.reset();
    }

    /// Throws away what has not arrived. If that cannot be done now it has to be tried again.
    fn reset(&self) {
        self.has_ended.set(true);
        match self.stream.reset() {
            Ok(()) => self.on_the_way.borrow_mut().clear(),
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "cannot reset a connection");
                // Ends what is under way and may be the reason.
                let _ = self.stream.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Whether a lease on the file means what it says.
async fn has_leases(file: &File) -> bool {
    let Ok(stat) = file.statfs().await else { return false };
    u64::try_from(stat.f_type).is_ok_and(|kind| WITH_LEASES.contains(&kind))
}
