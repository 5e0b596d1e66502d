//! The disk itself: what everything that is made durable is compared with.

use super::{Options, report};
use crate::Outcome;
use crate::cost::{Cost, median};
use crate::disk::{Way, Writes};
use crate::figure::{number, size};

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Disk",
        "Writes into one preallocated file. Direct is O_DIRECT, past the page cache; buffered is what the journal does. \
         Fresh pages: the file is new to the page cache; same pages: 16 MiB are written over and over.",
    );
    report::head(&["writes", "fdatasync after", "lowest MiB/s", "median MiB/s", "highest MiB/s", "CPU µs per 64 KiB"]);
    let large: u64 = 8 << 30;
    for (name, way, block, between, file_bytes) in [
        ("1 MiB direct", Way::Direct, 1 << 20, 64, 256 << 20),
        ("256 KiB direct", Way::Direct, 256 << 10, 1, 256 << 20),
        ("256 KiB buffered, fresh pages", Way::Buffered, 256 << 10, 1, large),
        ("256 KiB buffered, same pages", Way::Buffered, 256 << 10, 1, 16 << 20),
        ("4 KiB direct", Way::Direct, 4 << 10, 1, 256 << 20),
        ("4 KiB buffered, fresh pages", Way::Buffered, 4 << 10, 1, large),
    ] {
        let file_bytes = if options.quick { file_bytes.min(256 << 20) } else { file_bytes };
        let writes = Writes { way, block, between, file_bytes };
        let turns = (0..options.repetitions().max(3)).map(|_| writes.run(&options.folder, options.window()));
        let turns = turns.collect::<Outcome<Vec<_>>>()?;
        let speeds = || turns.iter().map(Cost::mib_a_second);
        report::row(&[
            name.into(),
            size(block * between),
            number(speeds().fold(f64::MAX, f64::min)),
            number(median(speeds())),
            number(speeds().fold(0.0, f64::max)),
            number(median(turns.iter().map(Cost::cpu_micros))),
        ]);
    }
    Ok(())
}
