//! Memory of streams and connections that nobody uses.

use super::{Options, report};
use crate::Outcome;
use crate::broker::{Broker, client_runtime};
use crate::client::Client;
use crate::disk;
use crate::figure;
use crate::piece::Size;
use crate::streams;
use std::thread;
use std::time::Duration;

/// How long after its start the broker's memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// What streams that were used hold, each.
const USED: Size = Size { bytes: 1 << 10, records: 1 };

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Memory per idle stream",
        "Proportional set size of the broker with so many partitions (1,000 to a topic), less that with none, divided \
         by their number: as it made them, and after a restart. Then with one record of 1 KiB in each.",
    );
    if !options.has_broker()? {
        return Ok(());
    }
    report::head(&["streams", "as made, B each", "restarted, B each", "one record each, restarted, B each"]);
    let folder = disk::fresh(&options.folder, "idle")?;
    let broker = options.start_broker(&folder)?;
    let none = settled(options, &broker)?;
    broker.stop()?;
    for count in if options.quick { [1000, 2000] } else { [10_000, 50_000] } {
        let folder = disk::fresh(&options.folder, "idle")?;
        let each = |memory: u64| figure::number(memory.saturating_sub(none) as f64 / count as f64);
        let broker = options.start_broker(&folder)?;
        streams::create(broker.address, count)?;
        let made = settled(options, &broker)?;
        broker.stop()?;
        let broker = options.start_broker(&folder)?;
        let restarted = settled(options, &broker)?;
        streams::fill(broker.address, count, USED, count as u64, 1)?;
        broker.stop()?;
        let broker = options.start_broker(&folder)?;
        let used = settled(options, &broker)?;
        broker.stop()?;
        report::row(&[count.to_string(), each(made), each(restarted), each(used)]);
    }
    std::fs::remove_dir_all(folder)?;
    connections(options)
}

/// Connections that have asked once and are silent since.
fn connections(options: &Options) -> Outcome<()> {
    report::section(
        "Memory per idle connection",
        "Proportional set size of the broker with so many connections that were answered once (Metadata) and are \
         silent since, less that before, divided by their number. What the kernel holds for a socket is not in it.",
    );
    report::head(&["connections", "B each"]);
    let count = if options.quick { 100 } else { 2000 };
    let folder = disk::fresh(&options.folder, "idle")?;
    let broker = options.start_broker(&folder)?;
    let none = settled(options, &broker)?;
    let runtime = client_runtime()?;
    let clients = runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = Client::connect(broker.address).await?;
            client.metadata().await?;
            clients.push(client);
        }
        Outcome::Ok(clients)
    })?;
    let some = settled(options, &broker)?;
    drop(clients);
    broker.stop()?;
    report::row(&[count.to_string(), figure::number(some.saturating_sub(none) as f64 / f64::from(count))]);
    Ok(std::fs::remove_dir_all(folder)?)
}

fn settled(options: &Options, broker: &Broker) -> Outcome<u64> {
    thread::sleep(if options.quick { Duration::from_millis(50) } else { SETTLE });
    broker.memory()
}
