//! Tables of figures, ready to be pasted into docs/benchmarks.

use super::Options;
use crate::Outcome;
use std::fs;

/// What a reader must know of the machine and the run.
pub(crate) fn conditions(options: &Options) -> Outcome<()> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory_kib: u64 = memory.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    println!("# bench core\n");
    println!(
        "{cores} cores, {:.0} GiB of memory, Linux {}, file system {}, bench {}; per case {} ms of warm-up, {} ms \
         measured, {} turns{}.",
        memory_kib as f64 / (1 << 20) as f64,
        kernel.trim(),
        file_system(options)?,
        if cfg!(debug_assertions) { "built for debugging" } else { "built for release" },
        options.warm_up().as_millis(),
        options.window().as_millis(),
        options.repetitions(),
        if options.quick { "; quick, so the figures mean nothing" } else { "" },
    );
    Ok(())
}

/// The type of the file system that the folder is on.
fn file_system(options: &Options) -> Outcome<String> {
    let folder = options.folder.canonicalize()?;
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

/// Begins a section: its title, and what its figures mean.
pub(crate) fn section(title: &str, meaning: &str) {
    println!("\n## {title}\n\n{meaning}");
}

/// Begins a table.
pub(crate) fn head(columns: &[&str]) {
    println!("\n| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

/// A row of the table.
pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// A sentence below a table.
pub(crate) fn note(text: &str) {
    println!("\n{text}");
}

/// A number with as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|group| std::str::from_utf8(group).unwrap_or_default())
                .collect();
            groups.join(",")
        }
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A size as people write it.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 && bytes % (1 << 30) == 0 => format!("{} GiB", bytes >> 30),
        bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1234567.8), "1,234,568");
        assert_eq!(number(999.4), "999");
        assert_eq!(number(12.345), "12.3");
        assert_eq!(number(0.123), "0.12");
        assert_eq!((size(100), size(64 << 10), size(10 << 30)), ("100 B".into(), "64 KiB".into(), "10 GiB".into()));
    }
}
