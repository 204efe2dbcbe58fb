//! The process that serves: a thread for each connection, whose calls all block.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fd::OwnedFd;
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};

use super::{Mapping, Order, Way};
use crate::files::{Name, Role};
use crate::pattern::LENGTH_MAX;

/// How much is copied at once: what fits a processor's second cache.
const CHUNK: usize = 256 << 10;

/// The largest that a pipe may be without privilege.
const PIPE: usize = 1 << 20;

pub(super) fn serve(way: Way, folder: &Path) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept()?;
        let folder = folder.to_owned();
        thread::spawn(move || {
            let mut connection = Connection::new(way, socket, folder)?;
            let result = connection.serve();
            if let Err(error) = &result {
                eprintln!("{}: {error}", way.name());
            }
            result
        });
    }
}

struct Connection {
    way: Way,
    socket: TcpStream,
    folder: PathBuf,
    files: HashMap<u16, Opened>,
    buffer: Vec<u8>,
    /// Its reading and its writing end.
    pipe: (OwnedFd, OwnedFd),
}

struct Opened {
    file: File,
    mapping: Option<Mapping>,
}

impl Connection {
    fn new(way: Way, socket: TcpStream, folder: PathBuf) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let pipe = pipe()?;
        let _ = fcntl_setpipe_size(&pipe.1, PIPE);
        Ok(Self { way, socket, folder, files: HashMap::new(), buffer: vec![0; CHUNK], pipe })
    }

    fn serve(&mut self) -> io::Result<()> {
        if self.way == Way::Echo {
            return self.echo();
        }
        loop {
            let mut bytes = [0; Order::SIZE];
            match (&self.socket).read_exact(&mut bytes) {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                    ) =>
                {
                    return Ok(());
                }
                result => result?,
            }
            let order = Order::decode(bytes);
            if order.length as usize > LENGTH_MAX {
                return Err(ErrorKind::InvalidInput.into());
            }
            self.open(order.file)?;
            self.carry_out(order, bytes)?;
        }
    }

    fn echo(&mut self) -> io::Result<()> {
        loop {
            match (&self.socket).read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                received => (&self.socket).write_all(&self.buffer[..received?])?,
            }
        }
    }

    fn open(&mut self, number: u16) -> io::Result<()> {
        if self.files.contains_key(&number) {
            return Ok(());
        }
        let role = if self.way.writes() { Role::Target } else { Role::Source };
        let path = self.folder.join(Name { role, number: number.into() }.path());
        let file = OpenOptions::new().read(true).write(self.way.writes()).open(path)?;
        let mapping = (self.way == Way::Mapped).then(|| Mapping::of(&file)).transpose()?;
        self.files.insert(number, Opened { file, mapping });
        Ok(())
    }

    fn carry_out(&mut self, order: Order, bytes: [u8; Order::SIZE]) -> io::Result<()> {
        let Some(Opened { file, mapping }) = self.files.get(&order.file) else { return Ok(()) };
        let socket = &self.socket;
        let (offset, length) = (order.offset, order.length as usize);
        match self.way {
            Way::Sendfile => send_file(socket, file, offset, length),
            Way::Splice => splice_through(&self.pipe, socket, file, offset, length),
            Way::Copy => copy(socket, file, offset, length, &mut self.buffer),
            Way::Mapped => match mapping {
                Some(mapping) => mapping.send(socket, offset, length),
                None => Ok(()),
            },
            Way::Receive => {
                receive(socket, file, offset, length, &mut self.buffer)?;
                (&self.socket).write_all(&bytes)
            }
            Way::Echo => Ok(()),
        }
    }
}

fn send_file(socket: &TcpStream, file: &File, mut offset: u64, length: usize) -> io::Result<()> {
    let end = offset + length as u64;
    while offset < end {
        let left = (end - offset) as usize;
        if rustix::fs::sendfile(socket, file, Some(&mut offset), left)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn splice_through(
    (reader, writer): &(OwnedFd, OwnedFd),
    socket: &TcpStream,
    file: &File,
    mut offset: u64,
    length: usize,
) -> io::Result<()> {
    let end = offset + length as u64;
    while offset < end {
        let left = (end - offset) as usize;
        let more = if left > PIPE { SpliceFlags::MORE } else { SpliceFlags::empty() };
        let mut inside = splice(file, Some(&mut offset), writer, None, left.min(PIPE), more)?;
        if inside == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        while inside > 0 {
            inside -= splice(reader, None, socket, None, inside, more)?;
        }
    }
    Ok(())
}

fn copy(
    mut socket: &TcpStream,
    file: &File,
    offset: u64,
    length: usize,
    buffer: &mut [u8],
) -> io::Result<()> {
    for done in (0..length).step_by(CHUNK) {
        let piece = &mut buffer[..CHUNK.min(length - done)];
        file.read_exact_at(piece, offset + done as u64)?;
        socket.write_all(piece)?;
    }
    Ok(())
}

fn receive(
    mut socket: &TcpStream,
    file: &File,
    offset: u64,
    length: usize,
    buffer: &mut [u8],
) -> io::Result<()> {
    for done in (0..length).step_by(CHUNK) {
        let piece = &mut buffer[..CHUNK.min(length - done)];
        socket.read_exact(piece)?;
        file.write_all_at(piece, offset + done as u64)?;
    }
    Ok(())
}
