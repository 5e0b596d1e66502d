//! Three nodes of one product.

use crate::Outcome;
use crate::apache_kafka::Jars;
use crate::broker::{Broker, client_runtime};
use crate::client::Client;
use crate::{cost, disk};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const NODES: usize = 3;
/// How long a cluster may take until all replicas are in sync.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);
const MIB: f64 = (1 << 20) as f64;

/// Whose nodes they are.
#[derive(Clone, Debug)]
pub(super) enum Product {
    Mainstem(PathBuf),
    Kafka(Jars),
}

impl Product {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Product::Mainstem(_) => "Mainstem",
            Product::Kafka(_) => "Kafka",
        }
    }
}

/// Three nodes that are a cluster.
pub(super) struct Three {
    product: Product,
    folder: PathBuf,
    nodes: Vec<Broker>,
    /// Where the first node of ours listens for others.
    seed: Option<String>,
    /// For topics' names.
    topics: usize,
}

impl Three {
    /// Starts them, and waits until a topic has three replicas that are in sync.
    pub(super) fn start(product: &Product, folder: &Path) -> Outcome<Self> {
        let (product, folder) = (product.clone(), folder.to_owned());
        let mut three = Three { product, folder, nodes: Vec::new(), seed: None, topics: 0 };
        match three.product.clone() {
            Product::Mainstem(program) => (1..=NODES).try_for_each(|nth| three.start_ours(&program, nth))?,
            Product::Kafka(jars) => {
                for node in jars.format_cluster(&three.folder, NODES)? {
                    three.nodes.push(node.launch()?);
                }
            }
        }
        three.wait_until_formed()?;
        Ok(three)
    }

    fn start_ours(&mut self, program: &Path, nth: usize) -> Outcome<()> {
        let (data, log) = (self.folder.join(format!("data-{nth}")), self.folder.join(format!("log-{nth}")));
        let mut more = vec!["--listen", "peer=127.0.0.1:0", "--cluster-catch-up-bytes-per-second", "1TiB"];
        if let Some(seed) = &self.seed {
            more.extend(["--join", seed]);
        }
        let (node, line) = Broker::start_with(program, &data, &log, &more)?;
        self.nodes.push(node);
        if self.seed.is_none() {
            self.seed = line.split_whitespace().find_map(|word| word.strip_prefix("peer=")).map(str::to_owned);
        }
        Ok(())
    }

    /// Starts one more, which has nothing yet: its number.
    pub(super) fn add(&mut self) -> Outcome<i32> {
        let nth = NODES + 1;
        match self.product.clone() {
            Product::Mainstem(program) => self.start_ours(&program, nth)?,
            Product::Kafka(jars) => {
                let node = jars.format_broker(&self.folder, nth)?;
                self.nodes.push(node.launch()?);
            }
        }
        Ok(i32::try_from(nth)?)
    }

    /// Whether replicas go to a new node only when somebody says which.
    pub(super) fn moves_when_told(&self) -> bool {
        matches!(self.product, Product::Kafka(_))
    }

    /// Waits until the disk has what was held back.
    pub(super) fn settle(&self) -> Outcome<()> {
        disk::settle(&self.folder)
    }

    fn wait_until_formed(&mut self) -> Outcome<()> {
        let began = Instant::now();
        let mut made = false;
        loop {
            let address = self.nodes[0].address;
            let formed: Outcome<bool> = client_runtime()?.block_on(async {
                let mut client = Client::connect(address).await?;
                if client.metadata().await? < NODES {
                    return Ok(false);
                }
                if !made {
                    client.create_replicated("formed", NODES).await?;
                    made = true;
                }
                let (_, led) = client.leaders("formed").await?;
                Ok(!led.is_empty() && led.iter().all(|led| led.leader >= 0 && led.in_sync.len() == NODES))
            });
            match formed {
                Ok(true) => return Ok(()),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Ok(false) if began.elapsed() > PATIENCE => return Err("the cluster does not come about".into()),
                Ok(false) | Err(_) => thread::sleep(POLL),
            }
        }
    }

    /// Makes topics of one partition until every node leads so many: where each is led. Those that are one too
    /// many are removed.
    pub(super) fn topics(&mut self, a_node: usize) -> Outcome<Vec<(SocketAddr, String)>> {
        let (began, address) = (Instant::now(), self.nodes[0].address);
        let mut by_leader: BTreeMap<SocketAddr, Vec<String>> = BTreeMap::new();
        let mut spare = Vec::new();
        while by_leader.values().filter(|topics| topics.len() == a_node).count() < NODES {
            if began.elapsed() > PATIENCE {
                return Err("not every node leads as many partitions".into());
            }
            self.topics += 1;
            let name = format!("bench-{}", self.topics);
            let leader: SocketAddr = client_runtime()?.block_on(async {
                let mut client = Client::connect(address).await?;
                client.create_replicated(&name, 1).await?;
                loop {
                    let (brokers, led) = client.leaders(&name).await?;
                    // Where another leads, the one that is preferred to takes over before long.
                    let settled = led.first().filter(|led| led.replicas.first() == Some(&led.leader));
                    if let Some(leader) = settled.and_then(|led| brokers.get(&led.leader)) {
                        let mut there = Client::connect(*leader).await?;
                        there.until_led(&name, 1).await?;
                        return Outcome::Ok(*leader);
                    }
                    if began.elapsed() > PATIENCE {
                        return Err("those who are preferred to do not lead".into());
                    }
                    tokio::time::sleep(POLL).await;
                }
            })?;
            let topics = by_leader.entry(leader).or_default();
            if topics.len() < a_node { topics.push(name) } else { spare.push((leader, name)) }
        }
        self.remove(&spare)?;
        let all = by_leader.into_iter().flat_map(|(leader, topics)| topics.into_iter().map(move |name| (leader, name)));
        Ok(all.collect())
    }

    /// Removes topics, and waits until the disk has what was held back.
    pub(super) fn remove(&self, topics: &[(SocketAddr, String)]) -> Outcome<()> {
        let address = self.nodes[0].address;
        client_runtime()?.block_on(async {
            let mut client = Client::connect(address).await?;
            for (_, topic) in topics {
                client.delete_topic(topic).await?;
            }
            Outcome::Ok(())
        })?;
        disk::settle(&self.folder)
    }

    /// CPU time of all nodes so far.
    pub(super) fn cpu(&self) -> Outcome<Duration> {
        self.nodes.iter().map(|node| cost::cpu_of(node.pid())).sum()
    }

    pub(super) fn memory_mib(&self) -> Outcome<f64> {
        let bytes: Outcome<u64> = self.nodes.iter().map(Broker::memory).sum();
        Ok(bytes? as f64 / MIB)
    }

    /// Where all nodes are.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// SIGKILL to the node at an address.
    pub(super) fn kill(&mut self, address: SocketAddr) -> Outcome<()> {
        let nth = self.nodes.iter().position(|node| node.address == address).ok_or("no such node")?;
        self.nodes.remove(nth).kill()
    }

    /// Ends all and removes their data.
    pub(super) fn end(self) -> Outcome<()> {
        self.nodes.into_iter().try_for_each(Broker::kill)?;
        disk::remove(&self.folder)
    }
}
