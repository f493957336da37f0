//! A real Alertmanager, Debian's, on a port of its own; ended with the test.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// It runs.
pub(crate) struct Alertmanager {
    child: Child,
    pub(crate) url: String,
    http: reqwest::Client,
}

/// A port of loopback on which nothing listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Alertmanager {
    /// Starts it in a folder of its own with that config. `cluster`: its own place and those of its peers; none: it
    /// stands alone.
    pub(crate) async fn start(
        program: &Path,
        folder: &Path,
        config: &str,
        cluster: Option<(u16, &[u16])>,
    ) -> Alertmanager {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("alertmanager.yml"), config).unwrap();
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .args(["--config.file=alertmanager.yml", "--storage.path=data"])
            .arg("--web.listen-address=127.0.0.1:0");
        match cluster {
            None => command.arg("--cluster.listen-address="),
            Some((own, peers)) => command
                .arg(format!("--cluster.listen-address=127.0.0.1:{own}"))
                .args([
                    "--cluster.gossip-interval=50ms",
                    "--cluster.peer-timeout=2s",
                ])
                .args(
                    peers
                        .iter()
                        .map(|peer| format!("--cluster.peer=127.0.0.1:{peer}")),
                ),
        };
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = child.stderr.take().unwrap();
        let address = listening(said);
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Alertmanager {
            child,
            url: format!("http://{address}"),
            http,
        }
    }

    /// Tells it of these alerts, as Prometheus does.
    pub(crate) async fn post(&self, alerts: &[Value]) {
        let url = format!("{}/api/v2/alerts", self.url);
        let told = self.http.post(url).json(alerts).send().await.unwrap();
        let status = told.status();
        assert!(status.is_success(), "{status}: {:?}", told.text().await);
    }

    /// Its counters of that name, all labels together.
    async fn count(&self, name: &str) -> f64 {
        let url = format!("{}/metrics", self.url);
        let text = self.http.get(url).send().await.unwrap();
        let text = text.text().await.unwrap();
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = lines.map(|line| line.rsplit(' ').next().unwrap());
        values.map(|value| value.parse::<f64>().unwrap()).sum()
    }

    /// Waits until it has so many peers, itself among them.
    pub(crate) async fn until_members(&self, members: f64) {
        self.until("alertmanager_cluster_members", |count| count == members)
            .await;
    }

    /// How many notifications of its webhook were taken.
    pub(crate) async fn taken(&self) -> f64 {
        let all = self
            .count("alertmanager_notifications_total{integration=\"webhook\"}")
            .await;
        let failed = "alertmanager_notifications_failed_total{integration=\"webhook\"}";
        all - self.count(failed).await
    }

    /// Waits until `good` likes a counter. Each question lets it work in between.
    pub(crate) async fn until(&self, name: &str, good: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let count = self.count(name).await;
            if good(count) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} stayed {count}");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it listens, once it says so; what it says later is read and dropped.
fn listening(said: ChildStderr) -> String {
    let (found, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                let _ = found.send(address.trim().to_owned());
            }
        }
    });
    address.recv_timeout(PATIENCE).expect("it listens")
}

/// A config that tells `hook` at once.
pub(crate) fn tells(hook: &str) -> String {
    format!(
        "route: {{receiver: feishu, group_by: [alertname, cluster], group_wait: 2s, group_interval: 1s, repeat_interval: 4h}}\n\
         receivers: [{{name: feishu, webhook_configs: [{{url: '{hook}', send_resolved: true}}]}}]\n"
    )
}

/// An alert that began at `start`, as Prometheus posts it; `ended`: it is over.
///
/// Of what began before its `group_wait` Alertmanager tells at once, alert by alert: who wants one notification of three
/// lets them begin now.
pub(crate) fn alert(start: &Timestamp, instance: &str, ended: bool) -> Value {
    let now = Timestamp::now();
    let mut alert = json!({
        "labels": {"alertname": "HighLatency", "cluster": "eu", "severity": "critical", "instance": instance},
        "annotations": {"summary": "Requests are slow", "runbook_url": "https://wiki.example.com/latency"},
        "startsAt": start.to_string(),
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=up",
    });
    alert["endsAt"] = match ended {
        true => json!(now.to_string()),
        // Else it would be over by Alertmanager's own count after five minutes.
        false => json!((now + jiff::SignedDuration::from_hours(1)).to_string()),
    };
    alert
}
