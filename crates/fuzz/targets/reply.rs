//! libFuzzer's way to the properties of framing of replies; they are in `src/reply.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::reply::check(input));
