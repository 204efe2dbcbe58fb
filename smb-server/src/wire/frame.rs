//! The four bytes before each message on a stream: a type and a 24-bit length. MS-SMB2 2.1.

use super::codec::Malformed;
