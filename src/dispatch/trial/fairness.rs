//! Who waits how long behind a crowd.

use super::*;

/// How many messages of the crowd left between the coming of a job and its own going.
fn overtaken(trial: &Trial, from: usize, seq: i64, crowd: &str) -> usize {
    let later = trial.seen[from..].iter();
    let before = later.take_while(|one| one.seq != seq);
    assert!(
        trial.seen[from..].iter().any(|one| one.seq == seq),
        "it went"
    );
    before.filter(|one| one.lane.starts_with(crowd)).count()
}

#[test]
fn a_first_message_waits_at_most_one_round_behind_two_hundred_long_chats() {
    const CHATS: i64 = 200;
    let mut trial = Trial::new(7, 60);
    for _ in 0..1000 {
        for chat in 0..CHATS {
            trial.add(Kind::Send, &format!("oc_crowd{chat}"), Priority::Normal);
        }
    }
    let mut late = Vec::new();
    for n in 0..60 {
        let until = trial.now + trial.dice.roll(1_000, 11_000);
        trial.run(until);
        let from = trial.seen.len();
        let seq = trial.add(Kind::Send, &format!("oc_new_{n}"), Priority::Normal);
        late.push((from, seq));
    }
    let until = trial.now + 70_000;
    trial.run(until);
    let counts: Vec<usize> = late
        .iter()
        .map(|(from, seq)| overtaken(&trial, *from, *seq, "oc_crowd"))
        .collect();
    let wait = |seq: &i64| {
        let one = trial.seen.iter().find(|one| one.seq == *seq).unwrap();
        one.sent_ms - one.added_ms
    };
    let longest_ms = late.iter().map(|(_, seq)| wait(seq)).max().unwrap();
    let most = counts.iter().max().unwrap();
    let mean = counts.iter().sum::<usize>() / counts.len();
    println!(
        "60 first messages behind 200 chats x 1000: at most {most} of theirs went before one (mean {mean}), a round is {CHATS}; longest wait {:.1} s, most of it the minute's window",
        longest_ms as f64 / 1000.0
    );
    assert!(*most <= CHATS as usize, "{most}");
    // Between two messages of one chat all others have had their turn, but for those under way.
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (at, one) in trial.seen.iter().enumerate().skip(400) {
        if let Some(before) = last.insert(&one.lane, at) {
            assert!(
                at - before >= 190,
                "{} again after {}",
                one.lane,
                at - before
            );
        }
    }
}

#[test]
fn a_chat_with_a_hundred_thousand_queued_holds_up_no_message_to_another() {
    let mut trial = Trial::new(11, 60);
    for _ in 0..100_000 {
        trial.add(Kind::Send, "oc_hot", Priority::Normal);
    }
    let mut late = Vec::new();
    for n in 0..60 {
        let until = trial.now + trial.dice.roll(50, 1_500);
        trial.run(until);
        let from = trial.seen.len();
        let seq = trial.add(Kind::Send, &format!("oc_new_{n}"), Priority::Normal);
        late.push((from, seq));
    }
    let until = trial.now + 5_000;
    trial.run(until);
    let wait = |seq: &i64| {
        let one = trial.seen.iter().find(|one| one.seq == *seq).unwrap();
        one.sent_ms - one.added_ms
    };
    let longest_ms = late.iter().map(|(_, seq)| wait(seq)).max().unwrap();
    let overtaken = late
        .iter()
        .map(|(from, seq)| overtaken(&trial, *from, *seq, "oc_hot"));
    let most = overtaken.max().unwrap();
    println!(
        "60 messages beside a chat with 100 000 queued: at most {most} of its own went before one; longest wait {longest_ms} ms"
    );
    assert!(most <= 1, "{most}");
    assert_eq!(longest_ms, MARK_MS, "no window keeps it, only its mark");
    let hot = trial.seen.len() - late.len();
    assert!(hot > 100, "the hot chat goes on meanwhile: {hot}");
}

#[test]
fn of_eight_slots_one_goes_to_a_lower_priority_and_neither_of_two_is_starved() {
    let mut trial = Trial::new(8, 60);
    for n in 0..40 {
        for chat in 0..50 {
            for (name, priority) in [
                ("h", Priority::High),
                ("n", Priority::Normal),
                ("l", Priority::Low),
            ] {
                trial.add(Kind::Send, &format!("oc_{name}{chat}"), priority);
            }
        }
        let _ = n;
    }
    trial.run(55_000);
    let share = |name: &str| {
        trial
            .seen
            .iter()
            .filter(|one| one.lane.starts_with(name))
            .count()
    };
    let [high, normal, low] = ["oc_h", "oc_n", "oc_l"].map(share);
    println!(
        "high {high}, normal {normal}, low {low} of {}",
        trial.seen.len()
    );
    let all = trial.seen.len();
    assert!(high >= 8 * all / 10, "{high} of {all}");
    assert!(
        normal >= all / 20 && low >= all / 20,
        "{normal} and {low} of {all}"
    );
}

#[test]
fn chats_that_are_retried_for_ever_take_their_turn_and_no_more() {
    const CHATS: usize = 100;
    let mut trial = Trial::new(9, 60);
    trial.answer = |head, sent_ms| {
        if !head.lane.starts_with("oc_bad") {
            return End::Done;
        }
        let tried = Head {
            tried: true,
            due_ms: sent_ms + 100,
            ..head.clone()
        };
        End::Again(Box::new(tried), Outcome::Refused)
    };
    for chat in 0..CHATS {
        for n in 0..40 {
            trial.add(Kind::Send, &format!("oc_good{chat}"), Priority::Normal);
            if n == 0 {
                trial.add(Kind::Send, &format!("oc_bad{chat}"), Priority::Normal);
            }
        }
    }
    trial.run(118_000);
    let bad = trial
        .seen
        .iter()
        .filter(|one| one.lane.starts_with("oc_bad"))
        .count();
    println!("{bad} of {} calls were retries", trial.seen.len());
    assert!(2 * bad <= trial.seen.len() + CHATS, "{bad}");
    let from = trial.seen.len();
    let seq = trial.add(Kind::Send, "oc_first", Priority::Normal);
    let until = trial.now + 60_000;
    trial.run(until);
    let most = overtaken(&trial, from, seq, "oc_");
    assert!(most <= 2 * CHATS, "{most}");
}

/// More lanes than are held at once: those left out are found by walking the table.
#[test]
fn every_lane_of_more_than_are_held_is_served_before_any_is_served_thrice() {
    const CHATS: usize = 4500;
    let mut trial = Trial::new(10, 60);
    for chat in 0..CHATS {
        for _ in 0..4 {
            trial.add(Kind::Send, &format!("oc_{chat}"), Priority::Normal);
        }
    }
    let mut served: HashMap<Box<str>, u32> = HashMap::new();
    while served.len() < CHATS {
        let until = trial.now + 10_000;
        trial.run(until);
        for one in trial.seen.drain(..) {
            *served.entry(one.lane).or_default() += 1;
        }
    }
    let most = served.values().max().unwrap();
    println!(
        "{CHATS} chats served once after {} s; one of them {most} times",
        trial.now / 1000
    );
    assert!(*most <= 2, "{most}");
}

/// A constant crowd of each of these priorities under a window of `a_minute` and `a_second` for ten minutes.
fn shares(a_minute: u32, a_second: u32, crowds: &[(&str, Priority)]) -> (usize, Vec<usize>, usize) {
    let mut trial = Trial::new(14, 60);
    let limits = Limits {
        app_minute: a_minute,
        app_second: a_second,
        chat_second: 5,
        user_second: 5,
    };
    trial.core.set_limits(0, limits);
    for _ in 0..100 {
        for (name, priority) in crowds {
            for chat in 0..a_minute / 10 {
                trial.add(Kind::Send, &format!("oc_{name}{chat}"), *priority);
            }
        }
    }
    trial.run(600_000);
    let all = trial.seen.len();
    let of = |name: &str| {
        let theirs = |one: &&Seen| one.lane[3..].starts_with(name);
        trial.seen.iter().filter(theirs).count()
    };
    let counts = crowds.iter().map(|(name, _)| of(name)).collect();
    // The longest run in which nobody of the last crowd went.
    let last = crowds.last().map_or("", |(name, _)| name);
    let runs = trial.seen.split(|one| one.lane[3..].starts_with(last));
    (all, counts, runs.map(<[Seen]>::len).max().unwrap())
}

/// The window is what they fight for: it is far tighter than the places under way.
#[test]
fn low_has_its_turn_under_a_tight_window_whatever_high_and_normal_want() {
    let high = ("h", Priority::High);
    let normal = ("n", Priority::Normal);
    let low = ("l", Priority::Low);
    for (a_minute, a_second) in [(20, 1), (60, 2), (200, 50), (1000, 50)] {
        for crowds in [vec![high, normal, low], vec![high, low], vec![normal, low]] {
            let (all, counts, longest) = shares(a_minute, a_second, &crowds);
            println!(
                "{a_minute} a minute, {a_second} a second: {counts:?} of {all} for {crowds:?}; low waited for {longest} others at most"
            );
            let lower = crowds.len() - 1;
            let fair = all / (8 * lower);
            assert!(
                counts[1..].iter().all(|count| *count >= fair * 8 / 10),
                "{counts:?}"
            );
            assert!(counts[0] >= all * 8 / 10, "{counts:?}");
            // A round of all lanes of lower priorities, one in eight slots.
            let round = 8 * lower * (a_minute as usize / 10 + 1);
            assert!(longest <= round, "{longest} of {round}");
        }
    }
}
