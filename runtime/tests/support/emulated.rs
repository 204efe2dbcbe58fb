//! Guests without a processor of their own.

/// Whether the machine is so slow that there is to be less of everything: `RINGWAY_TEST_EMULATED`, as in the guests of
/// `./dev kernels`.
pub(crate) fn is_emulated() -> bool {
    std::env::var_os("RINGWAY_TEST_EMULATED").is_some()
}
