//! Dialect numbers. MS-SMB2 2.2.3 and 2.2.4.

open_enum! {
    /// An SMB2 dialect; the numbers order as the dialects do, but for the wildcard.
    pub struct Dialect(u16) {
        SMB_2_0_2 = 0x0202,
        SMB_2_1 = 0x0210,
        SMB_3_0 = 0x0300,
        SMB_3_0_2 = 0x0302,
        SMB_3_1_1 = 0x0311,
        /// In the answer to an SMB1 negotiate: the client shall negotiate again, in SMB2.
        SMB_2_WILDCARD = 0x02ff,
    }
}
