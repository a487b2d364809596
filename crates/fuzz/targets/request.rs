//! libFuzzer's way to the properties of framing of requests; they are in `src/request.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::request::check(input));
