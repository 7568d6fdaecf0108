//! libFuzzer's program of the target `manifests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::manifests(bytes));
