//! The codecs against bytes that Samba's client and server exchanged: `tests/captures`.

mod any;
mod capture;
mod damage;
mod dialogue;
mod info;
mod reencode;
