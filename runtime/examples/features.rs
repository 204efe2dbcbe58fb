//! Prints what the runtime found on this kernel and what it chose: `cargo run -p ringway --example features`.
//!
//! `RINGWAY_BACKEND=epoll` (or `hybrid`, `uring`) chooses instead.

use std::io;

use ringway::Builder;

fn main() -> io::Result<()> {
    println!("{:#}", Builder::new().build()?.features());
    Ok(())
}
