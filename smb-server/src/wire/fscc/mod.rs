//! The structures of MS-FSCC that travel in QUERY_INFO, SET_INFO, QUERY_DIRECTORY and
//! CHANGE_NOTIFY.

pub mod attributes;
pub mod chain;
pub mod dir_info;
pub mod ea;
pub mod file_info;
pub mod fs_info;
pub mod info_class;
pub mod notify_info;
pub mod set_info;

#[cfg(test)]
mod tests;
