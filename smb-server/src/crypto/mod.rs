//! Keys, signatures and seals of SMB2: bytes in, bytes out; no sessions, no I/O, no clock.
//!
//! A session hashes its exchange with [`preauth::PreauthHash`], derives its keys with
//! [`kdf::SessionKeys`], and from then on uses a [`sign::Signer`] per channel and a pair of
//! [`seal::Sealer`]s per session. Which message is signed or sealed is not decided here.

#[cfg(test)]
pub(crate) mod hex;
pub mod kdf;
pub mod preauth;
pub mod random;
pub mod seal;
pub mod secret;
pub mod sign;
