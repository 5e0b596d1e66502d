//! One of the two brokers, over a data folder of its own on the disk that both share.

use super::Options;
use super::variant::Product;
use crate::Outcome;
use crate::apache_kafka::{Jars, Node};
use crate::broker::{self, Broker, client_runtime};
use crate::client::Client;
use crate::{cost, disk};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How it is started.
#[derive(Debug)]
enum Launch {
    Mainstem(PathBuf),
    Kafka(Node),
}

/// A broker that can be started, stopped and killed over the same data.
pub(crate) struct BrokerUnderTest {
    launch: Launch,
    folder: PathBuf,
    running: Option<Broker>,
}

impl BrokerUnderTest {
    /// Prepares an empty folder named `name` for `product`; `more` are lines of Kafka's properties. None when
    /// there are no jars.
    pub(crate) fn prepare(options: &Options, product: Product, name: &str, more: &str) -> Outcome<Option<Self>> {
        let launch = match (product, options.jars()) {
            (Product::Mainstem, _) => None,
            (Product::Kafka, Some(jars)) => Some(jars),
            (Product::Kafka, None) => return Ok(None),
        };
        let folder = disk::fresh(&options.folder, name)?;
        let launch = match launch {
            None => Launch::Mainstem(broker::program(options.broker.as_deref())?),
            Some(jars) => Launch::Kafka(Jars::format(&jars, &folder, more)?),
        };
        Ok(Some(BrokerUnderTest { launch, folder, running: None }))
    }

    /// Starts it: how long until it answered a first Metadata request.
    pub(crate) fn start(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        let broker = match &self.launch {
            Launch::Mainstem(program) => {
                let broker = Broker::start(program, &self.folder.join("data"), &self.folder.join("broker.log"))?;
                client_runtime()?.block_on(async { Client::connect(broker.address).await?.metadata().await })?;
                broker
            }
            Launch::Kafka(node) => node.start()?,
        };
        let took = begun.elapsed();
        self.running = Some(broker);
        Ok(took)
    }

    /// Starts it over what it has: how long until every partition of a topic answered.
    pub(crate) fn restart(&mut self, topic: &str, partitions: usize) -> Outcome<Duration> {
        let begun = Instant::now();
        self.start()?;
        let address = self.address()?;
        client_runtime()?.block_on(async { Client::connect(address).await?.until_led(topic, partitions).await })?;
        Ok(begun.elapsed())
    }

    fn broker(&self) -> Outcome<&Broker> {
        self.running.as_ref().ok_or_else(|| "the broker is not running".into())
    }

    pub(crate) fn address(&self) -> Outcome<SocketAddr> {
        Ok(self.broker()?.address)
    }

    pub(crate) fn pid(&self) -> Outcome<u32> {
        Ok(self.broker()?.pid())
    }

    /// The folder with all that it wrote.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// CPU time of its process so far.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        cost::cpu_of(self.pid()?)
    }

    /// MiB that it has in memory.
    pub(crate) fn memory_mib(&self) -> Outcome<f64> {
        Ok(self.broker()?.memory()? as f64 / MIB)
    }

    pub(crate) fn reset_peak(&self) -> Outcome<()> {
        self.broker()?.reset_peak()
    }

    /// The most MiB that it had in memory at once since the peak was reset.
    pub(crate) fn peak_mib(&self) -> Outcome<f64> {
        Ok(self.broker()?.peak()? as f64 / MIB)
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn stop(&mut self) -> Outcome<()> {
        self.running.take().map_or(Ok(()), |broker| match self.launch {
            Launch::Mainstem(_) => broker.stop(),
            // A JVM says that it was ended by a signal.
            Launch::Kafka(_) => broker.terminate().map(|_| ()),
        })
    }

    /// SIGKILL, and waits for its end.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.running.take().map_or(Ok(()), Broker::kill)
    }

    /// Ends it and removes its data.
    pub(crate) fn remove(mut self) -> Outcome<()> {
        self.kill()?;
        disk::remove(&self.folder)
    }
}

const MIB: f64 = (1 << 20) as f64;
