//! Identities on the ring: what is done for one user is not done as another, whatever thread of the
//! kernel's does it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use futures_util::future::join_all;
use libtest_mimic::{Completion, Failed, Trial};
use ringway::fs::{Dir, Mode, OFlags, OpenHow};
use ringway::{Backend, Builder, Feature, Identity, Mask};

use crate::config;
use crate::drops::never_inline;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &'static str, backend, mask| {
        let name = format!("identities::{name}::{backend}");
        config::trial(name, move || interleaved(Builder::new().backend(backend).mask(mask)))
    };
    let without = Mask::none().without(Feature::Personality);
    vec![
        trial("on_the_ring", Backend::Uring, Mask::none()),
        trial("on_the_ring", Backend::Hybrid, Mask::none()),
        trial("on_threads", Backend::Uring, without),
        trial("on_threads", Backend::Epoll, Mask::none()),
    ]
}

const USERS: [u32; 4] = [0, 5001, 5002, 5003];
const FILES: usize = 200;

/// Files made, appended to and looked at for four users at once.
fn interleaved(builder: Builder) -> Result<Completion, Failed> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Completion::ignored_with("only root may act for others"));
    }
    let runtime = match builder.policy(never_inline()).build() {
        Ok(runtime) => runtime,
        Err(error) => return Ok(Completion::ignored_with(error)),
    };
    let features = runtime.features();
    if features.backend() == Backend::Hybrid && !features.has(Feature::Personality) {
        let support = features.support(Feature::Personality);
        return Ok(Completion::ignored_with(format!("Personality: {support:?}")));
    }
    let scratch = tempfile::tempdir()?;
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o777))?;
    let dir = Dir::open_ambient(scratch.path())?;
    runtime.block_on(join_all((0..FILES).map(|number| {
        let user = USERS[number % USERS.len()];
        let dir = dir.with_identity(Some(Identity::new(user, user, &[]).unwrap()));
        async move {
            let name = number.to_string();
            let how = OpenHow::new(OFlags::CREATE | OFlags::EXCL | OFlags::RDWR);
            let file = dir.open_at(&name, &how.mode(Mode::RUSR | Mode::WUSR)).await.unwrap();
            file.append(b"mine".to_vec()).await.0.unwrap();
            dir.mkdir_at(format!("{name}.dir"), 0o700).await.unwrap();
            // Not mine, unless I am root; mine.
            let other = dir.open_at(format!("{}", number ^ 1), &OpenHow::new(OFlags::RDONLY)).await;
            assert!(user == 0 || other.is_err(), "{user} may read {}", number ^ 1);
            dir.open_at(&name, &OpenHow::new(OFlags::RDONLY)).await.unwrap();
        }
    })));
    for number in 0..FILES {
        for name in [format!("{number}"), format!("{number}.dir")] {
            let made = std::fs::metadata(scratch.path().join(&name))?;
            if made.uid() != USERS[number % USERS.len()] {
                return Err(format!("{name} belongs to {}", made.uid()).into());
            }
        }
    }
    Ok(Completion::Completed)
}
