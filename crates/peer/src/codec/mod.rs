//! The bytes on the wire, drawn in docs/formats/peer.md. Pure: nothing in here does I/O.

pub mod answer;
pub mod decoder;
pub mod frame;
pub mod greeting;
pub mod hello;

#[cfg(test)]
mod hostile;
