//! One property a file, and the entries and checkpoints they are told with.

mod catalog;
mod checkpoint;
mod garbage;
mod leader;
mod moving;
mod replica;
mod reply;
mod surprise;
