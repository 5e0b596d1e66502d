//! One property a file, and the entries and checkpoints they are told with.

mod checkpoint;
mod garbage;
mod leader;
mod replica;
mod surprise;
