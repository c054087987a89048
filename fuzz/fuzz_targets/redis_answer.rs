#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pushmaild::fuzzing::redis_answer(data));
