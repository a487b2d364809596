//! libFuzzer's way to the properties of inline requests; they are in `src/inline.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::inline::check(input));
