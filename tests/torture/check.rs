//! The judge sees each breach that is planted in an honest run, and nothing in the honest run itself.

#![expect(clippy::unwrap_used, reason = "what a test stands on must hold")]

use serde_json::{Value, json};

use feishu_sandbox::staff_open_id;

use crate::harness::check::*;
use crate::harness::house::Setting;
use crate::harness::plan::{Job, Kind, PART, What};

const NOW_MS: i64 = 1_800_000_000_000;
const CHAT: &str = "oc_1";

/// Two messages of one lane with a pin and a call each, a batch of two parts, all as they should be.
fn honest() -> Evidence {
    let mut evidence = Evidence {
        settings: vec![Setting {
            from_ms: NOW_MS,
            wall_ms: 0,
            boots: 0,
        }],
        ..Evidence::default()
    };
    for n in 0..2_u64 {
        let marker = format!("m{n}");
        let message = format!("om_{n}");
        put(&mut evidence, n, 0, job(&marker, Kind::Text), None);
        evidence.jobs.push(told(
            &marker,
            "send",
            "done",
            json!({"message_id": message}),
        ));
        evidence.effects.push(json!({
            "effect": "message", "uuid": marker, "message_id": message, "chat_id": CHAT,
            "content": json!({"text": marker}).to_string(),
        }));
        for (place, kind) in [Kind::Pin, Kind::UrgentPhone].into_iter().enumerate() {
            let child = format!("{marker}.{place}");
            put(
                &mut evidence,
                n,
                place + 1,
                job(&child, kind),
                Some(&marker),
            );
            let mut answer = told(&child, kind.name(), "done", json!({}));
            answer["parent"] = json!(format!("job_{marker}"));
            evidence.jobs.push(answer);
            evidence
                .effects
                .push(json!({"effect": kind.name(), "message_id": message, "users": ["ou_1"]}));
        }
    }
    put(
        &mut evidence,
        9,
        0,
        job("b", Kind::Batch { people: PART + 1 }),
        None,
    );
    let parts: Vec<Value> = (0..2)
        .map(|n| json!({"state": "done", "batch_message_id": format!("bm-{n}")}))
        .collect();
    evidence
        .jobs
        .push(told("b", "batch_send", "done", json!({"parts": parts})));
    for n in 0..2 {
        evidence.effects.push(json!({
            "effect": "batch", "batch_message_id": format!("bm-{n}"), "content": {"text": "b"},
            "users": [staff_open_id(n * PART + 1)],
        }));
    }
    number(&mut evidence);
    evidence
}

fn job(marker: &str, kind: Kind) -> Job {
    Job {
        marker: marker.to_owned(),
        kind,
        to: CHAT.to_owned(),
        lane: None,
        priority: "normal",
        delay_s: None,
        expires_s: None,
        on_doubt: "hold",
        key: None,
        then: Vec::new(),
    }
}

fn put(evidence: &mut Evidence, request: u64, place: usize, job: Job, parent: Option<&str>) {
    evidence.asked.push(Asked {
        id: Some(format!("job_{}", job.marker)),
        job,
        parent: parent.map(str::to_owned),
        request,
        place,
        posted: 10 * request,
        answered: Some(10 * request + 1),
    });
}

fn told(marker: &str, kind: &str, state: &str, receipt: Value) -> Value {
    json!({
        "id": format!("job_{marker}"), "kind": kind, "state": state, "labels": {"n": marker},
        "receipt": receipt, "attempts": [], "run_at": "2026-01-01T00:00:00.000Z",
    })
}

fn number(evidence: &mut Evidence) {
    for (n, effect) in evidence.effects.iter_mut().enumerate() {
        effect["seq"] = json!(n + 1);
    }
}

fn of<'a>(evidence: &'a mut Evidence, id: &str) -> &'a mut Value {
    let found = evidence.jobs.iter_mut().find(|job| job["id"] == id);
    found.unwrap()
}

/// The breaches that come of `spoil`.
fn sins(spoil: impl FnOnce(&mut Evidence)) -> Vec<Sin> {
    let mut evidence = honest();
    spoil(&mut evidence);
    let mut sins: Vec<Sin> = check(&evidence)
        .breaches
        .iter()
        .map(|breach| breach.sin)
        .collect();
    sins.dedup();
    sins
}

fn repeat(evidence: &mut Evidence, effect: &str) {
    let found = evidence.effects.iter().find(|one| one["effect"] == effect);
    let again = found.unwrap().clone();
    evidence.effects.push(again);
    number(evidence);
}

fn hide(evidence: &mut Evidence, effect: &str) {
    let at = evidence
        .effects
        .iter()
        .position(|one| one["effect"] == effect);
    evidence.effects.remove(at.unwrap());
}

fn doubt(evidence: &mut Evidence, id: &str, age_ms: i64) {
    let at = jiff::Timestamp::from_millisecond(NOW_MS + 60_000).unwrap();
    let job = of(evidence, id);
    job["state"] = json!("in_doubt");
    job["attempts"] = json!([{"at": at.to_string(), "outcome": "unknown"}]);
    job["run_at"] = json!(at.to_string());
    let job = job.clone();
    evidence.doubts.push(Doubt {
        at_ms: NOW_MS + 60_000 + age_ms,
        job,
    });
}

fn act(evidence: &mut Evidence, id: &str, what: What, before: &str) {
    evidence.acts.push(Acted {
        id: id.to_owned(),
        what,
        before: before.to_owned(),
    });
}

#[test]
fn an_honest_run_has_no_breach() {
    assert_eq!(sins(|_| {}), []);
    let verdict = check(&honest());
    assert_eq!((verdict.acknowledged, verdict.states["done"]), (7, 7));
}

#[test]
fn what_was_accepted_and_is_gone_or_never_ends_is_lost() {
    assert_eq!(
        sins(|run| run.jobs.retain(|job| job["id"] != "job_m0.0")),
        [Sin::Lost]
    );
    assert_eq!(
        sins(|run| of(run, "job_m1")["state"] = json!("queued")),
        [Sin::Lost]
    );
    assert_eq!(
        sins(|run| of(run, "job_b")["state"] = json!("sending")),
        [Sin::Lost]
    );
}

#[test]
fn what_was_never_acknowledged_may_be_missing_but_not_doubled() {
    let unanswered = |run: &mut Evidence| {
        for asked in run.asked.iter_mut().filter(|asked| asked.job.marker == "b") {
            (asked.id, asked.answered) = (None, None);
        }
    };
    assert_eq!(
        sins(|run| {
            unanswered(run);
            run.jobs.retain(|job| job["id"] != "job_b");
            run.effects.retain(|effect| effect["effect"] != "batch");
        }),
        []
    );
    assert_eq!(
        sins(|run| {
            unanswered(run);
            repeat(run, "batch");
        }),
        [Sin::Doubled]
    );
}

#[test]
fn what_is_shown_twice_is_doubled() {
    for effect in ["message", "urgent_phone", "pin", "batch"] {
        assert_eq!(sins(|run| repeat(run, effect)), [Sin::Doubled], "{effect}");
    }
    let twin = |run: &mut Evidence| {
        let mut twin = of(run, "job_m0").clone();
        twin["id"] = json!("job_twin");
        run.jobs.push(twin);
    };
    assert_eq!(sins(twin), [Sin::Doubled]);
}

#[test]
fn a_retry_out_of_doubt_and_resend_may_show_it_once_more_and_not_twice() {
    let retried = |run: &mut Evidence| {
        act(run, "job_b", What::Retry, "in_doubt");
        repeat(run, "batch");
    };
    assert_eq!(sins(retried), []);
    let twice = |run: &mut Evidence| {
        retried(run);
        repeat(run, "batch");
    };
    assert_eq!(sins(twice), [Sin::Doubled]);
    let after_failure = |run: &mut Evidence| {
        act(run, "job_b", What::Retry, "failed");
        repeat(run, "batch");
    };
    assert_eq!(sins(after_failure), [Sin::Doubled]);
    let resend = |run: &mut Evidence| {
        run.asked.last_mut().unwrap().job.on_doubt = "resend";
        repeat(run, "batch");
    };
    assert_eq!(sins(resend), []);
}

#[test]
fn a_lane_out_of_order_is_seen() {
    let swapped = |run: &mut Evidence| {
        run.effects.swap(0, 3);
        number(run);
    };
    // The pin of m0 is shown before m0 now; that is the ledger's matter, not the lane's.
    assert!(sins(swapped).contains(&Sin::OutOfOrder));
    let children = |run: &mut Evidence| {
        run.effects.swap(1, 2);
        number(run);
    };
    assert_eq!(sins(children), [Sin::OutOfOrder]);
    let in_one_request = |run: &mut Evidence| {
        for (place, asked) in run
            .asked
            .iter_mut()
            .filter(|asked| asked.parent.is_none())
            .enumerate()
        {
            (asked.request, asked.place, asked.posted, asked.answered) =
                (0, 10 + place, 0, Some(1));
        }
        run.effects.swap(0, 3);
        number(run);
    };
    assert!(sins(in_one_request).contains(&Sin::OutOfOrder));
}

#[test]
fn other_lanes_priorities_and_schedules_have_no_order() {
    let unlike = |change: fn(&mut Job)| {
        sins(|run| {
            // Without children, so that only the lane can be out of order.
            run.asked.retain(|asked| asked.parent.is_none());
            run.effects
                .retain(|effect| matches!(effect["effect"].as_str(), Some("message" | "batch")));
            run.effects.swap(0, 1);
            change(&mut run.asked[1].job);
            number(run);
        })
    };
    assert_eq!(unlike(|_| {}), [Sin::OutOfOrder]);
    assert_eq!(unlike(|job| job.priority = "low"), []);
    assert_eq!(unlike(|job| job.lane = Some("other".into())), []);
    assert_eq!(unlike(|job| job.delay_s = Some(1)), []);
    let under_way_together = |run: &mut Evidence| {
        run.asked.retain(|asked| asked.parent.is_none());
        run.effects
            .retain(|effect| matches!(effect["effect"].as_str(), Some("message" | "batch")));
        run.effects.swap(0, 1);
        run.asked[1].posted = 0;
        number(run);
    };
    assert_eq!(sins(under_way_together), []);
}

#[test]
fn a_state_that_does_not_say_what_people_saw_is_dishonest() {
    for effect in ["pin", "urgent_phone", "batch"] {
        assert_eq!(sins(|run| hide(run, effect)), [Sin::Dishonest], "{effect}");
    }
    for state in ["failed", "expired", "canceled"] {
        assert_eq!(
            sins(|run| of(run, "job_m0")["state"] = json!(state)),
            [Sin::Dishonest],
            "{state}"
        );
    }
    let part =
        |run: &mut Evidence| of(run, "job_b")["receipt"]["parts"][1]["state"] = json!("failed");
    assert_eq!(sins(part), [Sin::Dishonest]);
    let words = |run: &mut Evidence| run.effects[0]["content"] = json!("{\"text\":\"m1\"}");
    assert_eq!(sins(words), [Sin::Dishonest]);
    let chat = |run: &mut Evidence| run.effects[0]["chat_id"] = json!("oc_2");
    assert_eq!(sins(chat), [Sin::Dishonest]);
    let id = |run: &mut Evidence| of(run, "job_m0")["receipt"]["message_id"] = json!("om_9");
    assert_eq!(sins(id), [Sin::Dishonest]);
    let foreign = |run: &mut Evidence| {
        run.effects
            .push(json!({"effect": "message", "uuid": "x", "message_id": "om_x", "seq": 99}));
    };
    assert_eq!(sins(foreign), [Sin::Dishonest]);
}

#[test]
fn what_a_person_gave_up_may_have_been_shown() {
    let given_up = |run: &mut Evidence| {
        of(run, "job_m0.1")["state"] = json!("failed");
        act(run, "job_m0.1", What::SettleFailed, "in_doubt");
    };
    assert_eq!(sins(given_up), []);
    let dropped = |run: &mut Evidence| {
        of(run, "job_m0.1")["state"] = json!("failed");
        of(run, "job_m0.1")["error"] = json!({"class": "dropped"});
    };
    assert_eq!(sins(dropped), []);
}

#[test]
fn a_message_is_in_doubt_only_for_a_reason() {
    const MINUTE: i64 = 60_000;
    assert_eq!(sins(|run| doubt(run, "job_m0", 51 * MINUTE)), []);
    assert_eq!(
        sins(|run| doubt(run, "job_m0", 40 * MINUTE)),
        [Sin::Doubtful]
    );
    assert_eq!(
        sins(|run| doubt(run, "job_m0.0", 51 * MINUTE)),
        [Sin::Doubtful]
    );
    assert_eq!(sins(|run| doubt(run, "job_m0.1", 0)), []);
    let canceled = |run: &mut Evidence| {
        doubt(run, "job_m0", MINUTE);
        act(run, "job_m0", What::Cancel, "queued");
    };
    assert_eq!(sins(canceled), []);
    let late = |run: &mut Evidence| {
        let at = jiff::Timestamp::from_millisecond(NOW_MS + 2 * MINUTE)
            .unwrap()
            .to_string();
        of(run, "job_m0")["expires_at"] = json!(at);
        doubt(run, "job_m0", 3 * MINUTE);
    };
    assert_eq!(sins(late), []);
    // A clock that was set forward makes it older, one that was set back does not make it younger.
    let set = |wall_ms: i64, boots: u32| {
        move |run: &mut Evidence| {
            run.settings.push(Setting {
                from_ms: NOW_MS + 2 * MINUTE,
                wall_ms,
                boots,
            });
            doubt(run, "job_m0", 35 * MINUTE);
        }
    };
    assert_eq!(sins(set(20 * MINUTE, 0)), []);
    assert_eq!(sins(set(-20 * MINUTE, 0)), [Sin::Doubtful]);
    assert_eq!(sins(set(-20 * MINUTE, 1)), []);
    assert_eq!(sins(set(0, 1)), [Sin::Doubtful]);
}

#[test]
fn a_repeat_after_its_window_is_late_though_nobody_saw_it() {
    const MINUTE: i64 = 60_000;
    let repeated = |minutes: i64, outcome: &'static str| {
        move |run: &mut Evidence| {
            let at = |minutes: i64| {
                let at = jiff::Timestamp::from_millisecond(NOW_MS + minutes * MINUTE);
                at.unwrap().to_string()
            };
            of(run, "job_m0")["attempts"] = json!([
                {"at": at(0), "outcome": "unknown"},
                {"at": at(minutes), "ms": 5, "outcome": outcome},
            ]);
        }
    };
    let marked = |run: &mut Evidence| {
        repeated(51, "unknown")(run);
        let attempt = &mut of(run, "job_m0")["attempts"][1];
        attempt.as_object_mut().unwrap().remove("ms");
    };
    assert_eq!(sins(repeated(51, "unknown")), [Sin::Late]);
    assert_eq!(sins(marked), []);
    assert_eq!(sins(repeated(49, "done")), []);
    assert_eq!(sins(repeated(51, "done")), [Sin::Late]);
    assert_eq!(sins(repeated(51, "not_sent")), []);
    let at_his_word = |run: &mut Evidence| {
        repeated(51, "done")(run);
        act(run, "job_m0", What::Retry, "in_doubt");
    };
    assert_eq!(sins(at_his_word), []);
}

#[test]
fn children_of_a_job_in_doubt_wait_and_are_counted() {
    let mut evidence = honest();
    doubt(&mut evidence, "job_m0", 51 * 60_000);
    for child in ["job_m0.0", "job_m0.1"] {
        of(&mut evidence, child)["state"] = json!("queued");
    }
    evidence
        .effects
        .retain(|effect| effect["message_id"] != "om_0" || effect["effect"] == "message");
    let verdict = check(&evidence);
    assert!(verdict.breaches.is_empty(), "{:?}", verdict.breaches);
    assert_eq!(verdict.waiting, 2);
    assert_eq!(verdict.doubts[&("send".to_owned(), Why::Window)], 1);
}
