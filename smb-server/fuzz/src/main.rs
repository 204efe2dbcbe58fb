//! Runs usmbd's fuzzing targets under libFuzzer and keeps their corpora: `./dev fuzz`, from the top of the house.

mod corpus;
mod seeds;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use usmbd::fuzzing::{TARGETS, Target};

use corpus::Corpus;

const HELP: &str = "\
./dev fuzz [TARGET...] [--seconds N] [--keep]
    Gives each target, or each of those named, N seconds (60) of inputs that libFuzzer makes up, starting from its
    corpus, under AddressSanitizer. What breaks a promise is written to target/fuzz/findings/TARGET, and ends its target.
    --keep: what has reached something new is taken into the corpus afterwards, which is made minimal.
./dev fuzz TARGET --try FILE...
    Runs inputs, to see what they do.
./dev fuzz TARGET --add FILE SENTENCE
    Keeps a finding in the corpus for good, under a sentence that says what went wrong.
./dev fuzz --seed
    Fills the corpora from the recorded sessions. Only for a new target.

The corpora are smb-server/fuzz/corpora/TARGET.txt, an input in each line; `cargo test -p usmbd fuzzing` runs them all.
What the targets do stands in smb-server/src/fuzzing/. There are:
";

/// Longer inputs find nothing that shorter ones do not, and take longer.
const INPUT_MAX: usize = 4096;

/// What libFuzzer is told in any case. An input may take no longer than this (s), for none here is large; nor may it
/// ask for more memory at once, or in all (MiB): the server's own limits are far below.
const BOUNDS: [&str; 3] = ["-timeout=10", "-malloc_limit_mb=128", "-rss_limit_mb=2048"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, Box<dyn Error>> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["-h" | "--help", ..] => {
            print!("{HELP}");
            TARGETS.iter().for_each(|target| println!("    {:<16}{}", target.name, target.input));
        }
        ["--seed"] => seed()?,
        [target, "--try", files @ ..] => return Ok(libfuzzer(find(target)?, files, &[])?),
        [target, "--add", file, sentence] => add(find(target)?, file, sentence)?,
        words => return fuzz(words),
    }
    Ok(true)
}

fn find(name: &str) -> Result<&'static Target, String> {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.ok_or_else(|| format!("there is no '{name}'; try ./dev fuzz --help"))
}

fn fuzz(words: &[&str]) -> Result<bool, Box<dyn Error>> {
    let (mut targets, mut seconds, mut keep) = (Vec::new(), 60_u32, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => seconds = words.next().ok_or("how many seconds?")?.parse()?,
            "--keep" => keep = true,
            name => targets.push(find(name)?),
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    let mut failed = Vec::new();
    for target in targets {
        println!("fuzz: {} for {seconds} s", target.name);
        if !search(target, seconds)? {
            failed.push(target.name);
        }
        if keep {
            minimise(target)?;
        }
    }
    if failed.is_empty() {
        println!("fuzz: nothing was found");
    } else {
        println!("fuzz: findings of {failed:?} are in {}", work("findings").display());
    }
    Ok(failed.is_empty())
}

/// Where inputs are while they are worked with.
fn work(what: &str) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target/fuzz".into());
    Path::new(&target).join(what)
}

/// Whether a target kept its promises for so long.
fn search(target: &Target, seconds: u32) -> Result<bool, Box<dyn Error>> {
    let (inputs, findings) = (work("inputs").join(target.name), work("findings").join(target.name));
    fs::create_dir_all(&findings)?;
    Corpus::load(target)?.unpack(&inputs)?;
    let options = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_MAX}"),
        format!("-artifact_prefix={}/", findings.display()),
        "-print_final_stats=1".to_owned(),
        "-reload=0".to_owned(),
    ];
    libfuzzer(target, &[&*inputs.to_string_lossy()], &options)
}

/// Replaces the corpus by the fewest inputs that reach as much as all that there are now.
fn minimise(target: &Target) -> Result<(), Box<dyn Error>> {
    let (inputs, fewest) = (work("inputs").join(target.name), work("fewest").join(target.name));
    let mut corpus = Corpus::load(target)?;
    if fewest.exists() {
        fs::remove_dir_all(&fewest)?;
    }
    fs::create_dir_all(&fewest)?;
    let folders = [&*fewest.to_string_lossy(), &*inputs.to_string_lossy()];
    if !libfuzzer(target, &folders, &["-merge=1".to_owned(), format!("-max_len={INPUT_MAX}")])? {
        return Err("the corpus is as it was: it could not be made minimal".into());
    }
    corpus.pack(&fewest)?;
    Ok(corpus.store(target)?)
}

fn libfuzzer(target: &Target, inputs: &[&str], options: &[String]) -> Result<bool, Box<dyn Error>> {
    let program = env::current_exe()?.with_file_name("libfuzzer");
    let status = Command::new(program)
        .env("USMBD_FUZZ_TARGET", target.name)
        .args(BOUNDS)
        .args(options)
        .args(inputs)
        .status()?;
    Ok(status.success())
}

fn add(target: &Target, file: &str, sentence: &str) -> Result<(), Box<dyn Error>> {
    let mut corpus = Corpus::load(target)?;
    let input = fs::read(file)?;
    corpus.others.remove(&input);
    corpus.named.push((sentence.to_owned(), input));
    Ok(corpus.store(target)?)
}

/// Of the seeds, those are kept that reach something which others do not.
fn seed() -> Result<(), Box<dyn Error>> {
    for target in TARGETS {
        let mut corpus = Corpus::load(target)?;
        corpus.others.extend(seeds::of(target.name)?);
        corpus.unpack(&work("inputs").join(target.name))?;
        minimise(target)?;
    }
    Ok(())
}
