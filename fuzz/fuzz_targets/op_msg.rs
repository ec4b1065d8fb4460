//! Fuzzes `petiole::wire::fuzzing::op_msg`; the property is described there.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| petiole::wire::fuzzing::op_msg(data));
