//! Memory does not grow with the backlog.

mod support;

use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};
use support::House;

const JOBS: usize = 100_000;
const KIB_MAX: u64 = 32 * 1024;

/// Queues `JOBS` while Feishu is away; `to`: the receiver of the n-th. What a burst of requests took
/// must come back; what the backlog takes must stay under the bound, also after a restart.
async fn stays_under_the_bound(to: impl Fn(usize) -> String) {
    let mut house = House::new().await;
    house.feishu_down().await;
    let text = "x".repeat(500);
    for start in (0..JOBS).step_by(2500) {
        let job = |n| json!({"kind": "send", "args": {"to": to(n), "text": text}});
        let jobs: Vec<Value> = (start..start + 2500).map(job).collect();
        house.post(Value::Array(jobs)).await;
    }
    for restarted in [false, true] {
        if restarted {
            house.restart();
        }
        // The dispatcher has looked at the lanes once it shows who waits longest.
        let waits = |status: &Value| status["lanes"][0].is_object();
        let status = house.until("/v1/status", waits).await;
        assert_eq!(status["pending"], JOBS, "{status:#}");
        let relay = &house;
        house
            .until("/v1/status", |_| relay.rss_anon_kib() < KIB_MAX)
            .await;
    }
}

#[tokio::test]
async fn a_hundred_thousand_jobs_in_one_lane_stay_under_32_mib() {
    stays_under_the_bound(|_| DEFAULT_CHAT.to_owned()).await;
}

#[tokio::test]
async fn a_hundred_thousand_lanes_stay_under_32_mib() {
    stays_under_the_bound(|n| format!("ou_{n:032x}")).await;
}
