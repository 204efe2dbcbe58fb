//! On whose behalf an operation runs.

/// The identity that the kernel's permission checks see while one operation runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Credentials {
    /// User id, as for files.
    pub uid: u32,
    /// Group id, as for files.
    pub gid: u32,
    /// Supplementary groups; they replace the process's own.
    pub groups: Box<[u32]>,
}
