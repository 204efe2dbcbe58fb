//! How a file is compressed, as FSCTL_GET_COMPRESSION, FSCTL_SET_COMPRESSION and FileCompressionInformation say it.

open_enum! {
    /// MS-FSCC 2.3.18 and 2.3.67.
    pub struct CompressionFormat(u16) {
        NONE = 0x0000,
        /// The volume's own; in a request only.
        DEFAULT = 0x0001,
        LZNT1 = 0x0002,
    }
}

impl CompressionFormat {
    /// Its length, in bytes.
    pub const SIZE: usize = 2;
}
