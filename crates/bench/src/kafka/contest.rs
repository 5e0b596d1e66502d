//! The two brokers of a repetition and what is put on record of them. Each scenario lets them take turns.

use super::Options;
use super::broker_under_test::BrokerUnderTest;
use super::load::{Finished, Load, Watched};
use super::metric::Metric;
use super::payload::Shape;
use super::results::{Figures, Sample};
use super::variant::{Product, Variant};
use super::{consumer, load};
use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::Client;
use crate::disk;
use std::time::Duration;

/// A load that takes all that a broker gives.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) partitions: usize,
    pub(crate) producers: usize,
    pub(crate) in_flight: usize,
}

/// Both brokers, running since the first scenario of the repetition that needs them.
pub(crate) struct Contest {
    ours: BrokerUnderTest,
    kafka: Option<BrokerUnderTest>,
    /// For topics' names.
    topics: u64,
}

impl Contest {
    /// Starts them and lets them work for a while: a JVM compiles what it runs often, and what it does before
    /// that says nothing.
    pub(crate) fn start(options: &Options) -> Outcome<Self> {
        let ours = BrokerUnderTest::prepare(options, Product::Mainstem, "mainstem", "")?;
        let ours = ours.ok_or("no broker to measure")?;
        let kafka = BrokerUnderTest::prepare(options, Product::Kafka, "kafka", "log.segment.delete.delay.ms=1000\n")?;
        let mut contest = Contest { ours, kafka, topics: 0 };
        contest.ours.start()?;
        if let Some(kafka) = &mut contest.kafka {
            kafka.start()?;
        }
        for variant in Variant::DEFAULTS {
            if contest.has(variant) {
                contest.warm_up(options, variant)?;
            }
        }
        Ok(contest)
    }

    /// Ways in which brokers are used below, for a while: many connections with single records, large batches,
    /// compressed ones; each read back.
    pub(crate) fn warm_up(&mut self, options: &Options, variant: Variant) -> Outcome<()> {
        let plain = Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false };
        let small = Shape { record: 100, batch: 16 << 10, keyed: true, lz4: true };
        let single = Shape { record: 100, batch: 0, keyed: false, lz4: false };
        for (shape, producers, in_flight) in [(single, 200, 1), (plain, 8, 5), (small, 8, 5)] {
            let case = Case { name: "warm-up".into(), shape, partitions: 12, producers, in_flight };
            self.saturate(options, variant, &case, Duration::ZERO, options.jit(variant) / 3)?;
        }
        Ok(())
    }

    pub(crate) fn has(&self, variant: Variant) -> bool {
        variant.product() == Product::Mainstem || self.kafka.is_some()
    }

    pub(crate) fn broker(&mut self, variant: Variant) -> Outcome<&mut BrokerUnderTest> {
        match variant.product() {
            Product::Mainstem => Ok(&mut self.ours),
            Product::Kafka => self.kafka.as_mut().ok_or_else(|| "there is no Kafka".into()),
        }
    }

    /// Makes a topic that promises what `variant` does: its name.
    pub(crate) fn topic(&mut self, variant: Variant, partitions: usize) -> Outcome<String> {
        self.topics += 1;
        let name = format!("bench-{}", self.topics);
        let address = self.broker(variant)?.address()?;
        client_runtime()?.block_on(async {
            Client::connect(address).await?.create_topic_with(&name, partitions, variant.settings()).await
        })?;
        Ok(name)
    }

    /// Removes a topic, and waits until the disk has what was held back.
    pub(crate) fn remove(&mut self, variant: Variant, topic: &str) -> Outcome<()> {
        let broker = self.broker(variant)?;
        let address = broker.address()?;
        client_runtime()?.block_on(async { Client::connect(address).await?.delete_topic(topic).await })?;
        disk::settle(broker.folder())
    }

    /// A closed load, every record of which is read back and compared before the figures count.
    pub(crate) fn saturate(
        &mut self,
        options: &Options,
        variant: Variant,
        case: &Case,
        warm_up: Duration,
        window: Duration,
    ) -> Outcome<(Watched, Finished, f64)> {
        let topic = self.topic(variant, case.partitions)?;
        let broker = self.broker(variant)?;
        let (address, pid) = (broker.address()?, broker.pid()?);
        let plan = load::plan(case.shape, case.producers, case.partitions)?;
        broker.reset_peak()?;
        let load = Load::closed(address, &topic, &plan, case.in_flight);
        let watched = load.watch(pid, warm_up, window)?;
        let finished = load.finish()?;
        let peak = self.broker(variant)?.peak_mib()?;
        client_runtime()?.block_on(consumer::verify(address, &topic, &plan, &finished.sent))?;
        self.remove(variant, &topic)?;
        options.say(&format!("{} {}: {:.0} records/s", case.name, variant.label(), watched.cost.records_a_second()));
        Ok((watched, finished, peak))
    }

    /// Ends both and removes their data.
    pub(crate) fn end(self) -> Outcome<()> {
        self.ours.remove()?;
        self.kafka.map_or(Ok(()), BrokerUnderTest::remove)
    }
}

/// What a closed load came to.
pub(crate) fn figures(watched: &Watched, peak: f64) -> Figures {
    Figures::from([
        (Metric::RecordsASecond, watched.cost.records_a_second()),
        (Metric::MibASecond, watched.cost.mib_a_second()),
        // Microseconds a record are seconds a million records.
        (Metric::CpuSecondsAMillion, watched.cost.cpu_micros()),
        (Metric::GeneratorCores, watched.generator),
        (Metric::PeakMib, peak),
    ])
}

/// One scenario in one repetition.
pub(crate) struct Stage<'a> {
    pub(crate) options: &'a Options,
    pub(crate) repetition: usize,
    contest: &'a mut Option<Contest>,
    samples: &'a mut Vec<Sample>,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        options: &'a Options,
        repetition: usize,
        contest: &'a mut Option<Contest>,
        samples: &'a mut Vec<Sample>,
    ) -> Self {
        Stage { options, repetition, contest, samples }
    }

    /// The brokers that most scenarios share; started for the first of them.
    pub(crate) fn contest(&mut self) -> Outcome<&mut Contest> {
        if self.contest.is_none() {
            *self.contest = Some(Contest::start(self.options)?);
        }
        self.contest.as_mut().ok_or_else(|| "the brokers did not start".into())
    }

    /// Ends the shared brokers: for scenarios in which nothing else may run.
    pub(crate) fn alone(&mut self) -> Outcome<()> {
        self.contest.take().map_or(Ok(()), Contest::end)
    }

    /// Those of `variants` that take part, in this repetition's order: nobody always comes second.
    pub(crate) fn turns(&self, variants: &[Variant]) -> Vec<Variant> {
        let kafka = self.options.jars().is_some();
        let mut turns: Vec<Variant> =
            variants.iter().copied().filter(|variant| kafka || variant.product() == Product::Mainstem).collect();
        if self.repetition % 2 == 1 {
            turns.reverse();
        }
        turns
    }

    /// Puts a measurement on record.
    pub(crate) fn record(&mut self, case: &str, variant: Variant, figures: Figures) {
        let repetition = self.repetition;
        self.samples.push(Sample { case: case.to_owned(), variant, repetition, figures });
    }
}
