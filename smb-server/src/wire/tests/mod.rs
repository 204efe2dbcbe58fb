//! The codecs against bytes that Samba's client and server exchanged (`tests/captures`), against
//! what tshark reads in them, and against the offsets of the specification.

mod capture;
mod damage;
mod dialogue;
mod info;
mod layout;
mod reencode;
mod tshark;
