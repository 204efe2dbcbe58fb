//! The rest of a message whose beginning has been taken off the connection.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use futures_channel::oneshot;
use ringway::buf::IoBufExt;
use ringway::net::TcpStream;
use ringway::pipe::{PipeWriter, splice};

use crate::buffers::Buffer;

/// Bytes that are still to come, for whoever knows a place for them. While it lives nobody else takes anything off
/// the connection; what is left when it is dropped is passed over.
#[derive(Debug)]
pub struct Rest {
    stream: Rc<TcpStream>,
    /// What came together with the beginning.
    front: Vec<u8>,
    /// What is still in the stream; `None` if nobody knows.
    left: Rc<Cell<Option<usize>>>,
    /// Its end is when the reader goes on.
    _alive: oneshot::Sender<()>,
}

/// What the reader keeps of a [`Rest`].
#[derive(Debug)]
pub(super) struct Given {
    left: Rc<Cell<Option<usize>>>,
    dropped: oneshot::Receiver<()>,
}

impl Rest {
    pub(super) fn new(stream: Rc<TcpStream>, front: Vec<u8>, left: usize) -> (Self, Given) {
        let left = Rc::new(Cell::new(Some(left)));
        let (alive, dropped) = oneshot::channel();
        (Self { stream, front, left: Rc::clone(&left), _alive: alive }, Given { left, dropped })
    }

    /// How many bytes there are to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.front.len().saturating_add(self.left())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are still in the stream.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.get().unwrap_or(0)
    }

    /// The first bytes, which have been received already.
    #[must_use]
    pub fn take_front(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.front)
    }

    /// All of them.
    ///
    /// # Errors
    /// The socket's; `UnexpectedEof` if the stream ends before.
    pub async fn receive(mut self) -> io::Result<Buffer> {
        let (front, left) = (self.take_front(), self.left());
        // Until all is here nobody knows where in the stream we are: another receive may succeed after one that has
        // not, and would take what is left for the next message.
        self.left.set(None);
        let received = receive_behind(&self.stream, &front, left, 0).await?;
        self.left.set(Some(0));
        Ok(received)
    }

    /// Moves some bytes of those that are left in the stream into a pipe, as soon as there are any, and tells how
    /// many.
    ///
    /// # Errors
    /// Those of `splice`; `UnexpectedEof` if the stream ends before.
    pub async fn splice_to(&mut self, pipe: &PipeWriter) -> io::Result<usize> {
        let left = self.left();
        let moved = splice(&*self.stream, pipe, left).await?;
        if moved == 0 && left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left.set(Some(left.saturating_sub(moved)));
        Ok(moved)
    }
}

/// What has been received already, and the `left` bytes that follow it. If there are many, those behind the `head` begin
/// with a page.
pub(super) async fn receive_behind(
    stream: &TcpStream,
    front: &[u8],
    left: usize,
    head: usize,
) -> io::Result<Buffer> {
    let length = front.len().saturating_add(left);
    let mut buffer = Buffer::with_room(head, length.saturating_sub(head));
    buffer.extend_from_slice(front);
    buffer
        .appended(async |memory| {
            let here = memory.len();
            let room = memory.slice(here..here.saturating_add(left));
            let (result, received) = stream.recv_exact(room).await;
            result.map(|()| received.into_inner())
        })
        .await
}

impl Given {
    /// Waits until nobody has a use for it any more, and tells how many bytes of it are still in the stream; `None` if
    /// that is not known, and the stream is of no use.
    pub(super) async fn returned(&mut self) -> Option<usize> {
        let _ = (&mut self.dropped).await;
        self.left.get()
    }
}
