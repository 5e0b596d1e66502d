//! Many partitions that nobody uses.

use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::{Client, produce_frame};
use crate::kafka::broker_under_test::BrokerUnderTest;
use crate::kafka::contest::Stage;
use crate::kafka::metric::Metric;
use crate::kafka::results::Figures;
use crate::kafka::variant::Variant;
use crate::piece::Size;
use crate::streams;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long a broker is left alone before it is held to be idle.
const SETTLE: Duration = Duration::from_secs(5);
/// What each partition holds.
const RECORD: Size = Size { bytes: 1 << 10, records: 1 };
/// How long the broker may take until it answers after kill -9.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(2);

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    stage.alone()?;
    let count = if options.quick { 50 } else { 10_000 };
    for variant in stage.turns(&Variant::DEFAULTS) {
        let Some(mut broker) = BrokerUnderTest::prepare(options, variant.product(), "partitions", "")? else {
            continue;
        };
        broker.start()?;
        let begun = Instant::now();
        streams::create(broker.address()?, count)?;
        let created = begun.elapsed();
        streams::fill(broker.address()?, count, RECORD, count as u64, 1)?;
        thread::sleep(if options.quick { Duration::from_millis(50) } else { SETTLE });
        let memory = broker.memory_mib()?;
        let (cpu, idle) = (broker.cpu()?, if options.quick { 1 } else { 10 });
        thread::sleep(Duration::from_secs(idle));
        let cpu = broker.cpu()? - cpu;
        broker.kill()?;
        let begun = Instant::now();
        broker.start()?;
        let metadata = begun.elapsed();
        let address = broker.address()?;
        let (topic, partition) = (streams::topic(count / 2), streams::partition(count / 2));
        let produced = first(begun, || client_runtime()?.block_on(produce(address, &topic, partition)))?;
        let fetched = first(begun, || client_runtime()?.block_on(fetch(address, &topic, partition)))?;
        // Partitions that were led a moment ago may still be opened.
        first(begun, || {
            let found = streams::count(address, count)?;
            if found == count as u64 + 1 {
                Ok(())
            } else {
                Err(format!("void: {found} of {} records", count + 1).into())
            }
        })?;
        broker.remove()?;
        options.say(&format!("{count} partitions {}: {:.1} s", variant.label(), created.as_secs_f64()));
        let figures = Figures::from([
            (Metric::CreateSeconds, created.as_secs_f64()),
            (Metric::MemoryMib, memory),
            (Metric::IdleCpuPercent, cpu.as_secs_f64() / idle as f64 * 100.0),
            (Metric::MetadataMillis, metadata.as_secs_f64() * 1e3),
            (Metric::ProducedMillis, produced.as_secs_f64() * 1e3),
            (Metric::FetchedMillis, fetched.as_secs_f64() * 1e3),
        ]);
        stage.record(&format!("{count} partitions"), variant, figures);
    }
    Ok(())
}

async fn produce(address: SocketAddr, topic: &str, partition: i32) -> Outcome<()> {
    let mut client = Client::connect(address).await?;
    client.send(&produce_frame(topic, partition, &RECORD.batch(), -1)?).await?;
    client.produced().await?;
    Ok(())
}

async fn fetch(address: SocketAddr, topic: &str, partition: i32) -> Outcome<()> {
    let found = Client::connect(address).await?.fetch(&[(topic.to_owned(), partition, 0)], 1, 1).await?;
    match found.first() {
        Some(part) if !part.records.is_empty() => Ok(()),
        _ => Err("void: nothing to fetch".into()),
    }
}

/// Asks until there is an answer: how long that took since `begun`.
fn first(begun: Instant, mut ask: impl FnMut() -> Outcome<()>) -> Outcome<Duration> {
    loop {
        match ask() {
            Ok(()) => return Ok(begun.elapsed()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(POLL),
        }
    }
}
