//! How a node joins while things go wrong.

use super::run::Run;
use crate::net::Weather;
use openraft_rt_sim::SimRuntime;
use shard::runtime::Runtime;
use std::time::Duration;

/// How long the next one waits for a node to be in.
const PATIENCE: Duration = Duration::from_secs(20);

impl Run {
    /// The next node joins.
    pub(super) async fn join(&mut self, nth: usize) -> Result<(), String> {
        self.start(nth);
        match self.rng.below(10) {
            0..=2 => self.cut_short(nth).await,
            3 => {
                let pause = self.moment(300);
                SimRuntime::sleep(pause).await;
                self.kill_catalog_leader().await;
            }
            4 => {
                let (delay_micros, loss) = (self.rng.between(100, 40_000), self.rng.below(200));
                self.note(format_args!("the network loses {loss} in a thousand and delays {delay_micros} us"));
                let doubled = self.rng.below(60);
                self.ground.net.set_weather(Weather { delay_micros, loss, doubled });
                let pause = self.moment(3_000);
                SimRuntime::sleep(pause).await;
                self.ground.net.set_weather(Weather::FINE);
            }
            5 => self.trouble().await?,
            _ => {}
        }
        // With what goes wrong before it may take longer: in the end all have to be in.
        if self.is_up_within(nth, PATIENCE).await? {
            self.scene.facts.lock().joins += 1;
        }
        let pause = self.moment(1_500);
        SimRuntime::sleep(pause).await;
        self.look().await
    }

    /// It dies before it is in, once or twice.
    async fn cut_short(&mut self, nth: usize) {
        for _ in 0..self.rng.between(1, 2) {
            let pause = self.moment(500);
            SimRuntime::sleep(pause).await;
            let is_early = self.nodes[nth].broker().is_none();
            self.scene.facts.lock().joins_cut_short += u64::from(is_early);
            let power = self.rng.percent(40);
            self.nodes[nth].crash(power).await;
            let pause = self.moment(200);
            SimRuntime::sleep(pause).await;
            self.start(nth);
        }
    }
}
