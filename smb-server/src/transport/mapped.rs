//! Bytes of a file that the kernel copies from the page cache to the socket, and this program looks at only while nobody can
//! write to them.
//!
//! They are copied when they are sent: where the file has been cut off by then, the message that has promised them
//! cannot be finished. What the page cache has let go of meanwhile is read first, so that nobody waits for a disk here.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway::buf::IoBufExt;
use ringway::fs::{File, LeasedMapping, Mapping, ReadLease};
use ringway::net::TcpStream;

use super::kept::{Place, mapping};
use super::{Kept, Pin};
use crate::buffers::Buffer;

/// How much is sent before the page cache is asked again.
const PIECE: usize = 1 << 20;

/// How long what the page cache had is taken to be there. Where it is not, this core waits for a disk once.
const ASKED_MAX: Duration = Duration::from_millis(1);

/// Bytes in the page cache.
#[derive(Debug)]
pub struct Mapped {
    mapping: Mapping,
    file: File,
    offset: u64,
    /// When the page cache had all of it.
    asked: Instant,
    pin: Option<Rc<Pin>>,
    _place: Arc<Place>,
}

/// Bytes in the page cache that stay as they are, to be looked at before they are sent.
pub struct Leased {
    mapping: LeasedMapping,
    lease: Arc<dyn Deref<Target = ReadLease>>,
    seen: Mapped,
}

impl Mapped {
    /// The `len` bytes of a file from `offset` on, which the page cache has; `None` if they cannot be mapped. `kept`: of this
    /// file.
    #[must_use]
    pub fn new(
        file: &File,
        (offset, len): (u64, usize),
        kept: Option<&Arc<Kept<Mapping>>>,
    ) -> Option<Self> {
        let (mapping, place) = mapping(kept, (offset, len), || file.map(offset, len))?;
        let (file, asked) = (file.clone(), Instant::now());
        Some(Self { mapping, file, offset, asked, pin: None, _place: place })
    }

    /// Who keeps them as they are.
    #[must_use]
    pub fn pin(&self) -> Option<&Rc<Pin>> {
        self.pin.as_ref()
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Sends them. `more` follows at once.
    ///
    /// # Errors
    /// The socket's; `UnexpectedEof` if the file has been cut off.
    pub(super) async fn send(self, stream: &TcpStream, more: bool) -> io::Result<()> {
        let len = self.len();
        for start in (0..len).step_by(PIECE) {
            let end = len.min(start.saturating_add(PIECE));
            self.send_piece(stream, start, end, more || end < len).await.map_err(told)?;
        }
        Ok(())
    }

    async fn send_piece(
        &self,
        stream: &TcpStream,
        start: usize,
        end: usize,
        more: bool,
    ) -> io::Result<()> {
        let (at, count) = (self.offset.saturating_add(start as u64), end - start);
        // Of a copy the file knows nothing.
        let is_there = self.mapping.is_detached()?
            || self.asked.elapsed() <= ASKED_MAX
            || self.file.cached_len(at, count) == Some(count);
        if is_there {
            return stream.send_mapped(&self.mapping, start..end, more).await;
        }
        let buffer = Buffer::with_room(0, count).into_slice(0).slice(..count);
        let (read, buffer) = self.file.read_exact_at(buffer, at).await;
        // From then on the file may have been another while it was read.
        if self.mapping.is_detached()? {
            return stream.send_mapped(&self.mapping, start..end, more).await;
        }
        read?;
        match more {
            true => stream.send_all_more(buffer).await.0,
            false => stream.send_all(buffer).await.0,
        }
    }
}

impl Leased {
    /// The `len` bytes of a file from `offset` on, which the page cache has, and which stay so under this pin; `None` if
    /// they cannot be mapped. `kept`: of this lease.
    #[must_use]
    pub fn new(
        lease: Arc<dyn Deref<Target = ReadLease>>,
        kept: Option<&Arc<Kept<LeasedMapping>>>,
        file: &File,
        (offset, len): (u64, usize),
        pin: Rc<Pin>,
    ) -> Option<Self> {
        let (leased, place) = mapping(kept, (offset, len), || lease.map(offset, len))?;
        let mapping = leased.mapping().clone();
        pin.set_mapping(&mapping);
        let (file, asked) = (file.clone(), Instant::now());
        let seen = Mapped { mapping, file, offset, asked, pin: Some(pin), _place: place };
        Some(Self { mapping: leased, lease, seen })
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Who keeps them as they are.
    #[must_use]
    pub fn pin(&self) -> Option<&Rc<Pin>> {
        self.seen.pin()
    }

    /// Lets `look` see a head and them, as one.
    ///
    /// # Errors
    /// Those of [`ReadLease::look`].
    pub fn look<T>(self, head: &[u8], look: impl FnOnce(&[u8]) -> T) -> io::Result<(T, Mapped)> {
        let looked = self.lease.look(&self.mapping, head, look)?;
        Ok((looked, self.seen))
    }

    /// To be sent as they are.
    #[must_use]
    pub(super) fn unseen(self) -> Mapped {
        self.seen
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("mapping", &self.mapping).finish_non_exhaustive()
    }
}

/// The same, whether it was the kernel that found pages missing, or a read the file's end.
fn told(error: io::Error) -> io::Error {
    let cut_off =
        error.raw_os_error() == Some(libc::EFAULT) || error.kind() == io::ErrorKind::UnexpectedEof;
    match cut_off {
        true => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "a file was cut off while it was sent")
        }
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use ringway::fs::{Dir, Mode, OFlags, OpenHow};
    use ringway::net::TcpListener;
    use ringway::time::sleep;

    use super::*;

    async fn file() -> File {
        let how = OpenHow::new(OFlags::TMPFILE | OFlags::RDWR).mode(Mode::RUSR | Mode::WUSR);
        Dir::open_ambient(std::env::temp_dir()).unwrap().open_at(".", &how).await.unwrap()
    }

    /// Two ends of a connection.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    fn run(test: impl Future<Output = ()>) {
        ringway::Builder::new().build().unwrap().block_on(test);
    }

    /// The second half is a hole, of which the page cache has nothing.
    #[test]
    fn what_the_page_cache_has_not_is_read_and_sent_all_the_same() {
        const LEN: usize = 4 * PIECE + 5;
        run(async {
            let file = file().await;
            let mut expected: Vec<_> = (0..2 * PIECE).map(|at| (at % 251) as u8).collect();
            file.write_all_at(expected.clone(), 0).await.0.unwrap();
            file.set_len(LEN as u64).await.unwrap();
            expected.resize(LEN, 0);
            let (client, server) = connection().await;
            let mapped = Mapped::new(&file, (3, LEN - 3), None).unwrap();
            assert_eq!(mapped.len(), LEN - 3);
            sleep(2 * ASKED_MAX).await;
            let server = Rc::new(server);
            let sending = ringway::spawn(async move { mapped.send(&server, false).await });
            let (received, bytes) = client.recv_exact(Vec::with_capacity(LEN - 3)).await;
            received.unwrap();
            assert!(bytes == expected[3..]);
            sending.await.unwrap().unwrap();
        });
    }

    #[test]
    fn a_file_that_is_cut_off_ends_early() {
        run(async {
            for left in [0, 100, PIECE] {
                let file = file().await;
                file.write_all_at(vec![1; 2 * PIECE], 0).await.0.unwrap();
                let mapped = Mapped::new(&file, (0, 2 * PIECE), None).unwrap();
                file.set_len(left as u64).await.unwrap();
                let (client, server) = connection().await;
                let server = Rc::new(server);
                let sending = ringway::spawn(async move { mapped.send(&server, false).await });
                let mut came = 0;
                loop {
                    let (received, bytes) = client.recv(Vec::with_capacity(PIECE)).await;
                    let count = received.unwrap();
                    came += count;
                    if count == 0 {
                        break;
                    }
                    assert!(bytes.iter().all(|byte| *byte == 1), "bytes that never were there");
                }
                assert_eq!(came, if left == PIECE { PIECE } else { 0 });
                let error = sending.await.unwrap().unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        });
    }
}
