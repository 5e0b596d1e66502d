//! The queue workload: the disk is given back as promised, and a journal that gives back too much is
//! caught.
//!
//! What is printed is seen with `cargo test -p sim -- --nocapture`; `cargo xtask soak queue` runs a
//! million messages.

use journal::canary::Fault;
use sim::queue_run::{Settings, run};

const SMALL: Settings = Settings { messages: 60_000, streams: 600, seed: 1, log_file_bytes: 512 << 10, fault: None };

#[test]
fn the_bound_holds_under_queue_churn() {
    for seed in 1..=2 {
        let figures = run(&Settings { seed, ..SMALL }).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        println!("seed {seed}:\n{figures}");
        // A run in which little dies, or nothing is packed, would prove nothing.
        assert!(figures.died > figures.messages / 2 && figures.written[1] > 0 && figures.restarts > 1, "{figures}");
        assert!(figures.most_live > figures.constant, "the constant hides the factor: {figures}");
    }
}

#[test]
fn a_journal_that_gives_back_what_is_alive_is_caught() {
    let outcome = run(&Settings { fault: Some(Fault::ReclaimLive), messages: 20_000, ..SMALL });
    let violation = outcome.expect_err("not caught");
    assert!(violation.contains("not what was written there"), "caught by something else: {violation}");
}

#[test]
fn a_journal_that_gives_nothing_back_is_caught() {
    let outcome = run(&Settings { fault: Some(Fault::ReclaimNothing), ..SMALL });
    let violation = outcome.expect_err("not caught");
    assert!(violation.contains("of the disk are used"), "caught by something else: {violation}");
}
