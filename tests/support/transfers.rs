//! READs and WRITEs of any length by the raw client, however its messages are protected.

use std::fs;

use libtest_mimic::Failed;

use super::content::Random;
use super::guard::Protection;
use super::requests::{Create, FileId, access, nt, read, write};
use super::session::{HEADER, Session, command, status, u32_at, u64_at};
use super::{Outcome, Server, ensure};

/// MS-SMB2 2.2.20, behind the header.
pub(crate) const READ_FIXED: usize = 16;
/// How many credits for 64 KiB a client has at least that makes the largest transfers.
const CREDITS: usize = 20;

/// What came of a READ or a WRITE.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Answer<T> {
    Done(T),
    Refused(u32),
    /// The connection has ended.
    Closed,
}

impl<T> Answer<T> {
    /// What was done, where nothing else is right.
    pub(crate) fn done(self) -> Result<T, Failed> {
        match self {
            Self::Done(it) => Ok(it),
            Self::Refused(status) => Err(format!("answered with {status:#010x}").into()),
            Self::Closed => Err("closed instead of an answer".into()),
        }
    }
}

impl Session {
    /// With the tests' share connected, and credits for whatever follows.
    pub(crate) fn with_credits(server: &Server, protection: Protection) -> Result<Self, Failed> {
        let mut session = Self::protected(server.address, protection)?;
        ensure(session.earn_credits()?, || "closed instead of an echo".to_owned())?;
        Ok(session)
    }

    /// Earns the credits for whatever follows; `false` when the server has closed.
    pub(crate) fn earn_credits(&mut self) -> Result<bool, Failed> {
        for _ in 0..CREDITS {
            if !self.echo()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes.
    pub(crate) fn put(
        &mut self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Answer<()>, Failed> {
        let body = write(file, offset, bytes)?;
        let Some(answer) = self.moved(command::WRITE, &body, bytes.len())? else {
            return Ok(Answer::Closed);
        };
        if status(&answer) != nt::SUCCESS {
            return Ok(Answer::Refused(status(&answer)));
        }
        let count = usize::try_from(u32_at(&answer, HEADER + 4)?)?;
        ensure(count == bytes.len(), || format!("{count} of {} were written", bytes.len()))?;
        Ok(Answer::Done(()))
    }

    /// Reads.
    pub(crate) fn get(
        &mut self,
        file: FileId,
        offset: u64,
        length: usize,
    ) -> Result<Answer<Vec<u8>>, Failed> {
        let body = read(file, offset, u32::try_from(length)?);
        let Some(mut answer) = self.moved(command::READ, &body, length)? else {
            return Ok(Answer::Closed);
        };
        if status(&answer) != nt::SUCCESS {
            return Ok(Answer::Refused(status(&answer)));
        }
        let count = usize::try_from(u32_at(&answer, HEADER + 4)?)?;
        ensure(answer.len() >= HEADER + READ_FIXED, || "a short answer".to_owned())?;
        let bytes = answer.split_off(HEADER + READ_FIXED);
        ensure(bytes.len() == count, || format!("{count} announced, {} sent", bytes.len()))?;
        ensure(count <= length, || format!("{count} of {length} bytes"))?;
        Ok(Answer::Done(bytes))
    }

    /// Files of these lengths, written at each of these offsets: what was written is on the disk, and is read.
    pub(crate) fn every_length(
        &mut self,
        server: &Server,
        prefix: &str,
        lengths: &[usize],
        offsets: &[u64],
    ) -> Outcome {
        let mut random = Random::new(5);
        for (index, &length) in lengths.iter().enumerate() {
            let name = format!("{prefix}-{index}");
            let file = self.opened(Create::open(&name, access::READ_AND_WRITE).or_create())?;
            for &offset in offsets {
                let bytes = random.bytes(length);
                self.put(file, offset, &bytes)?.done()?;
                let on_disk = fs::read(server.folder().join(&name))?;
                let (from, to) = (usize::try_from(offset)?, usize::try_from(offset)? + length);
                ensure(on_disk.get(from..to) == Some(&bytes), || format!("{length} at {offset}"))?;
                let read = self.get(file, offset, length)?.done()?;
                ensure(read == bytes, || format!("{length} bytes are not what was written"))?;
            }
            self.close(file)?;
        }
        Ok(())
    }

    fn moved(
        &mut self,
        command: u16,
        body: &[u8],
        length: usize,
    ) -> Result<Option<Vec<u8>>, Failed> {
        let request = self.request_charged(command, body, length)?;
        // A server that closed while this was sent shows it in the answer that is missing.
        let _ = self.send(&request);
        self.answer(u64_at(&request, 24)?)
    }
}
