//! Alerts: a group is one card that changes, whatever its source repeats.

mod support;

use serde_json::{Value, json};
use support::House;
use support::alerts::{count, firing, of, resolved, route, tell, until_seen, words};

const AT: &str = "2026-01-31T08:00:00Z";

#[tokio::test]
async fn a_group_is_one_card_that_changes_to_resolved() {
    let house = House::with(None, &route("")).await;
    let [one, two] = [firing("Down", "a", AT), firing("Down", "b", AT)];
    let answer = tell(&house, "Down", &[one.clone(), two.clone()]).await;
    assert_eq!(
        (&answer["alerts"], &answer["unmatched"]),
        (&json!(2), &json!(0))
    );
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    assert!(words(&seen[0]).contains("firing"), "{seen:#?}");
    let more = [one, two, firing("Down", "c", AT)];
    assert_eq!(
        tell(&house, "Down", &more).await["incidents"],
        answer["incidents"]
    );
    let updated = |updates: usize| move |seen: &[Value]| count(seen, "card_update") == updates;
    until_seen(&house, updated(1)).await;
    let over = ["a", "b", "c"].map(|name| resolved("Down", name, AT));
    tell(&house, "Down", &over).await;
    let seen = until_seen(&house, updated(2)).await;
    let last = words(of(&seen, "card_update")[1]);
    assert!(
        last.contains("resolved") && last.contains("已恢复"),
        "{last}"
    );
    assert_eq!(count(&seen, "message"), 1);
    // Said again, also by a twin who is late, it changes nothing: what comes after it is the next effect.
    tell(&house, "Down", &over).await;
    tell(&house, "Down", &more).await;
    tell(&house, "Other", &[firing("Other", "x", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    assert_eq!(seen.len(), 4, "{seen:#?}");
}
