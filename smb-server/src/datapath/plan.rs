//! Which way the bytes of a READ or a WRITE take: one table, of which the first row that fits decides.
//!
//! What a row asks for is known before a byte moves, but for what only an attempt shows: whether the page cache
//! has what is wanted, and whether there is a pipe or a mapping for it. Such an attempt fails at once, and then the table
//! is asked again.

use std::fmt;
use std::str::FromStr;

use crate::protocol::Protection;
use crate::transport::Until;

/// The shortest READ that is spliced. Below it, the two more system calls cost what a copy does.
const SPLICED_READ_MIN: usize = 16 * 1024;

/// The shortest READ that is teed. Its pages go through two pipes, which is four more system calls than a copy.
pub(super) const TEED_READ_MIN: usize = 64 * 1024;

/// The shortest message whose payload is not received with its head. A splice into a file is made by a thread that
/// may wait for a disk, and going there and back costs what a copy of half of this does.
pub const APART_MIN: usize = 32 * 1024;

/// The shortest READ that is mapped. Below it, mapping a file costs what the second copy does, and a splice to a client on
/// this host is no slower.
const MAPPED_READ_MIN: usize = 512 * 1024;

/// The shortest READ that is signed or sealed in a mapping. Below it, mapping a file and finding its pages anew costs what
/// the copy does.
pub(super) const LOOKED_AT_IN_PLACE_MIN: usize = 1024 * 1024;

/// A way that bytes take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Route {
    /// Into a buffer with room for the head in front, and from there to the socket; out of the buffer itself, where
    /// the network takes it so.
    Buffered,
    /// The same from the disk, past the page cache; or from such a buffer to the disk.
    Direct,
    /// From the page cache into a pipe, and from there to the socket; or from the socket to the page cache.
    Spliced,
    /// From the page cache to the socket, copied once by the kernel, out of a mapping of the file; or, sealed, out of one into
    /// a buffer.
    Mapped,
    /// From the page cache into a pipe, and from there to the socket, and by a second pipe into a buffer, to be signed.
    Teed,
    /// From the message, as a whole, to the file.
    Message,
    /// Out of, or into, an extended attribute.
    Attribute,
}

impl Route {
    /// All, in the order of [`Self::index`].
    pub const ALL: [Self; 7] = [
        Self::Buffered,
        Self::Direct,
        Self::Spliced,
        Self::Mapped,
        Self::Teed,
        Self::Message,
        Self::Attribute,
    ];

    /// Whether it may take pages of the cache to stay as they are.
    #[must_use]
    pub const fn looks_at_pages(self) -> bool {
        matches!(self, Self::Mapped | Self::Teed)
    }

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
            Self::Direct => "direct",
            Self::Spliced => "spliced",
            Self::Mapped => "mapped",
            Self::Teed => "teed",
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
    /// Whether the share wants it past the page cache, and the file takes it there, as far as is known.
    pub direct: bool,
    /// Whether it is known where in the file they go.
    pub is_placed: bool,
    /// Whether they have been received.
    pub is_here: bool,
    /// Whether the client is on this host.
    pub near: bool,
    /// Whether the page cache has them, as far as is known; what is not known is tried.
    pub cached: bool,
    /// How long the pages of the cache stay as they are, if something comes of that.
    pub is_stable: Option<Until>,
    /// Whether there are pipes for them, as far as is known.
    pub has_pipes: bool,
    /// Whether they can be mapped, as far as is known.
    pub has_mapping: bool,
    /// Whether splices to clients on this host have cost less than mappings, when both were measured.
    pub splices_cost_less: bool,
}

/// What a way takes that only an attempt shows to be there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Need {
    /// A file that goes past the page cache.
    Direct,
    /// All of the bytes in the page cache, and a file system that tells so.
    Cached,
    /// An empty pipe.
    Pipe,
    /// A file system that fills pipes.
    Splice,
    /// One mapping more.
    Mapping,
}

/// What somebody may ask a server to do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Without {
    /// What ways take.
    Need(Need),
    /// Mappings from before: each READ has its own.
    KeptMappings,
}

impl Without {
    /// What ways take, if it is that.
    #[must_use]
    pub fn need(&self) -> Option<Need> {
        match self {
            Self::Need(need) => Some(*need),
            Self::KeptMappings => None,
        }
    }
}

impl FromStr for Without {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "pipes" => Ok(Self::Need(Need::Pipe)),
            "mappings" => Ok(Self::Need(Need::Mapping)),
            "kept-mappings" => Ok(Self::KeptMappings),
            _ => Err("it should be pipes, mappings or kept-mappings"),
        }
    }
}

impl Transfer {
    /// The same, and it is known that none of these is there.
    #[must_use]
    pub fn without_all(self, needs: &[Need]) -> Self {
        needs.iter().fold(self, |transfer, need| transfer.without(*need))
    }

    /// The same, and it is known that this is not there.
    #[must_use]
    pub fn without(self, need: Need) -> Self {
        match need {
            Need::Direct => Self { direct: false, ..self },
            Need::Cached => Self { cached: false, ..self },
            Need::Pipe | Need::Splice => Self { has_pipes: false, ..self },
            Need::Mapping => Self { has_mapping: false, ..self },
        }
    }

    fn may_be_teed(&self) -> bool {
        self.protection == Protection::Signed
            && self.can_be_looked_at_in_cache()
            && self.is_stable == Some(Until::Received)
            && self.has_pipes
            && self.length >= TEED_READ_MIN
    }

    fn may_be_looked_at_in_place(&self, protection: Protection) -> bool {
        self.protection == protection
            && self.can_be_looked_at_in_cache()
            && self.has_mapping
            && self.length >= LOOKED_AT_IN_PLACE_MIN
    }

    fn can_be_looked_at_in_cache(&self) -> bool {
        self.alone && self.is_stable.is_some() && self.cached
    }

    /// Whether there are two ways for it, of which the machine decides which is the cheaper one.
    pub(super) fn is_weighed(&self) -> bool {
        let is_plain = self.protection == Protection::Plain && self.alone;
        let is_cached = self.is_file && !self.direct && self.cached;
        self.direction == Direction::Read
            && is_plain
            && is_cached
            && self.near
            && self.is_mappable()
            && self.has_pipes
    }

    /// Whether the copy that a mapping spares is worth it.
    fn is_mappable(&self) -> bool {
        self.has_mapping && self.length >= MAPPED_READ_MIN
    }
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
    /// What that takes.
    pub needs: &'static [Need],
    /// Why.
    pub because: &'static str,
}

/// The table. Each direction ends with a row that fits all.
pub static TABLE: &[Row] = &[
    Row {
        direction: Direction::Read,
        when: "it is a named stream in an extended attribute",
        fits: |it| !it.is_file,
        route: Route::Attribute,
        needs: &[],
        because: "that is read as a whole",
    },
    Row {
        direction: Direction::Read,
        when: "the share is direct, and 64 KiB or more of it are whole blocks",
        fits: |it| it.direct,
        route: Route::Direct,
        needs: &[Need::Direct],
        because: "the share asks for it: the page cache is for others",
    },
    Row {
        direction: Direction::Read,
        when: "it is encrypted, nobody can write to the file, it is 1 MiB or more, no core is free",
        fits: |it| it.may_be_looked_at_in_place(Protection::Sealed),
        route: Route::Mapped,
        needs: &[Need::Cached, Need::Mapping],
        because: "a lease keeps writers waiting until it has been sealed, from there into a buffer",
    },
    Row {
        direction: Direction::Read,
        when: "the answer is encrypted",
        fits: |it| it.protection == Protection::Sealed,
        route: Route::Buffered,
        needs: &[],
        because: "it is sealed in place, in one range with its head, and sent from there",
    },
    Row {
        direction: Direction::Read,
        when: "it is signed, and its pages cannot change",
        fits: |it| it.may_be_teed(),
        route: Route::Teed,
        needs: &[Need::Cached, Need::Splice, Need::Pipe],
        because: "a lease keeps writers waiting, and no client on this host shares them",
    },
    Row {
        direction: Direction::Read,
        when: "it is signed, nobody can write to the file now, and it is 1 MiB or more",
        fits: |it| it.may_be_looked_at_in_place(Protection::Signed),
        route: Route::Mapped,
        needs: &[Need::Cached, Need::Mapping],
        because: "a lease keeps writers waiting until it has been sent: signed where it is, and one copy",
    },
    Row {
        direction: Direction::Read,
        when: "the answer is signed",
        fits: |it| it.protection == Protection::Signed,
        route: Route::Buffered,
        needs: &[],
        because: "pages of the cache may change between the signature and their leaving",
    },
    Row {
        direction: Direction::Read,
        when: "it is one of a compound",
        fits: |it| !it.alone,
        route: Route::Buffered,
        needs: &[],
        because: "the answers are one message, in one buffer",
    },
    Row {
        direction: Direction::Read,
        when: "it is shorter than 16 KiB",
        fits: |it| it.length < SPLICED_READ_MIN,
        route: Route::Buffered,
        needs: &[],
        because: "a copy of so little costs less than two more system calls",
    },
    Row {
        direction: Direction::Read,
        when: "the page cache has not all of it",
        fits: |it| !it.cached,
        route: Route::Buffered,
        needs: &[],
        because: "a splice would wait for the disk, and a thread with it",
    },
    Row {
        direction: Direction::Read,
        when: "the client is on this host, it is 512 KiB or more, and splices cost less here now",
        fits: |it| it.is_weighed() && it.splices_cost_less,
        route: Route::Spliced,
        needs: &[Need::Cached, Need::Splice, Need::Pipe],
        because: "as measured: what it costs to hand pages from core to core changes",
    },
    Row {
        direction: Direction::Read,
        when: "the client is on this host, and it is 512 KiB or more",
        fits: |it| it.near && it.is_mappable(),
        route: Route::Mapped,
        needs: &[Need::Cached, Need::Mapping],
        because: "one copy, no later write is seen, and splices were not found to cost less",
    },
    Row {
        direction: Direction::Read,
        when: "there is no pipe for it, and it is 512 KiB or more",
        fits: |it| !it.has_pipes && it.is_mappable(),
        route: Route::Mapped,
        needs: &[Need::Cached, Need::Mapping],
        because: "one copy, and no memory of the server's while the client takes its time",
    },
    Row {
        direction: Direction::Read,
        when: "there is no pipe for it",
        fits: |it| !it.has_pipes,
        route: Route::Buffered,
        needs: &[],
        because: "pipes hold memory that belongs to clients that take their time, so they are few",
    },
    Row {
        direction: Direction::Read,
        when: "otherwise",
        fits: |_| true,
        route: Route::Spliced,
        needs: &[Need::Cached, Need::Splice, Need::Pipe],
        because: "no byte is copied here",
    },
    Row {
        direction: Direction::Write,
        when: "it is a named stream",
        fits: |it| !it.is_file,
        route: Route::Attribute,
        needs: &[],
        because: "an extended attribute is written as a whole, and moves out when it is full",
    },
    Row {
        direction: Direction::Write,
        when: "the share is direct, and 64 KiB or more of it are whole blocks",
        fits: |it| it.direct,
        route: Route::Direct,
        needs: &[Need::Direct],
        because: "the share asks for it: the page cache is for others",
    },
    Row {
        direction: Direction::Write,
        when: "it is signed or encrypted",
        fits: |it| it.protection != Protection::Plain,
        route: Route::Message,
        needs: &[],
        because: "a message is verified before the file changes",
    },
    Row {
        direction: Direction::Write,
        when: "it is shorter than 32 KiB, or one of a compound",
        fits: |it| it.is_here || !it.alone,
        route: Route::Message,
        needs: &[],
        because: "it has been received with its head",
    },
    Row {
        direction: Direction::Write,
        when: "it goes to the end of the file",
        fits: |it| !it.is_placed,
        route: Route::Message,
        needs: &[],
        because: "a splice has to be told where",
    },
    Row {
        direction: Direction::Write,
        when: "there is no pipe for it",
        fits: |it| !it.has_pipes,
        route: Route::Message,
        needs: &[],
        because: "pipes hold memory that belongs to clients that take their time, so they are few",
    },
    Row {
        direction: Direction::Write,
        when: "otherwise",
        fits: |_| true,
        route: Route::Spliced,
        needs: &[Need::Pipe],
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

impl Row {
    /// Its place in the table.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        TABLE.iter().position(|row| std::ptr::eq(row, self))
    }

    /// The row that takes over on a host that has not what this one needs; `None` if it has.
    #[must_use]
    pub fn instead(&self, lacking: &[Need]) -> Option<&'static Self> {
        if !self.needs.iter().any(|need| lacking.contains(need)) {
            return None;
        }
        let example = kinds().find(|transfer| std::ptr::eq(row(transfer), self))?;
        Some(row(&example.without_all(lacking)))
    }
}

/// A transfer of every kind that the table tells from others, those first that nothing is known against.
fn kinds() -> impl Iterator<Item = Transfer> {
    let messages = [Direction::Read, Direction::Write].into_iter().flat_map(|direction| {
        [Protection::Plain, Protection::Signed, Protection::Sealed]
            .map(move |protection| (direction, protection))
    });
    let lengths = [1 << 20, 128 << 10, 4096, 0];
    let sized = messages.flat_map(move |message| lengths.map(|length| (message, length)));
    sized.flat_map(|((direction, protection), length)| {
        (0..1_u16 << 12).map(move |bits| {
            let is = |bit: u8| bits & (1 << bit) == 0;
            Transfer {
                direction,
                protection,
                alone: is(0),
                length,
                is_file: is(1),
                direct: !is(8),
                is_placed: is(2),
                is_here: !is(3),
                near: !is(4),
                cached: is(5),
                has_pipes: is(6),
                has_mapping: is(7),
                splices_cost_less: !is(11),
                is_stable: is(9).then_some(if is(10) { Until::Received } else { Until::Sent }),
            }
        })
    })
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
        direct: false,
        is_placed: true,
        is_here: false,
        near: false,
        cached: true,
        is_stable: None,
        has_pipes: true,
        has_mapping: true,
        splices_cost_less: false,
    };

    fn plan(transfer: &Transfer) -> Route {
        row(transfer).route
    }

    #[test]
    fn only_a_lone_plain_cached_read_of_a_file_is_spliced_or_mapped() {
        assert_eq!(plan(&READ), Route::Spliced);
        for near in [false, true] {
            let read = Transfer { near, ..READ };
            let others = [
                Transfer { protection: Protection::Signed, ..read },
                Transfer { protection: Protection::Sealed, ..read },
                Transfer { alone: false, ..read },
                Transfer { length: 4096, ..read },
                Transfer { cached: false, ..read },
            ];
            for other in others {
                assert_eq!(plan(&other), Route::Buffered, "{other:?}");
            }
            assert_eq!(plan(&Transfer { is_file: false, ..read }), Route::Attribute);
        }
    }

    #[test]
    fn a_long_read_is_mapped_for_a_client_on_this_host_and_for_others_without_a_pipe() {
        let near = Transfer { near: true, ..READ };
        assert_eq!(plan(&near), Route::Mapped);
        assert_eq!(plan(&near.without(Need::Mapping)), Route::Spliced);
        assert_eq!(plan(&READ.without(Need::Pipe)), Route::Mapped);
        assert_eq!(plan(&READ.without(Need::Pipe).without(Need::Mapping)), Route::Buffered);
        let cheaper = Transfer { splices_cost_less: true, ..near };
        assert_eq!(plan(&cheaper), Route::Spliced);
        assert_eq!(plan(&cheaper.without(Need::Pipe)), Route::Mapped);
        assert_eq!(plan(&cheaper.without(Need::Cached)), Route::Buffered);
        let short = Transfer { length: 200_000, ..near };
        assert_eq!(plan(&short), Route::Spliced);
        assert_eq!(plan(&short.without(Need::Pipe)), Route::Buffered);
    }

    #[test]
    fn what_a_direct_share_wants_past_the_cache_goes_there_whatever_is_around_it() {
        for direction in [Direction::Read, Direction::Write] {
            for protection in [Protection::Plain, Protection::Signed, Protection::Sealed] {
                for alone in [true, false] {
                    let direct = Transfer { direction, protection, alone, direct: true, ..READ };
                    assert_eq!(plan(&direct), Route::Direct);
                    let refused = Transfer { direct: false, ..direct };
                    assert_ne!(plan(&refused), Route::Direct);
                }
            }
        }
    }

    #[test]
    fn only_a_lone_long_read_of_cached_pages_that_stay_as_they_are_is_sealed_in_place() {
        let sealed = Transfer { protection: Protection::Sealed, ..READ };
        for until in [Until::Sent, Until::Received] {
            let stable = Transfer { is_stable: Some(until), ..sealed };
            assert_eq!(plan(&stable), Route::Mapped);
            let others = [
                Transfer { is_stable: None, ..stable },
                Transfer { alone: false, ..stable },
                Transfer { length: 100_000, ..stable },
                Transfer { cached: false, ..stable },
                stable.without(Need::Mapping),
            ];
            for other in others {
                assert_eq!(plan(&other), Route::Buffered, "{other:?}");
            }
        }
    }

    #[test]
    fn only_a_lone_signed_long_read_of_cached_pages_that_stay_as_they_are_is_teed_or_signed_in_place()
     {
        let signed = Transfer { protection: Protection::Signed, ..READ };
        for (until, route) in [(Until::Received, Route::Teed), (Until::Sent, Route::Mapped)] {
            let stable = Transfer { is_stable: Some(until), ..signed };
            assert_eq!(plan(&stable), route);
            let others = [
                Transfer { is_stable: None, ..stable },
                Transfer { alone: false, ..stable },
                Transfer { length: 4096, ..stable },
                Transfer { cached: false, ..stable },
                stable.without(Need::Pipe).without(Need::Mapping),
            ];
            for other in others {
                assert_eq!(plan(&other), Route::Buffered, "{other:?}");
            }
            assert_eq!(plan(&Transfer { protection: Protection::Plain, ..stable }), Route::Spliced);
        }
        let shared = Transfer { is_stable: Some(Until::Received), ..signed };
        assert_eq!(plan(&shared.without(Need::Pipe)), Route::Mapped);
        assert_eq!(plan(&Transfer { length: 100_000, ..shared }), Route::Teed);
        let copied = Transfer { is_stable: Some(Until::Sent), length: 100_000, ..signed };
        assert_eq!(plan(&copied), Route::Buffered);
    }

    #[test]
    fn every_transfer_has_a_row_and_every_row_a_transfer() {
        let taken: Vec<_> = kinds().map(|transfer| row(&transfer).index()).collect();
        assert!((0..TABLE.len()).all(|index| taken.contains(&Some(index))));
    }

    /// Or a transfer whose route fails would be planned the same way for ever.
    #[test]
    fn a_row_does_not_fit_without_what_it_needs() {
        for transfer in kinds() {
            let row = row(&transfer);
            for need in row.needs {
                let next = super::row(&transfer.without(*need));
                assert!(!std::ptr::eq(next, row), "{} without {need:?}", row.when);
            }
        }
    }

    #[test]
    fn a_host_without_something_has_other_rows_for_what_needs_it() {
        let lacking = [Need::Pipe, Need::Mapping];
        for row in TABLE {
            let needs = row.needs.iter().any(|need| lacking.contains(need));
            let instead = row.instead(&lacking);
            assert_eq!(instead.is_some(), needs);
            assert!(instead.is_none_or(|row| row.instead(&lacking).is_none()));
            assert!(row.instead(&[]).is_none());
        }
    }

    #[test]
    fn routes_know_their_places() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route.index(), index);
        }
    }
}
