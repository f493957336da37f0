//! Each rule of the escalation by itself.
use super::*;
use crate::alerts::incident::Card;
use crate::alerts::policy::Quiet;
use crate::job::Fault;

pub(super) const MINUTE: i64 = 60_000;

/// An incident with rungs `after` so many minutes, all for ou_a and ou_b, shown at 0.
pub(super) fn incident(rungs: &[(i64, &str)]) -> Incident {
    let to = vec![Who::Id("ou_a".into()), Who::Id("ou_b".into())];
    let escalate = rungs.iter().map(|(minutes, urgent)| Rung {
        after_ms: minutes * MINUTE,
        urgent: (*urgent).to_owned(),
        to: to.clone(),
    });
    let policy = json!({
        "app": "ops", "to": "oc_1", "expires_in_ms": 15 * MINUTE, "on_doubt": "hold",
        "until_read": true, "until_reaction": true, "escalate": escalate.collect::<Vec<_>>(),
    });
    let card = Card {
        message_id: Some("om_1".into()),
        shown_ms: Some(0),
        ..Card::default()
    };
    let known = json!({
        "sink": "db", "group_key": "g", "opened_ms": -1000, "heard_ms": -1000,
        "policy": policy, "card": card,
    });
    serde_json::from_value(known).unwrap()
}

fn view<'a>(now_ms: i64, jobs: &'a [IncidentJob], facts: Option<&'a Facts>) -> View<'a> {
    View {
        now_ms,
        firing: true,
        shown: true,
        jobs,
        facts,
    }
}

/// What Feishu and the lists answer to `ask`.
pub(super) fn facts(ask: &Ask, asked_ms: i64, readers: &[&str], reaction: Option<&str>) -> Facts {
    let ids = |whom: &Vec<Who>| {
        let ids = whom.iter().filter_map(|who| match who {
            Who::Id(id) => Some(id.clone()),
            Who::Mail(_) | Who::List(_) | Who::All => None,
        });
        Called {
            ids: ids.collect(),
            faults: Vec::new(),
        }
    };
    Facts {
        asked_ms,
        message: ask.message.clone(),
        called: ask.rungs.iter().map(|(n, whom)| (*n, ids(whom))).collect(),
        readers: readers.iter().map(|id| (*id).to_owned()).collect(),
        reaction: reaction.map(str::to_owned),
        troubles: Vec::new(),
    }
}

/// Plans at `now_ms`, answering what is asked.
fn step(incident: &mut Incident, now_ms: i64, jobs: &[IncidentJob], readers: &[&str]) -> Planned {
    let planned = plan(incident, &view(now_ms, jobs, None));
    let Some(ask) = &planned.ask else {
        return planned;
    };
    let facts = facts(ask, now_ms, readers, None);
    plan(incident, &view(now_ms, jobs, Some(&facts)))
}

pub(super) fn job(call: &Call, number: u8, state: State) -> IncidentJob {
    IncidentJob {
        id: JobId([number; 16]),
        role: IncidentRole::Rung,
        n: call.n,
        tag: call.tag.clone(),
        state,
        tried: state != State::Queued,
        unknown: state == State::InDoubt,
        merged: false,
        message_id: None,
        created_ms: 0,
        finished_ms: None,
        error: None,
    }
}

#[track_caller]
fn check(incident: &Incident, expected: &[(&str, &str)]) {
    let got = incident.rungs.iter();
    let got: Vec<_> = got
        .map(|rung| (rung.outcome.as_str(), rung.why.as_str()))
        .collect();
    assert_eq!(got, expected);
}

#[test]
fn a_rung_waits_for_its_deadline_asks_once_and_calls_who_has_not_read() {
    let mut one = incident(&[(5, "urgent_app"), (15, "urgent_app")]);
    let early = plan(&mut one, &view(5 * MINUTE - 1, &[], None));
    assert_eq!((early.due_ms, early.ask), (Some(5 * MINUTE), None));
    let asked = plan(&mut one, &view(5 * MINUTE, &[], None));
    let ask = asked.ask.unwrap();
    assert!(asked.calls.is_empty() && ask.read && ask.reaction && ask.since_ms.is_none());
    let facts = facts(&ask, 5 * MINUTE, &["ou_a", "ou_stranger"], None);
    let planned = plan(&mut one, &view(5 * MINUTE + 900, &[], Some(&facts)));
    assert_eq!(planned.due_ms, Some(15 * MINUTE));
    let [call] = &planned.calls[..] else {
        panic!("{planned:?}");
    };
    assert_eq!(
        (call.users.as_slice(), call.id_type),
        (&["ou_b".to_owned()][..], "open_id")
    );
    assert_eq!(call.expires_ms, 15 * MINUTE);
    assert_eq!(call.args()["message"], "om_1");
    check(
        &one,
        &[("fired", "called 1 of 2: 1 had read the card"), ("", "")],
    );
    assert_eq!(
        (&one.rungs[0].people[0], &one.rungs[0].readers[0]),
        (&"ou_b".to_owned(), &"ou_a".to_owned())
    );
    // Nothing more of it, whoever looks again.
    let again = plan(&mut one, &view(5 * MINUTE + 950, &[], Some(&facts)));
    assert!(again.calls.is_empty() && again.ask.is_none());
}

#[test]
fn readers_count_only_where_the_route_says_so() {
    let mut one = incident(&[(5, "urgent_app")]);
    one.policy.until_read = false;
    let planned = step(&mut one, 5 * MINUTE, &[], &["ou_a", "ou_b"]);
    assert_eq!(planned.calls[0].users.len(), 2);
    let mut all = incident(&[(5, "urgent_app")]);
    assert!(
        step(&mut all, 5 * MINUTE, &[], &["ou_a", "ou_b"])
            .calls
            .is_empty()
    );
    check(&all, &[("skipped", "all 2 had read the card")]);
}

#[test]
fn a_stop_decides_every_rung_and_cancels_what_waits() {
    type Change = fn(&mut Incident, &mut View<'_>);
    let stops: [(Change, &str); 4] = [
        (|_, view| view.firing = false, "resolved"),
        (
            |one, view| {
                view.firing = false;
                one.digest = Some(crate::alerts::incident::Digest::default());
            },
            "nothing of it fires that nobody looks at",
        ),
        (
            |one, _| {
                let (by, how) = ("lin".to_owned(), "ack".to_owned());
                one.ack = Some(Ack { at_ms: 0, by, how });
            },
            "acknowledged by lin",
        ),
        (
            |one, _| {
                let (by, how) = ("ou_b".to_owned(), "reaction".to_owned());
                one.ack = Some(Ack { at_ms: 0, by, how });
            },
            "ou_b reacted to the card",
        ),
    ];
    for (change, why) in stops {
        let mut one = incident(&[(5, "urgent_app"), (15, "urgent_app")]);
        let call = step(&mut one, 5 * MINUTE, &[], &[]).calls.remove(0);
        let other = job(&call, 2, State::Sending);
        let jobs = [job(&call, 1, State::Queued), other];
        let mut view = view(6 * MINUTE, &jobs, None);
        change(&mut one, &mut view);
        let planned = plan(&mut one, &view);
        assert_eq!(planned.cancel, [(jobs[0].id, "its escalation has ended")]);
        assert_eq!((planned.due_ms, planned.ask), (None, None));
        check(&one, &[("fired", "called 2"), ("skipped", why)]);
    }
}

#[test]
fn a_reaction_ends_it_only_where_the_route_says_so() {
    for until_reaction in [true, false] {
        let mut one = incident(&[(5, "urgent_app")]);
        one.policy.until_reaction = until_reaction;
        let ask = plan(&mut one, &view(5 * MINUTE, &[], None)).ask.unwrap();
        let facts = facts(&ask, 5 * MINUTE, &[], Some("ou_c"));
        let planned = plan(&mut one, &view(5 * MINUTE, &[], Some(&facts)));
        assert_eq!(planned.calls.is_empty(), until_reaction);
        assert_eq!(one.ack.is_some(), until_reaction);
    }
}

#[test]
fn overdue_only_the_highest_calls_and_not_beyond_half_an_hour() {
    let rungs = [(5, "urgent_app"), (15, "urgent_sms"), (20, "urgent_phone")];
    let mut one = incident(&rungs);
    let planned = step(&mut one, 16 * MINUTE, &[], &[]);
    assert!(planned.calls.iter().all(|call| call.urgent == "urgent_sms"));
    let overtaken = ("skipped", OVERTAKEN);
    check(&one, &[overtaken, ("fired", "called 2"), ("", "")]);
    assert_eq!(planned.due_ms, Some(20 * MINUTE));

    let mut late = incident(&rungs);
    step(&mut late, 50 * MINUTE, &[], &[]);
    let too_late = ("skipped", "it was more than 30 minutes late");
    check(&late, &[too_late, too_late, ("fired", "called 2")]);
    let mut too = incident(&rungs);
    let planned = step(&mut too, 50 * MINUTE + 1, &[], &[]);
    assert_eq!((planned.ask, planned.due_ms), (None, None));
    check(&too, &[too_late; 3]);
}

#[test]
fn two_rungs_of_one_time_both_call_on_time_and_the_last_one_when_overdue() {
    let rungs = [(5, "urgent_app"), (5, "urgent_phone")];
    let mut one = incident(&rungs);
    let planned = step(&mut one, 5 * MINUTE + PROMPT_MS, &[], &[]);
    // One call in the app, and a phone call to each.
    assert_eq!(planned.calls.len(), 3);
    let mut late = incident(&rungs);
    let planned = step(&mut late, 5 * MINUTE + PROMPT_MS + 1, &[], &[]);
    assert_eq!(planned.calls.len(), 2);
    check(&late, &[("skipped", OVERTAKEN), ("fired", "called 2")]);
}

#[test]
fn a_call_that_waits_for_feishu_ends_when_a_higher_rung_is_due() {
    let rungs = [(5, "urgent_app"), (5, "urgent_app"), (50, "urgent_app")];
    let mut one = incident(&rungs);
    let calls = step(&mut one, 5 * MINUTE, &[], &[]).calls;
    let ends: Vec<_> = calls.iter().map(|call| call.expires_ms).collect();
    assert_eq!(ends, [5 * MINUTE + PROMPT_MS, 35 * MINUTE]);
    let last = step(&mut one, 50 * MINUTE, &[], &[]).calls;
    assert_eq!(last[0].expires_ms, 80 * MINUTE);
}

#[test]
fn how_a_call_ended_stands_with_its_rung() {
    let mut one = incident(&[(5, "urgent_app")]);
    let call = step(&mut one, 5 * MINUTE, &[], &[]).calls.remove(0);
    let mut jobs = [job(&call, 1, State::InDoubt)];
    let planned = plan(&mut one, &view(6 * MINUTE, &jobs, None));
    assert_eq!(one.rungs[0].jobs[0].ended, "in_doubt");
    assert!(planned.forget.is_empty() && planned.calls.is_empty());
    jobs[0].state = State::Failed;
    jobs[0].error = Some(Fault {
        class: "budget".into(),
        code: None,
        msg: "the day's budget is spent".into(),
        hint: None,
        who: None,
    });
    let planned = plan(&mut one, &view(7 * MINUTE, &jobs, None));
    assert_eq!(planned.forget, [jobs[0].id]);
    let ended = &one.rungs[0].jobs;
    assert_eq!(
        (ended.len(), ended[0].ended.as_str()),
        (1, "failed: the day's budget is spent")
    );
}

#[test]
fn what_fires_again_is_escalated_from_when_that_was_shown() {
    let mut one = incident(&[(5, "urgent_app")]);
    let old = step(&mut one, 5 * MINUTE, &[], &[]).calls.remove(0);
    let mut over = view(10 * MINUTE, &[], None);
    over.firing = false;
    plan(&mut one, &over);
    one.reopened = 1;
    let mut unshown = view(12 * MINUTE, &[], None);
    unshown.shown = false;
    assert_eq!(plan(&mut one, &unshown).due_ms, None);
    let mut update = job(&old, 9, State::Done);
    update.role = IncidentRole::Update;
    update.finished_ms = Some(13 * MINUTE);
    let jobs = [update];
    let planned = plan(&mut one, &view(14 * MINUTE, &jobs, None));
    assert_eq!(planned.due_ms, Some(18 * MINUTE));
    let ask = plan(&mut one, &view(18 * MINUTE, &[], None)).ask.unwrap();
    assert_eq!(ask.since_ms, Some(13 * MINUTE));
    let planned = step(&mut one, 18 * MINUTE, &[], &[]);
    assert_eq!(planned.calls[0].tag, "1.0.0");
}

#[test]
fn quiet_hours_move_rungs_to_their_end_and_no_call_goes_into_them() {
    // 00:10 to 01:00, of a day that begins at 0.
    let quiet = Quiet {
        from_min: 10,
        until_min: 60,
        zone: "UTC".into(),
    };
    let mut one = incident(&[(5, "urgent_app"), (15, "urgent_app")]);
    one.policy.quiet = Some(quiet);
    let planned = step(&mut one, 5 * MINUTE, &[], &[]);
    assert_eq!(planned.calls[0].expires_ms, 10 * MINUTE);
    assert_eq!(planned.due_ms, Some(60 * MINUTE));
    let planned = plan(&mut one, &view(30 * MINUTE, &[], None));
    assert_eq!((planned.ask, planned.due_ms), (None, Some(60 * MINUTE)));
    let planned = step(&mut one, 60 * MINUTE, &[], &[]);
    assert_eq!(planned.calls[0].tag, "0.1.0");
}

#[test]
fn without_a_card_nobody_is_called_and_a_new_message_goes_on_from_the_first_one() {
    let mut one = incident(&[(5, "urgent_app")]);
    one.card.shown_ms = None;
    one.card.message_id = None;
    assert_eq!(step(&mut one, 60 * MINUTE, &[], &[]), Planned::default());
    one.card.shown_ms = Some(0);
    let planned = step(&mut one, 6 * MINUTE, &[], &[]);
    assert_eq!((planned.due_ms, planned.ask), (Some(35 * MINUTE + 1), None));
    one.card.message_id = Some("om_2".into());
    let planned = step(&mut one, 7 * MINUTE, &[], &[]);
    assert_eq!(planned.calls[0].message, "om_2");
}

#[test]
fn answers_that_are_old_or_of_another_message_are_asked_for_again() {
    let mut one = incident(&[(5, "urgent_app")]);
    let ask = plan(&mut one, &view(5 * MINUTE, &[], None)).ask.unwrap();
    let mut known = facts(&ask, 5 * MINUTE, &[], None);
    let at = 5 * MINUTE + FRESH_MS + 1;
    assert!(plan(&mut one, &view(at, &[], Some(&known))).ask.is_some());
    known.message = "om_0".into();
    assert!(
        plan(&mut one, &view(5 * MINUTE, &[], Some(&known)))
            .ask
            .is_some()
    );
}

#[test]
fn lists_that_cannot_be_read_are_noted_and_the_others_called() {
    let mut one = incident(&[(5, "urgent_app"), (6, "urgent_app")]);
    let ask = plan(&mut one, &view(5 * MINUTE, &[], None)).ask.unwrap();
    let mut known = facts(&ask, 5 * MINUTE, &[], None);
    let called = known.called.get_mut(&0).unwrap();
    // Named twice is called once; kinds of ids go apart.
    called.ids = ["ou_a", "on_b", "ou_a", "u1"].map(str::to_owned).to_vec();
    called.faults.push("@oncall: no such file".into());
    known
        .troubles
        .push("its readers could not be asked for".into());
    let planned = plan(&mut one, &view(5 * MINUTE, &[], Some(&known)));
    let kinds: Vec<_> = planned
        .calls
        .iter()
        .map(|call| (call.id_type, call.users.len()))
        .collect();
    assert_eq!(kinds, [("open_id", 1), ("union_id", 1), ("user_id", 1)]);
    let why = "called 3; @oncall: no such file; its readers could not be asked for";
    assert_eq!(one.rungs[0].why, why);
    let ask = plan(&mut one, &view(6 * MINUTE, &[], None)).ask.unwrap();
    let mut nobody = facts(&ask, 6 * MINUTE, &[], None);
    nobody.called.insert(
        1,
        Called {
            ids: Vec::new(),
            faults: vec!["@oncall names nobody".into()],
        },
    );
    assert!(
        plan(&mut one, &view(6 * MINUTE, &[], Some(&nobody)))
            .calls
            .is_empty()
    );
    assert_eq!(
        one.rungs[1].why,
        "there is nobody to call; @oncall names nobody"
    );
}
