//! The files that there are: one folder with very many, which all servers share, and a tree of small ones for each sample.

/// The folder with very many files.
pub(crate) const BIG: &str = "big";

/// How many they are.
pub(crate) const BIG_COUNT: u64 = 100_000;

/// How many files of a tree are in one of its folders.
const PER_FOLDER: u64 = 100;

/// Where a sample finds its files, as paths within the share.
pub(crate) struct Names {
    /// The sample's own folder.
    pub(crate) work: String,
    /// No other sample of the run has it.
    pub(crate) sample: u64,
}

impl Names {
    /// A file of the big folder, which is there for `index` below [`BIG_COUNT`].
    pub(crate) fn big(index: u64) -> String {
        format!("{BIG}\\{}", Self::in_big(index))
    }

    /// The same without its folder.
    pub(crate) fn in_big(index: u64) -> String {
        format!("Document number {index:06}.txt")
    }

    /// A file that is not in the big folder, and has not been asked for in another sample: the kernel remembers names
    /// that it has not found.
    pub(crate) fn absent(&self, index: u64) -> String {
        format!("{BIG}\\No document {} {index}.txt", self.sample)
    }

    /// A folder of the tree.
    pub(crate) fn folder(&self, index: u64) -> String {
        format!("{}\\folder {index:03}", self.work)
    }

    /// A file of the tree.
    pub(crate) fn file(&self, index: u64) -> String {
        format!("{}\\source file {index:05}.c", self.folder(index / PER_FOLDER))
    }

    /// How many folders a tree of `files` has.
    pub(crate) const fn folders(files: u64) -> u64 {
        files.div_ceil(PER_FOLDER)
    }
}
