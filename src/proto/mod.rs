//! Wire formats: bytes to types and back, without I/O.

pub mod push_notify;
pub mod xaps;
