//! Ways to break a message, the same ones in every run.

use super::content::Random;

/// Every length up to here is tried, longer ones are sampled.
const EVERY_LENGTH: usize = 132;
const SAMPLED_LENGTHS: usize = 24;
const FLIPS: usize = 96;
/// What a length, an offset or a count may claim.
const LIES: [u32; 6] = [0, 1, 0x7fff, 0xffff, 0x7fff_fff8, 0xffff_ffff];

/// Broken variants of `message`, with a word on what was done to each.
pub(crate) fn variants(message: &[u8], seed: u64) -> Vec<(String, Vec<u8>)> {
    let mut random = Random::new(seed);
    let mut all = truncations(message, &mut random);
    all.extend(flips(message, &mut random));
    all.extend(lies(message, &mut random));
    all
}

fn truncations(message: &[u8], random: &mut Random) -> Vec<(String, Vec<u8>)> {
    let short = 0..message.len().min(EVERY_LENGTH);
    let rest = message.len().saturating_sub(EVERY_LENGTH);
    let long = (0..SAMPLED_LENGTHS.min(rest)).map(|_| EVERY_LENGTH + random.below(rest));
    short
        .chain(long)
        .map(|length| (format!("cut to {length}"), message[..length].to_vec()))
        .collect()
}

fn flips(message: &[u8], random: &mut Random) -> Vec<(String, Vec<u8>)> {
    let flip = |_| {
        let bit = random.below(message.len() * 8);
        let mut broken = message.to_vec();
        broken[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit} flipped"), broken)
    };
    (0..FLIPS).map(flip).collect()
}

/// Overwrites aligned fields behind the protocol id, 16 or 32 bits wide.
fn lies(message: &[u8], random: &mut Random) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for at in (4..message.len().saturating_sub(4)).step_by(2) {
        let lie = LIES[random.below(LIES.len())];
        let width = if lie > 0xffff || random.below(2) == 0 { 4 } else { 2 };
        let mut broken = message.to_vec();
        broken[at..at + width].copy_from_slice(&lie.to_le_bytes()[..width]);
        all.push((format!("{width} bytes at {at} set to {lie:#x}"), broken));
    }
    all
}
