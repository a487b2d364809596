//! libFuzzer's way to the properties of the configuration file; they are in `src/configuration.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::configuration::check(input));
