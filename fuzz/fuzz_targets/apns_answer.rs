#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pushmaild::fuzzing::apns_answer(data));
