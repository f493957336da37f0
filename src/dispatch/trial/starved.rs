//! Lanes that cannot go, more than are held: they keep nobody else waiting, and nobody busy.

use super::*;

const MINUTE_MS: i64 = 60_000;
const ENDS_MS: i64 = 20 * MINUTE_MS;
/// More than there are places.
const LANES: usize = 6000;
/// So many can go, and stand behind those in the order of names.
const EARLY: usize = 300;
const OTHER: AppId = AppId(APP.0 + 1);

/// The same job, tried, `after_ms` later.
fn tried(head: &Head, at_ms: i64) -> Box<Head> {
    Box::new(Head {
        tried: true,
        due_ms: at_ms,
        ..head.clone()
    })
}

/// Until `ENDS_MS` every job of the first app is refused alike.
fn refused_alike(head: &Head, sent_ms: i64) -> End {
    match head.app == APP && sent_ms < ENDS_MS {
        true => End::Stopped(tried(head, sent_ms)),
        false => End::Done,
    }
}

/// Until `ENDS_MS` nothing of the first app ever leaves.
fn unreachable(head: &Head, sent_ms: i64) -> End {
    match head.app == APP && sent_ms < ENDS_MS {
        true => End::Again(tried(head, sent_ms + 1000), Outcome::NotSent),
        false => End::Done,
    }
}

/// Until `ENDS_MS` the answers to messages are lost.
fn lost(head: &Head, sent_ms: i64) -> End {
    match head.kind == Kind::Send && sent_ms < ENDS_MS {
        true => End::Again(tried(head, sent_ms + 1000), Outcome::Unknown),
        false => End::Done,
    }
}

/// Whatever is sent to the first lanes must be tried again, much later.
fn later(head: &Head, sent_ms: i64) -> End {
    match head.lane.starts_with("oc_bad") && sent_ms < ENDS_MS {
        true => End::Again(tried(head, sent_ms + 9 * MINUTE_MS), Outcome::Refused),
        false => End::Done,
    }
}

fn bad(trial: &Trial) -> usize {
    let bad = |one: &&Seen| one.lane.starts_with("oc_bad");
    trial.seen.iter().filter(bad).count()
}

/// `LANES` lanes that cannot go and a few that can are there at a start, those of `kind` and `app`; every
/// ten seconds one more that can comes, from the second minute on. Returns how long the slowest of those waited and how many pieces
/// of walks were read until the fault's end.
fn beside(trial: &mut Trial, app: AppId, kind: Kind) -> (i64, u32) {
    for n in 0..LANES {
        let name = format!("oc_bad{n:05}");
        let head = trial.head(Kind::Send, &name, Priority::Normal, 0);
        trial.waits(head);
    }
    for n in 0..EARLY {
        let head = trial.head(kind, &format!("om_early{n:05}"), Priority::Normal, 0);
        trial.waits(Head { app, ..head });
    }
    trial.restart();
    let mut good = Vec::new();
    for n in 6..ENDS_MS / 10_000 - 1 {
        trial.run(n * 10_000);
        let name = match kind {
            Kind::Send => format!("oc_good{n}"),
            _ => format!("om_good{n}"),
        };
        let head = trial.head(kind, &name, Priority::Normal, trial.now);
        good.push(head.seq);
        trial.comes(Head { app, ..head });
    }
    trial.run(ENDS_MS);
    let early = |one: &&Seen| one.lane.starts_with("om_early");
    let early: Vec<i64> = trial
        .seen
        .iter()
        .filter(early)
        .map(|one| one.sent_ms)
        .collect();
    println!(
        "{EARLY} lanes behind {LANES} that cannot go left within {:?} ms",
        early.iter().max()
    );
    assert_eq!(early.len(), EARLY);
    let waits = good.iter().map(|seq| {
        let one = trial.seen.iter().find(|one| one.seq == *seq);
        one.map_or(i64::MAX, |one| one.sent_ms - one.added_ms)
    });
    (waits.max().unwrap(), trial.walks)
}

/// What the fault held back has gone an hour after its end.
fn drains(trial: &mut Trial) {
    trial.run(ENDS_MS + 60 * MINUTE_MS);
    assert!(trial.table.is_empty(), "{} are left", trial.table.len());
}

#[test]
fn an_app_that_is_stopped_keeps_no_other_waiting() {
    for (name, answer) in [
        ("refused alike", refused_alike as fn(&Head, i64) -> End),
        ("unreachable", unreachable),
    ] {
        let mut trial = Trial::with_apps(11, 60, 2);
        trial.answer = answer;
        let (longest_ms, walks) = beside(&mut trial, OTHER, Kind::Send);
        let calls = bad(&trial);
        println!(
            "{name}: {LANES} lanes stopped for {} min, {calls} calls of theirs; the other app waited {longest_ms} ms at most; {walks} walks",
            ENDS_MS / MINUTE_MS
        );
        assert!(longest_ms <= MARK_MS, "{longest_ms}");
        // A second's calls under way when it began, and the probes.
        assert!(calls <= 48 + 45, "it hammers: {calls}");
        // One piece a second, and what the start and the calls took.
        assert!(i64::from(walks) <= ENDS_MS / 1000 + 100, "{walks}");
        drains(&mut trial);
    }
}

#[test]
fn a_call_whose_answers_are_lost_keeps_no_other_call_waiting() {
    let mut trial = Trial::new(12, 60);
    trial.answer = lost;
    let (longest_ms, walks) = beside(&mut trial, APP, Kind::Pin);
    let calls = bad(&trial);
    println!(
        "{LANES} lanes stopped, {calls} calls; a pin waited {longest_ms} ms at most; {walks} walks"
    );
    assert!(longest_ms <= MARK_MS, "{longest_ms}");
    assert!(i64::from(walks) <= ENDS_MS / 1000 + 500, "{walks}");
    drains(&mut trial);
}

#[test]
fn lanes_that_wait_for_their_retry_keep_no_first_attempt_waiting_and_nobody_busy() {
    let mut trial = Trial::new(13, 60);
    trial.answer = later;
    for n in 0..LANES {
        trial.add(Kind::Send, &format!("oc_bad{n:05}"), Priority::Normal);
    }
    // Seven minutes of windows for the first attempts; the retries are due two minutes later.
    trial.run(7 * MINUTE_MS);
    assert_eq!(bad(&trial), LANES);
    let before = trial.walks;
    let mut late = Vec::new();
    for n in 0..60 {
        let until = trial.now + 1000;
        trial.run(until);
        late.push(trial.add(Kind::Send, &format!("oc_new{n}"), Priority::Normal));
    }
    trial.run(8 * MINUTE_MS + 30_000);
    let walks = trial.walks - before;
    let waits = trial.seen.iter().filter(|one| late.contains(&one.seq));
    let waits: Vec<i64> = waits.map(|one| one.sent_ms - one.added_ms).collect();
    let longest = waits.iter().max().unwrap();
    println!(
        "{LANES} lanes wait for a retry: {} first messages waited {longest} ms at most; {walks} walks in 90 s",
        waits.len()
    );
    assert_eq!(waits.len(), late.len());
    assert!(*longest <= 100, "{longest}");
    assert!(walks <= 90 + 300, "{walks}");
    drains(&mut trial);
}
