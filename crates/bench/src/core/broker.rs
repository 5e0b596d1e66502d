//! A broker as a process of its own, so that what it costs can be told from what the load costs.

use super::{Options, cost};
use crate::Outcome;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From its start to its first line.
    pub(crate) ready_after: Duration,
}

/// Whether there is a broker to measure; says so when there is none.
pub(crate) fn is_there(options: &Options) -> Outcome<bool> {
    let path = options.broker()?;
    let there = path.is_file();
    if !there {
        super::report::note("Skipped: no `mainstem` beside this program, and MAINSTEM_BIN names none.");
    }
    Ok(there)
}

impl Broker {
    /// Starts it over `data` and waits until it says that it is ready.
    pub(crate) fn start(options: &Options, data: &Path) -> Outcome<Self> {
        let mut command = Command::new(options.broker()?);
        command.arg("serve").arg("--data-dir").arg(data);
        command.args(["--listen", "kafka=127.0.0.1:0", "--listen", "http=127.0.0.1:0"]);
        let log = File::create(options.folder.join("broker.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let start = Instant::now();
        let mut child = command.spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output to read from")?;
        BufReader::new(output).read_line(&mut line)?;
        let ready_after = start.elapsed();
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("kafka=")?.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let said = std::fs::read_to_string(options.folder.join("broker.log"))?;
            return Err(format!("the broker did not start: {line}{said}").into());
        };
        Ok(Broker { child, address, ready_after })
    }

    /// Wraps a process that answers at `address`.
    pub(crate) fn of(child: Child, address: SocketAddr, ready_after: Duration) -> Self {
        Broker { child, address, ready_after }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that are its own, and its share of what it shares.
    pub(crate) fn memory(&self) -> Outcome<u64> {
        Ok(cost::proc_field(self.pid(), "smaps_rollup", "Pss:")? * 1024)
    }

    /// Bytes that it has made the kernel send to storage.
    pub(crate) fn written(&self) -> Outcome<u64> {
        cost::proc_field(self.pid(), "io", "write_bytes:")
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the broker ended with {status}").into()) }
    }

    /// SIGKILL, and waits for its end.
    pub(crate) fn kill(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The runtime that clients run on: one thread, so that they take little of what the broker needs.
pub(crate) fn client_runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
