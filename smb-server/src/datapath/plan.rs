//! Which way the bytes of a READ or a WRITE take: one table, of which the first row that fits decides.
//!
//! What a row asks for is known before a byte moves, but for what only an attempt shows: whether the page cache
//! has what is wanted, and whether there is a pipe for it. Such an attempt fails at once, and then the table is
//! asked again.

use std::fmt;

use crate::protocol::Protection;

/// The shortest READ that is spliced. Below it, the two more system calls cost what a copy does.
const SPLICED_READ_MIN: usize = 16 * 1024;

/// The shortest message whose payload is not received with its head. A splice into a file is made by a thread that
/// may wait for a disk, and going there and back costs what a copy of half of this does.
pub const APART_MIN: usize = 32 * 1024;

/// A way that bytes take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Route {
    /// Into a buffer with room for the head in front, and from there to the socket; out of the buffer itself, where
    /// the network takes it so.
    Buffered,
    /// From the page cache into a pipe, and from there to the socket; or from the socket to the page cache.
    Spliced,
    /// From the message, as a whole, to the file.
    Message,
    /// Out of, or into, an extended attribute.
    Attribute,
}

impl Route {
    /// All, in the order of [`Self::index`].
    pub const ALL: [Self; 4] = [Self::Buffered, Self::Spliced, Self::Message, Self::Attribute];

    /// Its place in tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Buffered => "buffered",
            Self::Spliced => "spliced",
            Self::Message => "message",
            Self::Attribute => "attribute",
        })
    }
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// To the client.
    Read,
    /// From the client.
    Write,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// What is known of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// What the message with the bytes has around it.
    pub protection: Protection,
    /// Whether the request came by itself, not in a compound.
    pub alone: bool,
    /// Bytes.
    pub length: usize,
    /// Whether the bytes are in a file of their own, and not in an extended attribute.
    pub is_file: bool,
    /// Whether it is known where in the file they go.
    pub is_placed: bool,
    /// Whether they have been received.
    pub is_here: bool,
    /// Whether the page cache has them, as far as is known; what is not known is tried.
    pub cached: bool,
    /// Whether there are pipes for them, as far as is known.
    pub has_pipes: bool,
}

/// A line of the table.
pub struct Row {
    /// Which transfers it is for.
    pub direction: Direction,
    /// Which of them, for the administrator.
    pub when: &'static str,
    fits: fn(&Transfer) -> bool,
    /// The way that they take.
    pub route: Route,
    /// Why.
    pub because: &'static str,
}

/// The table. Each direction ends with a row that fits all.
pub static TABLE: &[Row] = &[
    Row {
        direction: Direction::Read,
        when: "it is a named stream",
        fits: |it| !it.is_file,
        route: Route::Attribute,
        because: "an extended attribute is read as a whole",
    },
    Row {
        direction: Direction::Read,
        when: "the answer is encrypted",
        fits: |it| it.protection == Protection::Sealed,
        route: Route::Buffered,
        because: "it is sealed in place, in one range with its head, and sent from there",
    },
    Row {
        direction: Direction::Read,
        when: "the answer is signed",
        fits: |it| it.protection == Protection::Signed,
        route: Route::Buffered,
        because: "pages of the cache may change between the signature and their leaving",
    },
    Row {
        direction: Direction::Read,
        when: "it is one of a compound",
        fits: |it| !it.alone,
        route: Route::Buffered,
        because: "the answers are one message, in one buffer",
    },
    Row {
        direction: Direction::Read,
        when: "it is shorter than 16 KiB",
        fits: |it| it.length < SPLICED_READ_MIN,
        route: Route::Buffered,
        because: "a copy of so little costs less than two more system calls",
    },
    Row {
        direction: Direction::Read,
        when: "the page cache has not all of it",
        fits: |it| !it.cached,
        route: Route::Buffered,
        because: "a splice would wait for the disk, and a thread with it",
    },
    Row {
        direction: Direction::Read,
        when: "the pipes are in use",
        fits: |it| !it.has_pipes,
        route: Route::Buffered,
        because: "pipes hold memory that belongs to clients that take their time, so they are few",
    },
    Row {
        direction: Direction::Read,
        when: "otherwise",
        fits: |_| true,
        route: Route::Spliced,
        because: "no byte is copied here",
    },
    Row {
        direction: Direction::Write,
        when: "it is a named stream",
        fits: |it| !it.is_file,
        route: Route::Attribute,
        because: "an extended attribute is written as a whole",
    },
    Row {
        direction: Direction::Write,
        when: "it is signed or encrypted",
        fits: |it| it.protection != Protection::Plain,
        route: Route::Message,
        because: "a message is verified before the file changes",
    },
    Row {
        direction: Direction::Write,
        when: "it is shorter than 32 KiB, or one of a compound",
        fits: |it| it.is_here || !it.alone,
        route: Route::Message,
        because: "it has been received with its head",
    },
    Row {
        direction: Direction::Write,
        when: "it goes to the end of the file",
        fits: |it| !it.is_placed,
        route: Route::Message,
        because: "a splice has to be told where",
    },
    Row {
        direction: Direction::Write,
        when: "the pipes are in use",
        fits: |it| !it.has_pipes,
        route: Route::Message,
        because: "pipes hold memory that belongs to clients that take their time, so they are few",
    },
    Row {
        direction: Direction::Write,
        when: "otherwise",
        fits: |_| true,
        route: Route::Spliced,
        because: "one copy less: from the network's buffers into the page cache",
    },
];

/// The row that a transfer's way is in.
#[must_use]
pub fn row(transfer: &Transfer) -> &'static Row {
    let fits = |row: &&Row| row.direction == transfer.direction && (row.fits)(transfer);
    TABLE
        .iter()
        .find(fits)
        .unwrap_or_else(|| unreachable!("each direction ends with a row for all"))
}

/// The way that a transfer takes.
#[must_use]
pub fn plan(transfer: &Transfer) -> Route {
    row(transfer).route
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A READ that nothing is known against.
    const READ: Transfer = Transfer {
        direction: Direction::Read,
        protection: Protection::Plain,
        alone: true,
        length: 1 << 20,
        is_file: true,
        is_placed: true,
        is_here: false,
        cached: true,
        has_pipes: true,
    };

    #[test]
    fn only_a_lone_plain_cached_read_of_a_file_is_spliced() {
        assert_eq!(plan(&READ), Route::Spliced);
        let others = [
            Transfer { protection: Protection::Signed, ..READ },
            Transfer { protection: Protection::Sealed, ..READ },
            Transfer { alone: false, ..READ },
            Transfer { length: 4096, ..READ },
            Transfer { cached: false, ..READ },
            Transfer { has_pipes: false, ..READ },
        ];
        for other in others {
            assert_eq!(plan(&other), Route::Buffered, "{other:?}");
        }
        assert_eq!(plan(&Transfer { is_file: false, ..READ }), Route::Attribute);
    }

    #[test]
    fn every_transfer_has_a_row_and_every_row_a_transfer() {
        let mut taken = Vec::new();
        for direction in [Direction::Read, Direction::Write] {
            for protection in [Protection::Plain, Protection::Signed, Protection::Sealed] {
                for bits in 0..64_u8 {
                    let is = |bit: u8| bits & (1 << bit) == 0;
                    for length in [0, 4096, 1 << 20] {
                        let (alone, is_file, cached, has_pipes) = (is(0), is(1), is(2), is(3));
                        let (is_placed, is_here) = (is(4), is(5));
                        let transfer = Transfer {
                            direction,
                            protection,
                            alone,
                            length,
                            is_file,
                            is_placed,
                            is_here,
                            cached,
                            has_pipes,
                        };
                        taken.push(std::ptr::from_ref(row(&transfer)));
                    }
                }
            }
        }
        assert!(TABLE.iter().all(|row| taken.contains(&std::ptr::from_ref(row))));
    }

    #[test]
    fn routes_know_their_places() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route.index(), index);
        }
    }
}
