//! How a case is run: on each backend by default, with each rung of its kinds forced, with each kind
//! masked off the ring, and with half of all first rungs refusing. The metrics have to show that it
//! really ran that way.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use libtest_mimic::{Completion, Failed, Trial};
use ringway::{Backend, Builder, Feature, Features, Mask, Metrics, OpKind, Policy, Rung};

use crate::case::{Case, Stage, World};
use crate::counts;

pub(crate) const BACKENDS: [Backend; 3] = [Backend::Uring, Backend::Hybrid, Backend::Epoll];
const SEEDS: [u64; 3] = [0x5eed_0001, 0xdead_beef, 0x0123_4567_89ab];

/// Kinds that are never put on a ring: there is nothing to be ignored.
const NEVER_ON_RING: [OpKind; 10] = [
    OpKind::AccessAt,
    OpKind::Chmod,
    OpKind::Getdents,
    OpKind::ListXattr,
    OpKind::ReadlinkAt,
    OpKind::RemoveXattr,
    OpKind::SetTimes,
    OpKind::Shutdown,
    OpKind::Statfs,
    OpKind::Tee,
];

/// What this kernel gives, by backend, or why not.
static FEATURES: LazyLock<[Result<Features, String>; 3]> = LazyLock::new(|| {
    BACKENDS.map(|backend| {
        let runtime = Builder::new().backend(backend).build();
        runtime.map(|runtime| runtime.features().clone()).map_err(|error| error.to_string())
    })
});

/// What `backend` has here, or why it cannot run.
pub(crate) fn features(backend: Backend) -> &'static Result<Features, String> {
    let index = BACKENDS.iter().position(|&other| other == backend);
    &FEATURES[index.expect("one of the three")]
}

/// A trial that runs where `backend` does, and is ignored elsewhere.
pub(crate) fn on_backend(
    name: String,
    backend: Backend,
    run: impl FnOnce(Builder) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    trial(name, move || where_it_runs(backend, run))
}

/// The same with nothing else in the process, for a trial that counts what the process has.
pub(crate) fn alone_on_backend(
    name: String,
    backend: Backend,
    run: impl FnOnce(Builder) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let watched = name.clone();
    Trial::ignorable_test(name, move || {
        let _alone = counts::alone();
        let _watch = counts::watch(watched);
        where_it_runs(backend, run)
    })
}

fn where_it_runs(
    backend: Backend,
    run: impl FnOnce(Builder) -> Result<(), Failed>,
) -> Result<Completion, Failed> {
    match features(backend) {
        Ok(_) => run(Builder::new().backend(backend)).map(|()| Completion::Completed),
        Err(reason) if backend == Backend::Epoll => Err(reason.into()),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    }
}

/// A trial that others may run beside, and that ends some time.
pub(crate) fn trial(
    name: String,
    run: impl FnOnce() -> Result<Completion, Failed> + Send + 'static,
) -> Trial {
    let watched = name.clone();
    Trial::ignorable_test(name, move || {
        let _beside = counts::beside_others();
        let _watch = counts::watch(watched);
        run()
    })
}

/// All ways of running `case`.
pub(crate) fn trials(case: &'static Case) -> Vec<Trial> {
    let of = |backend: Backend| match features(backend) {
        Ok(features) => configs(case, features),
        Err(_) => vec![Config::new("default", backend, Expected::Nothing)],
    };
    let configs = BACKENDS.into_iter().flat_map(of);
    configs.map(|config| config.trial(case)).collect()
}

fn configs(case: &Case, features: &Features) -> Vec<Config> {
    let backend = features.backend();
    let mut configs = vec![Config::new("default", backend, Expected::Nothing)];
    for &kind in case.kinds {
        // Only where there are several is the kind worth naming.
        let prefix = match case.kinds {
            [_] => String::new(),
            _ => format!("{kind:?}_").to_lowercase(),
        };
        let rungs = rungs(features, kind);
        for (place, &rung) in rungs.iter().enumerate() {
            // What cannot be done at once needs somewhere to go.
            let next = rungs.get(place + 1).filter(|_| rung == Rung::Inline);
            let preferred: Vec<_> = [rung].into_iter().chain(next.copied()).collect();
            let policy = Policy::new().prefer(kind, &preferred);
            let runs = if case.streams && rung == Rung::Pool { Rung::Ready } else { rung };
            let config =
                Config::new(format!("{prefix}{rung}"), backend, Expected::Rung(kind, runs));
            configs.push(Config { policy, ..config });
        }
        if backend == Backend::Epoll {
            continue;
        }
        if rungs.contains(&Rung::Ring) {
            let config = Config::new(format!("{prefix}masked"), backend, Expected::NotOnRing(kind));
            configs.push(Config { mask: Mask::none().without_on_ring(kind), ..config });
        } else if !NEVER_ON_RING.contains(&kind) {
            let missing = format!("no {kind:?} on this kernel's ring");
            let config = Config::new(format!("{prefix}ring"), backend, Expected::Nothing);
            configs.push(Config { missing: Some(missing), ..config });
        }
    }
    for (number, seed) in SEEDS.into_iter().enumerate() {
        let policy = Policy::new().refuse_first_rung(50, seed);
        let config = Config::new(format!("refusals_{number}"), backend, Expected::Refusals);
        configs.push(Config { policy, ..config });
    }
    configs
}

/// The rungs of a kind; none where another operation takes its place.
fn rungs(features: &Features, kind: OpKind) -> Vec<Rung> {
    let is_fixed = matches!(kind, OpKind::ReadFixed | OpKind::WriteFixed);
    match is_fixed && !features.has(Feature::FixedBuffers) {
        true => Vec::new(),
        false => features.rungs(kind).collect(),
    }
}

/// One way of running a case.
struct Config {
    name: String,
    backend: Backend,
    policy: Policy,
    mask: Mask,
    expected: Expected,
    missing: Option<String>,
}

/// What the metrics have to show.
#[derive(Clone, Copy)]
enum Expected {
    Nothing,
    Rung(OpKind, Rung),
    NotOnRing(OpKind),
    Refusals,
}

impl Config {
    fn new(name: impl Into<String>, backend: Backend, expected: Expected) -> Self {
        let (name, policy, mask) = (name.into(), Policy::new(), Mask::none());
        Self { name, backend, policy, mask, expected, missing: None }
    }

    fn trial(self, case: &'static Case) -> Trial {
        let name = format!("{}::{}::{}", case.name, self.backend, self.name);
        if let Some(reason) = self.missing {
            return trial(name, || Ok(Completion::ignored_with(reason)));
        }
        let Self { backend, policy, mask, expected, .. } = self;
        on_backend(name, backend, move |builder| {
            run(case, &builder.policy(policy).mask(mask), expected)
        })
    }
}

fn run(case: &Case, builder: &Builder, expected: Expected) -> Result<(), Failed> {
    let runtime = builder.build()?;
    let stage = Stage::new(World::Ringway);
    runtime.block_on((case.script)(&stage));
    compare(case.expected(), &stage.transcript())?;
    let metrics = runtime.metrics();
    expected
        .check(case, runtime.features(), &metrics)
        .map_err(|lie| format!("{lie}\n{metrics}"))?;
    Ok(())
}

fn compare(expected: &[String], told: &[String]) -> Result<(), Failed> {
    if expected == told {
        return Ok(());
    }
    let lines = expected.len().max(told.len());
    let differing = (0..lines).filter(|&line| expected.get(line) != told.get(line));
    let say = |line: Option<&String>| line.map_or("nothing", String::as_str).to_owned();
    let differing = differing.take(10).map(|line| {
        format!(
            "the kernel says {:?}\nringway says    {:?}",
            say(expected.get(line)),
            say(told.get(line))
        )
    });
    Err(differing.collect::<Vec<_>>().join("\n").into())
}

impl Expected {
    /// An error if `metrics` show that the operations ran in another way.
    fn check(self, case: &Case, features: &Features, metrics: &Metrics) -> Result<(), String> {
        let ran = |kind| {
            let of_kind = metrics.operations.iter().filter(move |op| op.kind == kind);
            of_kind.filter(|op| op.count > 0).map(|op| op.rung.to_string()).collect::<BTreeSet<_>>()
        };
        match self {
            Self::Nothing => {
                // What has no rung here has another operation in its place.
                let has = |kind: OpKind| !rungs(features, kind).is_empty();
                let mut kinds = case.kinds.iter();
                let idle = kinds.find(|&&kind| has(kind) && ran(kind).is_empty());
                idle.map_or(Ok(()), |kind| Err(format!("the case did no {kind:?}")))
            }
            Self::Rung(kind, rung) if !ran(kind).contains(&rung.to_string()) => {
                Err(format!("{kind:?} was to run {rung}, not {:?}", ran(kind)))
            }
            // Nothing but what was asked for, or what may come after it.
            Self::Rung(kind, rung) if rung != Rung::Inline && ran(kind).len() > 1 => {
                Err(format!("{kind:?} was to run {rung} only, not {:?}", ran(kind)))
            }
            Self::NotOnRing(kind) if metrics.of(kind, Rung::Ring).is_some() => {
                Err(format!("{kind:?} ran on the ring, which it was masked off"))
            }
            Self::Refusals => {
                let may_refuse = |kind: OpKind| features.rungs(kind).count() > 1;
                let all = &metrics.operations;
                let refused: u64 = all.iter().map(|op| op.refused).sum();
                let count: u64 =
                    all.iter().filter(|op| may_refuse(op.kind)).map(|op| op.count).sum();
                match count > 12 && refused == 0 {
                    true => Err(format!("none of {count} operations was refused")),
                    false => Ok(()),
                }
            }
            Self::Rung(..) | Self::NotOnRing(_) => Ok(()),
        }
    }
}
