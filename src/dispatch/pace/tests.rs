//! The windows, one behaviour at a time.

use super::*;

const REAL: Limits = Limits {
    app_minute: 1000,
    app_second: 50,
    chat_second: 5,
    user_second: 5,
};
const OFF: Limits = Limits {
    app_minute: 0,
    app_second: 0,
    chat_second: 0,
    user_second: 0,
};

fn one_app(limits: Limits) -> Pace {
    Pace::new(vec![(TenantIx(0), limits)])
}

fn send(receiver: &str) -> Ask<'_> {
    Ask {
        app: 0,
        api: Api::SendMessage,
        receiver: Some(receiver),
        message: None,
        high: false,
        weight: 1,
    }
}

fn pin(message: &str) -> Ask<'_> {
    Ask {
        api: Api::Pin,
        receiver: None,
        message: Some(message),
        ..send("")
    }
}

fn batch(weight: u32) -> Ask<'static> {
    Ask {
        api: Api::BatchSend,
        receiver: None,
        weight,
        ..send("")
    }
}

/// Takes as often as it can at `now`.
fn drain(pace: &mut Pace, ask: &Ask<'_>, now: i64) -> Vec<Hold> {
    std::iter::from_fn(|| pace.take(ask, now)).collect()
}

/// As `drain`, with answers at once.
fn drain_answered(pace: &mut Pace, ask: &Ask<'_>, now: i64) -> usize {
    let holds = drain(pace, ask, now);
    let many = holds.len();
    holds.into_iter().for_each(|hold| pace.answered(hold, now));
    many
}

#[test]
fn a_receiver_has_five_a_second_counted_from_the_answers() {
    let mut pace = one_app(REAL);
    let mut holds = drain(&mut pace, &send("oc_a"), 0);
    assert_eq!(holds.len(), 5);
    assert_eq!(
        pace.earliest(&send("oc_a"), 0),
        Earliest::OnAnswer {
            by: Blocker::Receiver
        }
    );
    pace.answered(holds.remove(0), 700);
    assert_eq!(
        pace.earliest(&send("oc_a"), 700),
        Earliest::At {
            ms: 1_701,
            by: Blocker::Receiver
        }
    );
    pace.refund(holds.remove(0));
    assert_eq!(pace.earliest(&send("oc_a"), 700), Earliest::Now);
    assert_eq!(pace.earliest(&send("oc_b"), 700), Earliest::Now);
}

#[test]
fn previews_have_five_a_second_and_cards_for_one_member_forty_in_a_group() {
    let mut pace = one_app(REAL);
    let preview = Ask {
        api: Api::UpdateUrlPreviews,
        receiver: None,
        ..send("")
    };
    assert_eq!(drain_answered(&mut pace, &preview, 0), 5);
    assert_eq!(
        pace.earliest(&preview, 0),
        Earliest::At {
            ms: 1_001,
            by: Blocker::Api
        }
    );
    let card = |group| Ask {
        api: Api::SendEphemeral,
        high: true,
        ..pin(group)
    };
    assert_eq!(drain_answered(&mut pace, &card("oc_a"), 0), 40);
    assert_eq!(
        pace.earliest(&card("oc_a"), 0),
        Earliest::At {
            ms: 1_001,
            by: Blocker::Message
        }
    );
    assert_eq!(drain_answered(&mut pace, &card("oc_b"), 0), 10);
    let mut off = one_app(OFF);
    for _ in 0..60 {
        let hold = off.take(&preview, 0).expect("no window is on");
        off.answered(hold, 0);
    }
}

#[test]
fn the_last_slots_of_an_api_are_for_high() {
    let mut pace = one_app(REAL);
    let mut taken = 0;
    for n in 0.. {
        let name = format!("ou_{n}");
        let Some(hold) = pace.take(&send(&name), 0) else {
            break;
        };
        pace.answered(hold, 0);
        taken += 1;
    }
    assert_eq!(taken, 48);
    let high = |name| Ask {
        high: true,
        ..send(name)
    };
    assert_eq!(
        pace.earliest(&send("oc_x"), 0),
        Earliest::At {
            ms: 1_001,
            by: Blocker::Api
        }
    );
    let urgent = [high("oc_x"), high("oc_y"), high("oc_z")].map(|ask| pace.take(&ask, 0).is_some());
    assert_eq!(urgent, [true, true, false]);
}

#[test]
fn apis_and_apps_do_not_share_a_budget() {
    let limits = Limits {
        app_second: 2,
        ..REAL
    };
    let mut pace = Pace::new(vec![(TenantIx(0), limits), (TenantIx(0), limits)]);
    assert_eq!(drain_answered(&mut pace, &send("oc_a"), 0), 2);
    assert_eq!(drain_answered(&mut pace, &pin("om_a"), 0), 2);
    assert_eq!(
        drain_answered(
            &mut pace,
            &Ask {
                app: 1,
                ..send("oc_b")
            },
            0
        ),
        2
    );
}

#[test]
fn chats_and_messages_are_the_tenants_and_addresses_the_apps() {
    let mut pace = Pace::new(vec![
        (TenantIx(0), REAL),
        (TenantIx(0), REAL),
        (TenantIx(1), REAL),
    ]);
    for (ask, expected) in [
        (send("oc_a"), [5, 0, 5]),
        (send("ou_a"), [5, 5, 5]),
        (pin("om_a"), [5, 0, 5]),
    ] {
        let taken = [0, 1, 2].map(|app| drain_answered(&mut pace, &Ask { app, ..ask }, 0));
        assert_eq!(taken, expected, "{ask:?}");
    }
}

#[test]
fn a_one_to_one_chat_counts_once_however_it_is_addressed() {
    let mut pace = one_app(REAL);
    let first = pace.take(&send("ou_a"), 0).unwrap();
    let second = pace.take(&send("ou_a"), 0).unwrap();
    pace.answered(first, 50);
    pace.learn_chat(0, "ou_a", "oc_a", 50);
    pace.learn_chat(0, "om_reply", "oc_a", 50);
    assert_eq!(drain(&mut pace, &send("oc_a"), 50).len(), 3);
    for name in ["ou_a", "oc_a", "om_reply"] {
        let receiver = Earliest::At {
            ms: 1_051,
            by: Blocker::Receiver,
        };
        assert_eq!(pace.earliest(&send(name), 50), receiver, "{name}");
    }
    pace.refund(second);
    assert_eq!(pace.earliest(&send("ou_a"), 50), Earliest::Now);
}

#[test]
fn pins_and_unpins_of_one_message_share_its_window() {
    let mut pace = one_app(REAL);
    let unpin = Ask {
        api: Api::Unpin,
        ..pin("om_a")
    };
    assert_eq!(drain_answered(&mut pace, &pin("om_a"), 0), 5);
    assert_eq!(
        pace.earliest(&unpin, 0),
        Earliest::At {
            ms: 1_001,
            by: Blocker::Message
        }
    );
    assert_eq!(pace.earliest(&pin("om_b"), 0), Earliest::Now);
}

#[test]
fn windows_that_are_off_hold_nothing_and_keep_nothing() {
    let mut pace = one_app(OFF);
    let holds: Vec<Hold> = (0..5_000)
        .map(|_| pace.take(&send("oc_a"), 0).unwrap())
        .collect();
    assert_eq!(pace.receivers.len(), 0);
    holds.into_iter().for_each(|hold| pace.answered(hold, 0));
    pace.prune(0);
    assert!(pace.apps[0].apis.is_empty());
    pace.limited(&send("oc_a"), BucketKind::Receiver, 5_000, 0);
    assert_eq!(
        pace.earliest(&send("oc_a"), 0),
        Earliest::At {
            ms: 5_000,
            by: Blocker::Receiver
        }
    );
}

#[test]
fn limits_may_change_while_calls_are_under_way() {
    let mut pace = one_app(OFF);
    let uncounted = pace.take(&send("oc_a"), 0).unwrap();
    let three = Limits {
        app_second: 3,
        ..OFF
    };
    pace.set_limits(0, three);
    let held = drain(&mut pace, &send("oc_b"), 0);
    assert_eq!(held.len(), 3);
    pace.answered(uncounted, 0);
    pace.set_limits(0, OFF);
    held.into_iter().for_each(|hold| pace.answered(hold, 10));
    pace.set_limits(0, three);
    assert!(drain(&mut pace, &send("oc_b"), 20).is_empty(), "they count");
    assert_eq!(drain_answered(&mut pace, &send("oc_b"), 2_000), 3);
    let one = Limits {
        app_second: 1,
        ..OFF
    };
    pace.set_limits(0, one);
    assert_eq!(drain_answered(&mut pace, &send("oc_b"), 4_000), 1);
}

#[test]
fn all_windows_are_taken_together_or_none() {
    let mut pace = one_app(Limits {
        app_second: 3,
        ..REAL
    });
    assert_eq!(drain(&mut pace, &send("oc_a"), 0).len(), 3);
    assert!(pace.take(&send("oc_b"), 0).is_none());
    pace.prune(0);
    assert_eq!(pace.receivers.len(), 1, "nothing was taken for oc_b");
}

#[test]
fn a_refusal_closes_its_bucket_and_no_other() {
    let blocked = |bucket, ask: Ask<'static>| {
        let mut pace = Pace::new(vec![(TenantIx(0), REAL), (TenantIx(0), REAL)]);
        pace.limited(&ask, bucket, 30_000, 0);
        let others = [
            send("oc_a"),
            send("oc_b"),
            pin("om_a"),
            batch(1),
            Ask {
                app: 1,
                ..send("oc_b")
            },
        ];
        others.map(|ask| match pace.earliest(&ask, 0) {
            Earliest::Now => None,
            Earliest::At { ms, by } => {
                assert_eq!(ms, 30_000);
                Some(by)
            }
            Earliest::OnAnswer { .. } => panic!("nothing is under way"),
        })
    };
    let (api, month) = (Some(Blocker::Api), Some(Blocker::Month));
    assert_eq!(
        blocked(BucketKind::Receiver, send("oc_a")),
        [Some(Blocker::Receiver), None, None, None, None]
    );
    assert_eq!(
        blocked(BucketKind::Message, pin("om_a")),
        [None, None, Some(Blocker::Message), None, None]
    );
    assert_eq!(
        blocked(BucketKind::Api, send("oc_a")),
        [api, api, None, None, None]
    );
    assert_eq!(
        blocked(BucketKind::BatchDay, batch(1)),
        [None, None, None, Some(Blocker::BatchDay), None]
    );
    assert_eq!(blocked(BucketKind::Month, send("oc_a")), [month; 5]);
    let upload = Ask {
        api: Api::UploadImage,
        receiver: None,
        ..send("")
    };
    assert_eq!(
        blocked(BucketKind::Receiver, upload),
        [None; 5],
        "an API without receivers is closed itself"
    );
}

#[test]
fn a_batch_counts_its_recipients_in_the_day() {
    let mut pace = one_app(REAL);
    pace.restore_day(0, 499_000, 0);
    let hold = pace.take(&batch(800), 0).unwrap();
    let full = Earliest::At {
        ms: 16 * 3_600_000,
        by: Blocker::BatchDay,
    };
    assert_eq!(pace.earliest(&batch(201), 0), full);
    assert_eq!(pace.earliest(&batch(200), 0), Earliest::Now);
    pace.refund(hold);
    assert_eq!(pace.earliest(&batch(1_000), 0), Earliest::Now);
}

#[test]
fn after_a_start_the_last_minute_counts_and_receivers_wait_a_second() {
    let mut pace = one_app(REAL);
    let now = 1_000_000;
    pace.floor(now + 1_000);
    pace.restore(
        0,
        Api::SendMessage,
        &[(now - 60_000, 9), (now - 30_000, 950), (now - 100, 10)],
        now,
    );
    assert_eq!(
        pace.earliest(&send("oc_a"), now),
        Earliest::At {
            ms: now + 30_001,
            by: Blocker::Api
        }
    );
    let high = Ask {
        high: true,
        ..send("oc_a")
    };
    assert_eq!(
        pace.earliest(&high, now),
        Earliest::At {
            ms: now + 1_000,
            by: Blocker::Receiver
        }
    );
    assert_eq!(pace.earliest(&high, now + 1_000), Earliest::Now);
    pace.floor(i64::MAX);
    let ms = now + 2_001;
    assert_eq!(
        pace.earliest(&high, now + 1_000),
        Earliest::At {
            ms,
            by: Blocker::Receiver
        }
    );
    assert_eq!(
        pace.earliest(&high, ms),
        Earliest::Now,
        "no floor is further off than a second"
    );
}

#[test]
fn of_several_reasons_the_longest_is_named() {
    let mut pace = one_app(Limits {
        app_second: 5,
        ..REAL
    });
    assert_eq!(drain_answered(&mut pace, &send("oc_a"), 0), 5);
    assert_eq!(
        pace.earliest(&send("oc_a"), 0),
        Earliest::At {
            ms: 1_001,
            by: Blocker::Api
        }
    );
    pace.limited(&send("oc_a"), BucketKind::Receiver, 5_000, 0);
    assert_eq!(
        pace.earliest(&send("oc_a"), 0),
        Earliest::At {
            ms: 5_000,
            by: Blocker::Receiver
        }
    );
    assert_eq!(
        pace.earliest(&send("oc_b"), 0),
        Earliest::At {
            ms: 1_001,
            by: Blocker::Api
        }
    );
}

/// The busiest stretch of `len` ms in a sorted list of times.
fn busiest(times: &[i64], len: i64) -> usize {
    let within = |from: usize| times[from..].partition_point(|at| *at < times[from] + len);
    (0..times.len()).map(within).max().unwrap_or(0)
}

/// One greedy sender to ever new receivers, answered after `trip_ms`.
fn greedy(high: bool, trip_ms: i64, until: i64) -> Vec<i64> {
    let mut pace = one_app(REAL);
    let (mut sent, mut under_way) = (Vec::new(), std::collections::VecDeque::new());
    for now in 0..until {
        while under_way.front().is_some_and(|(at, _)| at + trip_ms <= now) {
            let (_, hold) = under_way.pop_front().unwrap();
            pace.answered(hold, now);
        }
        loop {
            let name = format!("ou_{}", sent.len());
            let Some(hold) = pace.take(
                &Ask {
                    high,
                    ..send(&name)
                },
                now,
            ) else {
                break;
            };
            sent.push(now);
            under_way.push_back((now, hold));
        }
    }
    sent
}

#[test]
fn the_windows_are_used_to_the_full() {
    for (high, trip_ms, least) in [(false, 0, 950), (true, 0, 990), (false, 20, 950)] {
        let sent = greedy(high, trip_ms, 240_000);
        assert!(busiest(&sent, 60_000) <= 1_000 && busiest(&sent, 1_000) <= 50);
        for minute in 0..180 {
            let minute = minute * 1_000..minute * 1_000 + 60_000;
            let count = sent.iter().filter(|at| minute.contains(*at)).count();
            assert!(
                count >= least,
                "{count} in {minute:?}, high {high}, trip {trip_ms}"
            );
        }
    }
}

#[test]
fn a_day_is_the_wall_clocks_whenever_the_process_began() {
    let mut pace = one_app(REAL);
    // Ten seconds after the start it is a minute before midnight in UTC+8.
    let now = 10_000;
    pace.set_wall(16 * 3_600_000 - 60_000 - now);
    pace.restore_day(0, 499_999, now);
    let hold = pace.take(&batch(1), now).unwrap();
    pace.answered(hold, now + 1_000);
    let full = Earliest::At {
        ms: now + 60_000,
        by: Blocker::BatchDay,
    };
    assert_eq!(pace.earliest(&batch(1), now + 1_000), full);
    assert_eq!(pace.earliest(&batch(500_000), now + 60_000), Earliest::Now);
}
