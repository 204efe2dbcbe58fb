//! What is asked of a server in a row: what, how much at once, over how many connections, and how it is protected.

use std::fmt;

use smb_common::client::Protection;
use usmbd::crypto::seal::Cipher;
use usmbd::crypto::sign::SigningAlgorithm;
use usmbd::wire::dialect::Dialect;

use crate::pattern::LENGTH_MAX;

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Read,
    Write,
    /// Two reads for each write, on other files.
    Mixed,
    Echo,
    /// CREATE and CLOSE in one compound.
    Open,
}

impl Workload {
    pub(crate) const ALL: [Self; 5] =
        [Self::Read, Self::Write, Self::Mixed, Self::Echo, Self::Open];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Mixed => "mixed",
            Self::Echo => "echo",
            Self::Open => "open",
        }
    }

    pub(crate) const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Mixed | Self::Open)
    }

    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Mixed)
    }

    pub(crate) const fn moves_bytes(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::Mixed)
    }
}

/// Of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) workload: Workload,
    pub(crate) size: u32,
    pub(crate) random: bool,
    pub(crate) connections: usize,
    /// How many of them share a session.
    pub(crate) channels: usize,
    /// Requests in flight on each.
    pub(crate) depth: usize,
    pub(crate) dialect: Dialect,
    pub(crate) protection: Protection,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            workload: Workload::Read,
            size: 1 << 20,
            random: false,
            connections: 1,
            channels: 1,
            depth: 4,
            dialect: Dialect::SMB_3_1_1,
            protection: Protection::Plain,
        }
    }
}

const SIZES: [u32; 4] = [4 << 10, 64 << 10, 1 << 20, 8 << 20];

const PROTECTIONS: [Protection; 3] = [
    Protection::Plain,
    Protection::Signed(Some(SigningAlgorithm::AesGmac)),
    Protection::Sealed(Cipher::Aes128Gcm),
];

/// All rows of a full run.
pub(crate) fn matrix() -> Vec<Shape> {
    let mut rows = Vec::new();
    for workload in [Workload::Read, Workload::Write] {
        for protection in PROTECTIONS {
            for (size, connections) in SIZES.into_iter().flat_map(|size| [(size, 1), (size, 4)]) {
                rows.push(Shape { workload, size, connections, protection, ..Shape::default() });
            }
        }
    }
    let small = Shape { size: 4 << 10, random: true, depth: 32, ..Shape::default() };
    for connections in [1, 4] {
        rows.push(Shape { connections, ..small });
    }
    rows.push(Shape { workload: Workload::Mixed, connections: 4, ..Shape::default() });
    for workload in [Workload::Echo, Workload::Open] {
        for (connections, depth) in [(1, 1), (1, 16), (4, 16)] {
            rows.push(Shape { workload, connections, depth, ..Shape::default() });
        }
    }
    rows
}

impl Shape {
    /// How many files there are for it: from some number of connections on, they share them.
    pub(crate) fn files(&self) -> usize {
        self.connections.min(crate::files::COUNT_MAX)
    }

    /// # Errors
    /// A text about what does not go together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=LENGTH_MAX as u32).contains(&self.size) {
            return Err("a size from 1 byte to 8 MiB".to_owned());
        }
        if !(1..=64).contains(&self.connections) || !(1..=512).contains(&self.depth) {
            return Err("1 to 64 connections, with 1 to 512 requests in flight on each".to_owned());
        }
        if self.channels == 0 || !self.connections.is_multiple_of(self.channels) {
            return Err("a multiple of the channels of a session as connections".to_owned());
        }
        match self.protection {
            Protection::Sealed(_) if self.dialect < Dialect::SMB_3_0 => {
                Err("only dialects from 3.0 on encrypt".to_owned())
            }
            Protection::Sealed(cipher)
                if self.dialect < Dialect::SMB_3_1_1 && cipher != Cipher::Aes128Ccm =>
            {
                Err("3.0 and 3.0.2 encrypt with aes-128-ccm only".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.workload.name())?;
        if self.workload.moves_bytes() {
            write!(f, " {}", size_text(self.size))?;
            write!(f, "{}", if self.random { " at random" } else { "" })?;
        }
        write!(f, ", {}", protection_text(self.protection))?;
        if self.dialect != Dialect::SMB_3_1_1 {
            write!(f, ", {}", dialect_text(self.dialect))?;
        }
        write!(f, ", {} × {}", self.connections, self.depth)?;
        match self.channels {
            1 => Ok(()),
            channels => write!(f, ", {channels} channels"),
        }
    }
}

fn size_text(size: u32) -> String {
    match size {
        size if size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        size if size.is_multiple_of(1 << 10) => format!("{} KiB", size >> 10),
        size => format!("{size} bytes"),
    }
}

/// Ways to sign, by the names that options have for them.
pub(crate) const SIGNINGS: [(&str, Option<SigningAlgorithm>); 4] = [
    ("any", None),
    ("gmac", Some(SigningAlgorithm::AesGmac)),
    ("cmac", Some(SigningAlgorithm::AesCmac)),
    ("hmac", Some(SigningAlgorithm::HmacSha256)),
];

/// Ciphers, likewise.
pub(crate) const CIPHERS: [(&str, Cipher); 4] = [
    ("aes-128-gcm", Cipher::Aes128Gcm),
    ("aes-256-gcm", Cipher::Aes256Gcm),
    ("aes-128-ccm", Cipher::Aes128Ccm),
    ("aes-256-ccm", Cipher::Aes256Ccm),
];

/// Dialects, likewise.
pub(crate) const DIALECTS: [(&str, Dialect); 5] = [
    ("3.1.1", Dialect::SMB_3_1_1),
    ("3.0.2", Dialect::SMB_3_0_2),
    ("3.0", Dialect::SMB_3_0),
    ("2.1", Dialect::SMB_2_1),
    ("2.0.2", Dialect::SMB_2_0_2),
];

pub(crate) fn protection_text(protection: Protection) -> String {
    let name_of = |algorithm| SIGNINGS.iter().find(|(_, it)| *it == algorithm).map(|it| it.0);
    match protection {
        Protection::Plain => "plain".to_owned(),
        Protection::Signed(algorithm) => {
            format!("signed ({})", name_of(algorithm).unwrap_or_default())
        }
        Protection::Sealed(cipher) => {
            let named = CIPHERS.iter().find(|(_, it)| *it == cipher);
            format!("encrypted ({})", named.map(|it| it.0).unwrap_or_default())
        }
    }
}

fn dialect_text(dialect: Dialect) -> &'static str {
    DIALECTS.iter().find(|(_, it)| *it == dialect).map(|it| it.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn rows_have_names_of_their_own_and_make_sense() {
        let names: HashSet<_> = matrix().iter().map(Shape::to_string).collect();
        assert_eq!(names.len(), matrix().len());
        assert!(names.contains("read 1 MiB, signed (gmac), 4 × 4"));
        matrix().iter().for_each(|shape| shape.check().unwrap());
    }

    #[test]
    fn what_a_dialect_cannot_do_is_refused() {
        let sealed = Protection::Sealed(Cipher::Aes128Gcm);
        let shape = Shape { protection: sealed, dialect: Dialect::SMB_3_0, ..Shape::default() };
        assert!(shape.check().is_err());
        let shape = Shape { connections: 3, channels: 2, ..Shape::default() };
        assert!(shape.check().is_err());
    }
}
