//! What a reader of figures must know of the machine they were measured on.

use crate::Outcome;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
}

impl Machine {
    /// The one we run on, with the file system that `folder` is on.
    pub(crate) fn of(folder: &Path) -> Outcome<Self> {
        let memory = fs::read_to_string("/proc/meminfo")?;
        let memory_kib: u64 = memory.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Machine {
            cores: std::thread::available_parallelism()?.get(),
            processor: model.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            memory_gib: memory_kib as f64 / (1 << 20) as f64,
            // What follows the number is whoever built it.
            kernel: kernel.split('-').next().unwrap_or_default().trim().to_owned(),
            file_system: file_system(folder)?,
        })
    }
}

/// Processes that wanted to run, averaged over the last minute.
pub(crate) fn load_average() -> Outcome<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

/// The type of the file system that `folder` is on.
fn file_system(folder: &Path) -> Outcome<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(at, _)| folder.starts_with(at))
        .max_by_key(|(at, _)| at.len());
    Ok(found.map_or("unknown", |(_, kind)| kind).to_owned())
}
