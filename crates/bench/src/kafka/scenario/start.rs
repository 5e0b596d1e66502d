//! From nothing to the first answer.

use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::Client;
use crate::kafka::broker_under_test::BrokerUnderTest;
use crate::kafka::consumer;
use crate::kafka::contest::Stage;
use crate::kafka::fill::fill;
use crate::kafka::metric::Metric;
use crate::kafka::payload::Shape;
use crate::kafka::results::Figures;
use crate::kafka::variant::Variant;
use std::thread;
use std::time::Duration;

/// How long a broker is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);
const SHAPE: Shape = Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false };
const PARTITIONS: usize = 12;
const TOPIC: &str = "start";

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    stage.alone()?;
    for variant in stage.turns(&Variant::DEFAULTS) {
        let Some(mut broker) = BrokerUnderTest::prepare(options, variant.product(), "start", "")? else { continue };
        let started = broker.start()?;
        thread::sleep(if options.quick { Duration::from_millis(50) } else { SETTLE });
        let memory = broker.memory_mib()?;
        let address = broker.address()?;
        client_runtime()?.block_on(async { Client::connect(address).await?.create_topic(TOPIC, PARTITIONS).await })?;
        let filled = fill(address, TOPIC, SHAPE, PARTITIONS, if options.quick { 1 << 20 } else { 64 << 20 })?;
        broker.stop()?;
        let restarted = broker.restart(TOPIC, PARTITIONS)?;
        let address = broker.address()?;
        client_runtime()?.block_on(consumer::verify(address, TOPIC, &filled.plan, &filled.sent))?;
        broker.remove()?;
        options.say(&format!("start {}: {:.0} ms, {memory:.0} MiB", variant.label(), started.as_secs_f64() * 1e3));
        let figures = Figures::from([
            (Metric::StartMillis, started.as_secs_f64() * 1e3),
            (Metric::RestartMillis, restarted.as_secs_f64() * 1e3),
            (Metric::MemoryMib, memory),
        ]);
        stage.record("one node", variant, figures);
    }
    Ok(())
}
