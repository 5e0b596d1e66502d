//! The coordinator under test: transcripts of what clients see, and chance.

mod admissions;
mod chance;
mod expiry;
mod format;
mod rebalances;
mod saves;
mod statics;
mod transcript;
mod world;
