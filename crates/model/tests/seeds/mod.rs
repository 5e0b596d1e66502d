//! What fuzzing begins with, and the same targets on ordinary Rust for a moment.
//!
//! A target is a function of bytes that panics when something is wrong. cargo-fuzz runs it for long, from
//! `fuzz/fuzz_targets`, and a test here for a moment. Both begin with `fuzz/seeds/TARGET.txt`: an input a
//! line, as hexadecimal, made from what today's code writes. Other crates take this module by its path;
//! `REWRITE=1` in the environment writes the files anew.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the files are on a real disk, and time ends the test"
)]

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long inputs are made from the seeds, and how many at most.
const TIME: Duration = Duration::from_secs(2);
const INPUTS: usize = 1_000_000;

/// Asserts that the seeds are those of the file, then runs the target with them and with what comes of
/// changing them.
pub(crate) fn play(crate_folder: &str, target: &str, seeds: &[Vec<u8>], run: fn(&[u8])) {
    let path = Path::new(crate_folder).join("fuzz/seeds").join(format!("{target}.txt"));
    if std::env::var_os("REWRITE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, to_text(seeds)).expect("the seeds can be written");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, to_text(seeds), "{target}: today's code writes other bytes; REWRITE=1 writes the seeds anew");
    assert!(!seeds.is_empty());
    for seed in seeds {
        shown(run, seed);
    }
    let quick = std::env::var_os("MAINSTEM_QUICK").is_some_and(|value| value == "1");
    let (began, time) = (Instant::now(), if quick { TIME / 10 } else { TIME });
    let mut chance = Chance(1);
    for nth in 0..INPUTS {
        if nth % 64 == 0 && began.elapsed() > time {
            break;
        }
        shown(run, &changed(seeds, &mut chance));
    }
}

/// Runs it, and shows the input if it panics.
fn shown(run: fn(&[u8]), input: &[u8]) {
    struct OnPanic<'a>(&'a [u8]);
    impl Drop for OnPanic<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input was {}", to_hex(self.0));
            }
        }
    }
    let guard = OnPanic(input);
    run(input);
    drop(guard);
}

/// One of the seeds with a few changes of the kinds that get far: bytes, lengths, parts of others.
fn changed(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        match chance.below(6) {
            0 => input.truncate(at),
            1 => input.insert(at, chance.number() as u8),
            2 if at < input.len() => drop(input.remove(at)),
            3 => {
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            4 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][chance.below(5)],
            _ if at < input.len() => input[at] ^= 1 << chance.below(8),
            _ => {}
        }
    }
    input
}

fn to_text(seeds: &[Vec<u8>]) -> String {
    seeds.iter().fold(String::new(), |mut text, seed| {
        writeln!(text, "{}", to_hex(seed)).expect("text grows");
        text
    })
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text grows");
        text
    })
}

/// The bytes of the golden file `name` of a crate, with others before them.
#[allow(dead_code, reason = "not every crate has golden files to begin with")]
pub(crate) fn golden(crate_folder: &str, name: &str, before: &[u8]) -> Vec<u8> {
    let path = Path::new(crate_folder).join("tests/golden").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let bytes = text.split_whitespace().map(|word| u8::from_str_radix(word, 16).expect("two hexadecimal digits"));
    before.iter().copied().chain(bytes).collect()
}

/// Numbers that look random (SplitMix64).
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }
}
