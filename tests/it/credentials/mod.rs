//! Credentials for Apple in every form that people have them, made by the `openssl` command, and shown to a server that wants to see a
//! certificate.

mod facts;
mod faults;
pub(crate) mod forge;
mod forms;
mod handshake;
mod judgement;
mod token;
