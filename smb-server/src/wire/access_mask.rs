//! Access masks. MS-SMB2 2.2.13.1.

use bitflags::bitflags;

bitflags! {
    /// Rights asked for, granted or possible. Bits 0 to 8 are named here for files; on a directory
    /// `READ_DATA` lists, `WRITE_DATA` adds files, `APPEND_DATA` adds directories, `EXECUTE`
    /// traverses.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AccessMask: u32 {
        const READ_DATA = 0x0000_0001;
        const WRITE_DATA = 0x0000_0002;
        const APPEND_DATA = 0x0000_0004;
        const READ_EA = 0x0000_0008;
        const WRITE_EA = 0x0000_0010;
        const EXECUTE = 0x0000_0020;
        const DELETE_CHILD = 0x0000_0040;
        const READ_ATTRIBUTES = 0x0000_0080;
        const WRITE_ATTRIBUTES = 0x0000_0100;
        const DELETE = 0x0001_0000;
        const READ_CONTROL = 0x0002_0000;
        const WRITE_DAC = 0x0004_0000;
        const WRITE_OWNER = 0x0008_0000;
        const SYNCHRONIZE = 0x0010_0000;
        const ACCESS_SYSTEM_SECURITY = 0x0100_0000;
        const MAXIMUM_ALLOWED = 0x0200_0000;
        const GENERIC_ALL = 0x1000_0000;
        const GENERIC_EXECUTE = 0x2000_0000;
        const GENERIC_WRITE = 0x4000_0000;
        const GENERIC_READ = 0x8000_0000;
    }
}

impl AccessMask {
    /// Everything that can be granted on a file: FILE_ALL_ACCESS.
    pub const FILE_ALL: Self = Self::from_bits_retain(0x001f_01ff);
}
