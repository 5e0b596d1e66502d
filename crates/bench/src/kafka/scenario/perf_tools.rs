//! What Kafka's own tools say.

use crate::Outcome;
use crate::apache_kafka::Jars;
use crate::broker::client_runtime;
use crate::client::Client;
use crate::figure::size;
use crate::kafka::contest::Stage;
use crate::kafka::metric::Metric;
use crate::kafka::perf_tool;
use crate::kafka::results::Figures;
use crate::kafka::variant::Variant;

/// Partitions, bytes of a record, records.
const CASES: [(usize, usize, u64); 2] = [(12, 1024, 400_000), (1, 100, 2_000_000)];
/// Who syncs every batch is not asked for as many.
const FEWER: u64 = 8;

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    let Some(jars) = options.jars() else { return Ok(()) };
    // Each run of a tool is the start of a JVM.
    let (cases, variants) = if options.quick { (1, &Variant::DEFAULTS[..]) } else { (CASES.len(), &Variant::ALL[..]) };
    for (partitions, record, records) in CASES.into_iter().take(cases) {
        for variant in stage.turns(variants) {
            let records = match (options.quick, variant) {
                (true, _) => 2000,
                (false, Variant::KafkaFlush) => records / FEWER,
                (false, _) => records,
            };
            one(stage, &jars, variant, partitions, record, records)?;
        }
    }
    Ok(())
}

fn one(
    stage: &mut Stage<'_>,
    jars: &Jars,
    variant: Variant,
    partitions: usize,
    record: usize,
    records: u64,
) -> Outcome<()> {
    let (options, contest) = (stage.options, stage.contest()?);
    let topic = contest.topic(variant, partitions)?;
    let broker = contest.broker(variant)?;
    let address = broker.address()?;
    let cpu = broker.cpu()?;
    let said = perf_tool::produce(jars, address, &topic, record, records)?;
    let cpu_of_producing = broker.cpu()? - cpu;
    let stored =
        client_runtime()?.block_on(async { Client::connect(address).await?.count(&topic, partitions).await })?;
    if stored != records {
        return Err(format!("void: {stored} of {records} records of the producer tool").into());
    }
    let cpu = broker.cpu()?;
    // What is read does not depend on when it was acknowledged.
    let reads = Variant::DEFAULTS.contains(&variant);
    let consumed = if reads { Some(perf_tool::consume(jars, address, &topic, records)?) } else { None };
    let cpu_of_consuming = broker.cpu()? - cpu;
    contest.remove(variant, &topic)?;
    let each = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / records as f64;
    let case = format!("{partitions} × {}", size(record));
    options.say(&format!("{case} {}, tools: {:.0} records/s", variant.label(), said.records_a_second));
    let figures = Figures::from([
        (Metric::RecordsASecond, said.records_a_second),
        (Metric::CpuSecondsAMillion, each(cpu_of_producing)),
        (Metric::Acknowledged50, said.p50_millis),
        (Metric::Acknowledged99, said.p99_millis),
        (Metric::Acknowledged999, said.p999_millis),
    ]);
    stage.record(&format!("{case}, produce"), variant, figures);
    if let Some(rate) = consumed {
        let figures =
            Figures::from([(Metric::RecordsASecond, rate), (Metric::CpuSecondsAMillion, each(cpu_of_consuming))]);
        stage.record(&format!("{case}, consume"), variant, figures);
    }
    Ok(())
}
