//! The road from a request to what people saw: messages, what follows them, batches, and taking back.

mod support;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USER};
use serde_json::json;
use support::House;

#[tokio::test]
async fn a_message_its_pin_and_its_buzz_are_each_seen_once_and_their_ids_kept() {
    let house = House::new().await;
    let job = house
        .post(
            json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": "disk full on db-1"},
            "then": [{"kind": "pin"}, {"kind": "urgent_app", "args": {"users": [DEFAULT_USER]}}]}),
        )
        .await;
    let job = house.settled(job["id"].as_str().unwrap()).await;
    assert_eq!(job["state"], "done", "{job:#}");
    let message = job["receipt"]["message_id"].as_str().unwrap();
    let children = job["children"].as_array().unwrap();
    assert_eq!(children.len(), 2);
    for child in children {
        let child = house.job(child.as_str().unwrap()).await;
        assert_eq!(child["state"], "done", "{child:#}");
        assert_eq!(child["to"], message);
        assert_eq!(child["parent"], job["id"]);
    }
    for effect in ["message", "pin", "urgent_app"] {
        let seen = house.effects(effect).await;
        assert_eq!(seen.len(), 1, "{effect}: {seen:#?}");
        assert_eq!(seen[0]["message_id"], message);
    }
    assert_eq!(
        house.effects("message").await[0]["uuid"],
        job["id"].as_str().unwrap().trim_start_matches("job_")
    );
}
