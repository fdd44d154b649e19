//! A real `ahoyd dev`: on a port of its own, with data that outlives it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use ahoy_fabric::testing::free_port;
use anyhow::bail;

use super::{Child, Trial, binary, http_get};

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// Its data folder; absent: `data` in the trial's folder.
    pub data: Option<PathBuf>,
    /// Its port on 127.0.0.1; absent: a free one.
    pub port: Option<u16>,
    /// Configuration, as `key=value`.
    pub settings: Vec<String>,
    /// A command to put in front, such as `ip netns exec NAME`.
    pub prefix: Vec<OsString>,
}

/// A running `ahoyd dev`.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    options: DaemonOptions,
    port: u16,
    metrics: SocketAddr,
    data: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready by the trial's deadline.
    pub fn start(trial: &Trial, options: DaemonOptions) -> anyhow::Result<Self> {
        let mut daemon = Self::start_unready(trial, options)?;
        daemon.wait_until_ready(trial)?;
        Ok(daemon)
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_unready(trial: &Trial, options: DaemonOptions) -> anyhow::Result<Self> {
        let data = options.data.clone().unwrap_or_else(|| trial.folder().join("data"));
        let port = options.port.unwrap_or_else(free_port);
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let child = spawn(trial, &options, port, metrics, &data)?;
        Ok(Self { child, options, port, metrics, data })
    }

    /// Waits until it says so itself.
    ///
    /// # Errors
    /// When it ends instead, or at the trial's deadline.
    pub fn wait_until_ready(&mut self, trial: &Trial) -> anyhow::Result<()> {
        loop {
            if http_get(self.metrics, "/ready").is_ok_and(|response| response.status == 200) {
                return Ok(());
            }
            if !self.child.runs() {
                bail!("ahoyd ended: {}", self.child.errors());
            }
            if Instant::now() > trial.deadline() {
                bail!("ahoyd did not get ready");
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// kill -9, and starts it again on the same port and data without waiting until it is ready.
    ///
    /// # Errors
    /// When it can't be started again.
    pub fn kill_and_restart(&mut self, trial: &Trial) -> anyhow::Result<()> {
        self.child.kill()?;
        self.restart(trial)
    }

    /// Starts it again after its end, on the same port and data, without waiting until it is ready.
    ///
    /// # Errors
    /// When it can't be started again.
    pub fn restart(&mut self, trial: &Trial) -> anyhow::Result<()> {
        self.child = spawn(trial, &self.options, self.port, self.metrics, &self.data)?;
        Ok(())
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What `ahoy --network` takes.
    pub fn network(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where its supernode and its authority listen.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where metrics and health are served.
    pub fn admin(&self) -> SocketAddr {
        self.metrics
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// All metrics, as Prometheus reads them.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn metrics(&self) -> anyhow::Result<String> {
        let response = http_get(self.metrics, "/metrics")?;
        if response.status == 200 { Ok(response.body) } else { bail!("/metrics answers {}", response.status) }
    }

    /// Whether the UDP port is bound, as the kernel sees it.
    pub fn port_is_open(&self) -> bool {
        let local = format!(":{:04X} ", self.port);
        let bound = |file: &str| std::fs::read_to_string(file).is_ok_and(|table| table.contains(&local));
        bound("/proc/net/udp") || bound("/proc/net/udp6")
    }
}

fn spawn(trial: &Trial, options: &DaemonOptions, port: u16, metrics: SocketAddr, data: &Path) -> anyhow::Result<Child> {
    let ahoyd = binary("ahoyd")?.into_os_string();
    let mut words = options.prefix.iter().chain([&ahoyd]);
    let mut command = Command::new(words.next().expect("there is ahoyd at least"));
    command.args(words).args(["dev", "--port", &port.to_string(), "--data"]).arg(data);
    let admin = format!("admin.listen=[\"{metrics}\"]");
    for setting in [&admin].into_iter().chain(&options.settings) {
        command.args(["--set", setting]);
    }
    Child::start(trial, "ahoyd", &command)
}

/// The sum of all samples of one metric whose labels hold `label` (empty: all of them); 0 when there is none.
pub fn metric(metrics: &str, name: &str, label: &str) -> f64 {
    let samples = metrics.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let rest = series.strip_prefix(name)?;
        let own = rest.is_empty() || rest.starts_with('{');
        (own && rest.contains(label)).then(|| value.parse::<f64>().ok()).flatten()
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_series_with_a_label() {
        let text = "# TYPE a counter\na_total{cause=\"noise\",shard=\"0\"} 3\na_total{cause=\"noise\",shard=\"1\"} 4\n\
                    a_total{cause=\"other\"} 5\na_total_more 9\nb 1\n";
        assert_eq!(metric(text, "a_total", "cause=\"noise\""), 7.0);
        assert_eq!(metric(text, "a_total", ""), 12.0);
        assert_eq!(metric(text, "c", ""), 0.0);
    }
}
