//! The committed corpus, checked on every machine: what libFuzzer found worth keeping, and the inputs of the
//! bugs it found. A target that breaks for one of them says which.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fuzz::TARGETS;

/// Bytes of one target's corpus; larger ones are for a machine's own disk.
const CORPUS_BYTES_MAX: usize = 128 * 1024;

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&directory).expect("each target has its corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
}

#[test]
fn every_input_of_the_corpus_holds_its_properties() {
    for (target, check) in TARGETS {
        for (path, input) in inputs(target) {
            println!("{}", path.display());
            check(&input);
        }
    }
}

#[test]
fn the_corpus_is_there_and_small() {
    for (target, _) in TARGETS {
        let inputs = inputs(target);
        let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
        assert!(inputs.len() >= 10, "{} inputs are no corpus of {target}", inputs.len());
        assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes are too many for {target}");
    }
}

#[test]
fn random_bytes_hold_the_properties_too() {
    let mut rng = fastrand::Rng::with_seed(7);
    for (target, check) in TARGETS {
        let inputs = inputs(target);
        for _ in 0..2000 {
            let mut input = inputs[rng.usize(..inputs.len())].1.clone();
            for _ in 0..rng.usize(..8) {
                let at = rng.usize(..=input.len());
                match rng.u8(..3) {
                    0 => input.insert(at, rng.u8(..)),
                    1 => input.truncate(at),
                    _ if at < input.len() => input[at] = rng.u8(..),
                    _ => {}
                }
            }
            check(&input);
        }
    }
}
