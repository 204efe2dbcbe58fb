//! x
/// x
pub fn neg_token_init2() -> Vec<u8> {
    Vec::new()
}
