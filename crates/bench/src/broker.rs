//! A broker as a process of its own, so that what it costs can be told from what the load costs.

use crate::{Outcome, cost};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From its start to its first line.
    pub(crate) ready_after: Duration,
}

/// The broker to measure: the one `given`, else MAINSTEM_BIN, else `mainstem` beside this program.
pub(crate) fn program(given: Option<&Path>) -> Outcome<PathBuf> {
    let given = given.map(Path::to_owned).or_else(|| std::env::var_os("MAINSTEM_BIN").map(PathBuf::from));
    Ok(match given {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("mainstem"),
    })
}

impl Broker {
    /// Starts Mainstem over `data` and waits until it says that it is ready. What it says goes into `log`.
    pub(crate) fn start(program: &Path, data: &Path, log: &Path) -> Outcome<Self> {
        Ok(Broker::start_with(program, data, log, &["--listen", "peer=off"])?.0)
    }

    /// The same with more arguments; and the line in which it says where it listens.
    pub(crate) fn start_with(program: &Path, data: &Path, log: &Path, more: &[&str]) -> Outcome<(Self, String)> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--data-dir").arg(data);
        command.args(["--listen", "kafka=127.0.0.1:0", "--listen", "http=127.0.0.1:0"]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log)?);
        // They are settings to it, and one that it does not know is refused.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MAINSTEM_")) {
            command.env_remove(name);
        }
        let start = Instant::now();
        let mut child = command.spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output to read from")?;
        BufReader::new(output).read_line(&mut line)?;
        let ready_after = start.elapsed();
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("kafka=")?.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let said = std::fs::read_to_string(log)?;
            return Err(format!("the broker did not start: {line}{said}").into());
        };
        Ok((Broker { child, address, ready_after }, line))
    }

    /// Wraps a process that answers at `address`.
    pub(crate) fn of(child: Child, address: SocketAddr, ready_after: Duration) -> Self {
        Broker { child, address, ready_after }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Outcome<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that are its own, and its share of what it shares.
    pub(crate) fn memory(&self) -> Outcome<u64> {
        Ok(cost::proc_field(self.pid(), "smaps_rollup", "Pss:")? * 1024)
    }

    /// Forgets how much memory it once had.
    pub(crate) fn reset_peak(&self) -> Outcome<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5")?)
    }

    /// The most bytes that it had in memory at once since then, with what it shares with others.
    pub(crate) fn peak(&self) -> Outcome<u64> {
        Ok(cost::proc_field(self.pid(), "status", "VmHWM:")? * 1024)
    }

    /// Bytes that it has made the kernel send to storage.
    pub(crate) fn written(&self) -> Outcome<u64> {
        cost::proc_field(self.pid(), "io", "write_bytes:")
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn terminate(mut self) -> Outcome<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        Ok(self.child.wait()?)
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) fn stop(self) -> Outcome<()> {
        let status = self.terminate()?;
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
