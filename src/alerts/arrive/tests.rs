//! Notifications in any order, repeated and late.

use super::*;

const START: i64 = 1_767_225_600_000;

fn alert(name: &str, firing: bool, starts_ms: i64) -> Alert {
    Alert {
        fingerprint: name.to_owned(),
        firing,
        starts_ms,
        ends_ms: (!firing).then_some(starts_ms + 60_000),
        ..Alert::default()
    }
}

/// Folds `alerts`, said at `now_ms`, into `newest`.
fn hear(
    newest: Option<Incident>,
    reopen_ms: i64,
    now_ms: i64,
    alerts: &[Alert],
) -> Option<(Incident, Heard)> {
    let note = Notification {
        group_key: String::from("g"),
        ..Notification::default()
    };
    let policy = Policy {
        reopen_ms,
        ..crate::alerts::policy::tests::plain()
    };
    let arrival = Arrival {
        sink: "db",
        note: &note,
        alerts,
        policy: &policy,
        now_ms,
    };
    arrive(newest, &arrival)
}

fn firing(names: &[&str]) -> Incident {
    let alerts: Vec<Alert> = names.iter().map(|name| alert(name, true, START)).collect();
    let (incident, heard) = hear(None, 0, START + 1000, &alerts).unwrap();
    assert_eq!(heard, Heard::Opened);
    incident
}

fn resolved(names: &[&str], now_ms: i64) -> Incident {
    let alerts: Vec<Alert> = names.iter().map(|name| alert(name, false, START)).collect();
    let (incident, heard) = hear(Some(firing(names)), 0, now_ms, &alerts).unwrap();
    assert_eq!((heard, incident.is_firing()), (Heard::Changed, false));
    incident
}

#[test]
fn the_same_notification_twice_is_one() {
    let first = firing(&["a", "b"]);
    let both = [alert("b", true, START), alert("a", true, START)];
    let (again, heard) = hear(Some(first.clone()), 0, START + 9000, &both).unwrap();
    assert_eq!(heard, Heard::Same);
    assert_eq!((again.tag(), again.heard_ms), (first.tag(), START + 9000));
    assert!(again.news.alerts.is_empty());
}

#[test]
fn what_a_notification_leaves_out_means_nothing() {
    let one = [alert("a", true, START)];
    let (after, heard) = hear(Some(firing(&["a", "b"])), 0, START + 9000, &one).unwrap();
    assert_eq!((heard, after.firing().len()), (Heard::Same, 2));
}

#[test]
fn another_alert_is_news_and_one_that_ends_is_not() {
    let two = [alert("a", true, START), alert("b", true, START + 5000)];
    let (more, heard) = hear(Some(firing(&["a"])), 0, START + 9000, &two).unwrap();
    assert_eq!(
        (heard, more.news.alerts.clone().take()),
        (Heard::Changed, vec!["b".to_owned()])
    );
    let over = [alert("b", false, START + 5000)];
    let (fewer, heard) = hear(Some(more), 0, START + 19_000, &over).unwrap();
    assert_eq!((heard, fewer.firing().len()), (Heard::Changed, 1));
    assert!(fewer.news.alerts.is_empty());
}

#[test]
fn a_late_twin_makes_nothing_for_two_minutes() {
    let end = START + 600_000;
    let check = |after_ms: i64, starts_ms: i64, opens: bool| {
        let late = [alert("a", true, starts_ms)];
        let heard = hear(Some(resolved(&["a"], end)), 0, end + after_ms, &late);
        let heard = heard.map(|(_, heard)| heard);
        assert_eq!(
            heard,
            opens.then_some(Heard::Opened),
            "{after_ms} {starts_ms}"
        );
    };
    check(0, START, false);
    check(TWIN_MS - 1, START, false);
    check(TWIN_MS - 1, START - 7, false);
    check(TWIN_MS, START, true);
    check(1000, START + 1, true);
}

#[test]
fn a_late_twin_makes_nothing_in_the_next_incident_either() {
    let end = START + 600_000;
    let again = [alert("a", true, end)];
    let (next, _) = hear(Some(resolved(&["a", "b"], end)), 0, end + 1000, &again).unwrap();
    let late = [alert("b", true, START), alert("a", true, START)];
    let (same, heard) = hear(Some(next.clone()), 0, end + 2000, &late).unwrap();
    assert_eq!((heard, same.tag()), (Heard::Same, next.tag()));
    let over = [alert("a", false, START)];
    let (same, heard) = hear(Some(next.clone()), 0, end + 3000, &over).unwrap();
    assert_eq!(
        (heard, same.tag()),
        (Heard::Same, next.tag()),
        "an earlier end"
    );
}

#[test]
fn an_alert_without_a_start_is_never_a_twin() {
    let (incident, _) = hear(None, 0, START, &[alert("a", true, 0)]).unwrap();
    let (over, _) = hear(Some(incident), 0, START + 1000, &[alert("a", false, 0)]).unwrap();
    let heard = hear(Some(over), 0, START + 2000, &[alert("a", true, 0)]);
    assert_eq!(heard.map(|(_, heard)| heard), Some(Heard::Opened));
}

#[test]
fn what_fires_again_soon_goes_on_where_the_route_wants_it() {
    let end = START + 600_000;
    let check = |reopen_ms: i64, after_ms: i64, expected: Heard| {
        let again = [alert("a", true, end + after_ms)];
        let mut over = resolved(&["a"], end);
        over.policy.reopen_ms = reopen_ms;
        let (incident, heard) = hear(Some(over), 0, end + after_ms, &again).unwrap();
        assert_eq!(heard, expected, "{reopen_ms} {after_ms}");
        assert_eq!(incident.ended_ms, None);
        let news = usize::from(expected == Heard::Reopened);
        assert_eq!(incident.news.alerts.len(), news, "{reopen_ms} {after_ms}");
    };
    check(0, 1000, Heard::Opened);
    check(300_000, 300_000, Heard::Reopened);
    check(300_000, 300_001, Heard::Opened);
}

#[test]
fn an_end_of_what_was_never_known_makes_nothing() {
    assert_eq!(hear(None, 0, START, &[alert("a", false, START)]), None);
    let mixed = [alert("a", true, START), alert("b", false, START)];
    let (incident, _) = hear(None, 0, START + 1000, &mixed).unwrap();
    assert_eq!(incident.alerts.len(), 1);
    let late = [alert("b", true, START)];
    let (same, heard) = hear(Some(incident.clone()), 0, START + 2000, &late).unwrap();
    assert_eq!((heard, same.tag()), (Heard::Same, incident.tag()));
}

#[test]
fn what_an_incident_keeps_has_a_bound() {
    let long = "é".repeat(1 << 20);
    let mut alerts: Vec<Alert> = (0..ALERTS_MAX + 7)
        .map(|n| Alert {
            annotations: BTreeMap::from([(String::from("summary"), String::from("s"))]),
            ..alert(&format!("{n:05}"), true, START)
        })
        .collect();
    alerts[0].labels = BTreeMap::from([(String::from("x"), long)]);
    let (incident, _) = hear(None, 0, START, &alerts).unwrap();
    assert_eq!((incident.alerts.len(), incident.truncated), (ALERTS_MAX, 7));
    let kept = &incident.alerts["00000"].alert;
    assert_eq!(kept.labels["x"].len(), VALUE_BYTES_MAX);
    let whole = incident
        .alerts
        .values()
        .filter(|one| !one.alert.annotations.is_empty());
    assert_eq!(whole.count(), WHOLE_MAX);
    let (again, heard) = hear(Some(incident.clone()), 0, START + 1000, &alerts).unwrap();
    assert_eq!((heard, again.tag()), (Heard::Same, incident.tag()));
}

#[test]
fn a_source_that_says_no_start_is_taken_by_its_arrival() {
    let start = |incident: &Incident| incident.alerts["a"].alert.starts_ms;
    let [fires, ends] = [alert("a", true, 0), alert("a", false, 0)];
    let (first, _) = hear(None, 0, START, std::slice::from_ref(&fires)).unwrap();
    assert_eq!(start(&first), START);
    // Said again it is the same.
    let (again, heard) =
        hear(Some(first), 0, START + 60_000, std::slice::from_ref(&fires)).unwrap();
    assert_eq!((start(&again), heard), (START, Heard::Same));
    let (over, _) = hear(Some(again), 0, START + 120_000, &[ends]).unwrap();
    assert!(!over.is_firing());
    // Whether this is a late twin cannot be known: somebody hears of it rather than nobody.
    let (second, heard) = hear(Some(over), 0, START + 121_000, &[fires]).unwrap();
    assert_eq!((start(&second), heard), (START + 121_000, Heard::Opened));
    // The end need not say the start either.
    let known = hear(None, 0, START, &[alert("a", true, START - 5)])
        .unwrap()
        .0;
    let ends = alert("a", false, 0);
    assert!(!hear(Some(known), 0, START, &[ends]).unwrap().0.is_firing());
}

#[test]
fn the_end_of_a_firing_that_was_not_heard_of_makes_its_late_start_a_twin() {
    const LATER: i64 = START + 40_000;
    let (first, _) = hear(None, 0, START, &[alert("a", true, START)]).unwrap();
    let (over, _) = hear(Some(first), 0, START + 60_000, &[alert("a", false, LATER)]).unwrap();
    assert!(!over.is_firing());
    let late = |now_ms| hear(Some(over.clone()), 0, now_ms, &[alert("a", true, LATER)]);
    assert!(late(START + 61_000).is_none());
    // Later than that it is another firing, and the twin is known in the next incident, too.
    assert!(late(START + 60_000 + TWIN_MS).is_some());
    let (next, _) = hear(Some(over), 0, START + 70_000, &[alert("b", true, START)]).unwrap();
    let (same, heard) = hear(Some(next), 0, START + 80_000, &[alert("a", true, LATER)]).unwrap();
    assert_eq!((heard, same.firing().len()), (Heard::Same, 1));
}
