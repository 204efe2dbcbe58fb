//! Randomness from the kernel: the one impure edge of this module, for callers to pass inwards.

/// Returns `N` unpredictable bytes, fit for challenges, keys and identifiers.
///
/// # Errors
/// When the kernel has no randomness to give, which on Linux means a sandbox forbids the call.
pub fn bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        assert_ne!(super::bytes::<16>().unwrap(), super::bytes::<16>().unwrap());
    }
}
