//! libFuzzer's program of the target `watch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::watch(bytes));
