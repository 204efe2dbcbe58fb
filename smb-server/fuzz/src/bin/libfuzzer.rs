//! libFuzzer around one of usmbd's targets, the one that `USMBD_FUZZ_TARGET` names.
#![no_main]

use std::env;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use usmbd::fuzzing::TARGETS;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = env::var("USMBD_FUZZ_TARGET").expect("USMBD_FUZZ_TARGET names a target");
    TARGETS.iter().find(|target| target.name == name).expect("one of the targets").run
});

fuzz_target!(|input: &[u8]| RUN(input));
