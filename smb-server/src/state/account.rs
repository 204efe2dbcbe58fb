//! Which unix account an SMB user's files belong to.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};
use ringway::Identity;

use crate::auth::Principal;
use crate::security::UnixNames;

/// A unix account: the ids that the kernel's permission checks see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its login name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    identity: Identity,
}

/// The accounts of the server's users, looked up once at start.
#[derive(Debug)]
pub struct Accounts {
    by_user: HashMap<String, Account>,
    /// That of who is not a user.
    guest: Option<Account>,
    /// Whether the process can act as somebody else.
    privileged: bool,
}

impl Accounts {
    /// Looks the users up. One without an account is simply not there.
    #[must_use]
    pub fn look_up<'a>(users: impl Iterator<Item = &'a str>) -> Self {
        let by_user = users.filter_map(|user| Some((user.to_owned(), account(user)?))).collect();
        Self { by_user, guest: None, privileged: geteuid().is_root() }
    }

    /// Has guests work as the account of this name; `false` if there is none.
    pub fn guests_as(&mut self, name: &str) -> bool {
        self.guest = account(name);
        self.guest.is_some()
    }

    /// Whether users are different ones to the kernel.
    #[must_use]
    pub fn are_distinct(&self) -> bool {
        self.privileged
    }

    /// The groups of whoever of the server's users and guests has this user id.
    #[must_use]
    pub fn groups_of(&self, uid: u32) -> Vec<u32> {
        let account = self.by_user.values().chain(&self.guest).find(|account| account.uid == uid);
        account.map(|account| account.identity.groups().to_vec()).unwrap_or_default()
    }

    /// The account of a user, as the user store spells the name, or of somebody who is none.
    #[must_use]
    pub fn get(&self, principal: &Principal) -> Option<&Account> {
        match principal {
            Principal::User(name) => self.by_user.get(name),
            Principal::Guest | Principal::Anonymous => self.guest.as_ref(),
        }
    }

    /// The uid that `principal` works as in a folder that belongs to `owner`, and why, for the start-up lines.
    #[must_use]
    pub fn explain(&self, principal: &Principal, owner: (u32, u32)) -> (u32, String) {
        let process = geteuid().as_raw();
        match self.get(principal) {
            _ if !self.privileged => {
                let because = format!(
                    "as {}, like the server, which cannot act as others",
                    account_name(process)
                );
                (process, because)
            }
            Some(account) => (account.uid, format!("as the unix account {}", account.name)),
            None => {
                let because = format!(
                    "no unix account: as {}, the owner of the folder",
                    account_name(owner.0)
                );
                (owner.0, because)
            }
        }
    }

    /// As whom `principal` works in a folder that belongs to `owner`: with an account, as that; without,
    /// as the owner of the folder. `None`: as the process itself.
    ///
    /// # Errors
    /// When the kernel could not know that owner.
    pub fn identity(
        &self,
        principal: &Principal,
        owner: (u32, u32),
    ) -> io::Result<Option<Identity>> {
        if !self.privileged {
            return Ok(None);
        }
        let identity = match self.get(principal) {
            Some(account) => account.identity.clone(),
            None => Identity::new(owner.0, owner.1, &[owner.1])?,
        };
        Ok((identity.uid() != geteuid().as_raw()).then_some(identity))
    }
}

/// The accounts of the system, by its own tables.
#[derive(Debug)]
pub struct SystemAccounts;

impl UnixNames for SystemAccounts {
    fn user(&self, uid: u32) -> Option<String> {
        Some(User::from_uid(Uid::from_raw(uid)).ok()??.name)
    }

    fn group(&self, gid: u32) -> Option<String> {
        Some(Group::from_gid(Gid::from_raw(gid)).ok()??.name)
    }

    fn uid(&self, name: &str) -> Option<u32> {
        Some(User::from_name(name).ok()??.uid.as_raw())
    }

    fn gid(&self, name: &str) -> Option<u32> {
        Some(Group::from_name(name).ok()??.gid.as_raw())
    }
}

/// The name of the account with this id, or the number where it has none.
fn account_name(uid: u32) -> String {
    SystemAccounts.user(uid).unwrap_or_else(|| format!("uid {uid}"))
}

fn account(user: &str) -> Option<Account> {
    let found = User::from_name(user).ok().flatten()?;
    let name = CString::new(found.name.as_str()).ok()?;
    let groups = getgrouplist(&name, found.gid).unwrap_or_else(|_| vec![found.gid]);
    let groups: Vec<u32> = groups.into_iter().map(Gid::as_raw).collect();
    let identity = Identity::new(found.uid.as_raw(), found.gid.as_raw(), &groups).ok()?;
    Some(Account { name: found.name, uid: found.uid.as_raw(), identity })
}
