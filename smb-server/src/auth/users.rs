//! Who may log in, by name and password hash.

use std::collections::HashMap;

use super::ntlm::crypto::{NtHash, nt_hash};

/// The users of a server. Names are found without regard to case.
#[derive(Clone, Debug, Default)]
pub struct UserStore {
    by_folded_name: HashMap<String, User>,
    guests: bool,
}

/// One user.
#[derive(Clone, Debug)]
pub struct User {
    /// The name as it was added.
    pub name: String,
    /// What a password leaves behind; as good as the password to a thief.
    pub nt_hash: NtHash,
}

impl UserStore {
    /// A store without users: nobody can log in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a user, or replaces one whose name differs in case at most.
    pub fn add(&mut self, name: &str, password: &str) {
        self.add_hash(name, nt_hash(password));
    }

    /// Adds a user whose NT hash (MD4 of the UTF-16LE password) is known instead of the password.
    pub fn add_hash(&mut self, name: &str, nt_hash: NtHash) {
        self.by_folded_name.insert(fold(name), User { name: name.to_owned(), nt_hash });
    }

    /// Lets those in as guests whose names are not here.
    pub fn admit_guests(&mut self) {
        self.guests = true;
    }

    /// Whether somebody unknown is a guest. Who is known and gets the password wrong is not.
    pub fn admits_guests(&self) -> bool {
        self.guests
    }

    /// The names, as they were added, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_folded_name.values().map(|user| user.name.as_str())
    }

    /// Finds a user by the name a client gave, in any case.
    pub fn get(&self, name: &str) -> Option<&User> {
        self.by_folded_name.get(&fold(name))
    }
}

fn fold(name: &str) -> String {
    name.to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_in_any_case_and_named_as_added() {
        let mut users = UserStore::new();
        users.add("Zoë", "x");
        assert_eq!(users.get("zOË").map(|u| u.name.as_str()), Some("Zoë"));
        assert!(users.get("zoe").is_none());
    }

    #[test]
    fn adding_a_user_again_replaces_the_password() {
        let mut users = UserStore::new();
        users.add("alice", "old");
        users.add("ALICE", "new");
        assert_eq!(users.get("alice").unwrap().nt_hash, nt_hash("new"));
    }

    #[test]
    fn a_printed_store_shows_no_hashes() {
        let mut users = UserStore::new();
        users.add_hash("alice", NtHash::from([0xab; 16]));
        assert!(!format!("{users:?}").contains("171"));
        assert!(!format!("{users:?}").to_lowercase().contains("ab, "));
    }
}
