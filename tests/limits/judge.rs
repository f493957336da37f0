//! The judge of the long runs sees each breach that is planted, and none in an honest run.

use serde_json::json;

use crate::judged::*;

fn posted(chat: &str, text: &str, high: bool) -> Posted {
    Posted {
        chat: chat.to_owned(),
        text: text.to_owned(),
        high,
    }
}

fn asked() -> Vec<Posted> {
    [("a", "m0"), ("b", "m1"), ("a", "m2"), ("a", "m3")]
        .into_iter()
        .map(|(chat, text)| posted(chat, text, false))
        .chain([posted("a", "h0", true)])
        .collect()
}

/// The faults of a run in which people saw these, chat and text.
fn check(seen: &[(&str, &str)]) -> Faults {
    let effects: Vec<_> = seen
        .iter()
        .zip(1..)
        .map(|((chat, text), seq)| {
            json!({"seq": seq, "at": 1000 * seq, "effect": "message", "app_id": "cli_1", "chat_id": chat,
                   "content": json!({"text": text}).to_string()})
        })
        .chain([json!({"seq": 99, "effect": "pin", "chat_id": "a"})])
        .collect();
    faults(&asked(), &shown(&effects))
}

#[test]
fn each_fault_is_counted_and_a_high_message_may_overtake() {
    let none = Faults::default();
    let whole = [
        ("a", "m0"),
        ("a", "h0"),
        ("b", "m1"),
        ("a", "m2"),
        ("a", "m3"),
    ];
    assert_eq!(check(&whole), none);
    assert_eq!(check(&whole[1..]), Faults { lost: 1, ..none });
    let twice = [&whole[..], &[("a", "m0")]].concat();
    assert_eq!(check(&twice), Faults { doubled: 1, ..none });
    let swapped = [
        ("a", "m2"),
        ("a", "h0"),
        ("b", "m1"),
        ("a", "m0"),
        ("a", "m3"),
    ];
    let out_of_order = Faults {
        out_of_order: 1,
        ..none
    };
    assert_eq!(check(&swapped), out_of_order);
    let elsewhere = [
        ("b", "m0"),
        ("a", "h0"),
        ("b", "m1"),
        ("a", "m2"),
        ("a", "m3"),
    ];
    let moved = Faults {
        lost: 1,
        unasked: 1,
        ..none
    };
    assert_eq!(check(&elsewhere), moved);
}

#[test]
fn the_best_time_is_whole_minutes_and_the_rest_at_fifty_a_second() {
    for (calls, ms) in [
        (0, 0),
        (50, 1_000),
        (1000, 20_000),
        (1001, 60_020),
        (9500, 550_000),
    ] {
        assert_eq!(best_ms(calls), ms, "{calls}");
    }
}

#[test]
fn only_whole_minutes_between_the_first_and_the_last_call_count() {
    let times = [59_999, 60_000, 60_100, 119_999, 120_000, 180_000];
    let minute = |calls, fullest_second| Minute {
        calls,
        fullest_second,
    };
    assert_eq!(minutes(&times), [minute(3, 2), minute(1, 1)]);
    assert_eq!(minutes(&[]), []);
}

#[test]
fn what_a_neighbour_left_is_counted_second_by_second() {
    let his = [1_000, 1_500, 1_999, 2_000];
    let ours = [999, 1_100, 1_200, 2_100, 2_200, 2_300, 3_000];
    assert_eq!(room(5, &ours, &his, 1, 3), Room { left: 6, used: 5 });
}

#[test]
fn waits_are_told_by_their_middle_and_their_worst() {
    assert_eq!(median_and_worst(vec![9, 1, 5]), Some((5, 9)));
    assert_eq!(median_and_worst(vec![]), None);
}
