//! How many jobs an outage leaves in doubt, and how it ends.

use feishu_im::classify;
use feishu_im::exchange::{Exchange, Fault, UnknownKind};

use super::super::judge::{Again, Subject, judge, may_write};
use super::*;
use crate::job::{Moment, OnDoubt};

const MINUTE_MS: i64 = 60_000;
const BEGINS_MS: i64 = 10_000;
const ENDS_MS: i64 = BEGINS_MS + 70 * MINUTE_MS;
const TIMEOUT_MS: i64 = 10_000;

/// Lost between `BEGINS_MS` and `ENDS_MS`; then what `judge` says.
fn lost(head: &Head, sent_ms: i64) -> End {
    let began = head.unknown.as_ref().map(|moment| moment.wall_ms);
    let subject = Subject {
        api: head.api(),
        seed: head.seq.unsigned_abs(),
        on_doubt: OnDoubt::Hold,
        tries: 0,
        unsent: 0,
        unclear: 0,
        token_retries: 0,
        unknown_age_ms: began.map(|ms| sent_ms + 60 - ms),
        resent: false,
        verify: false,
        verified: None,
        can_lower: false,
        timeout_ms: TIMEOUT_MS,
    };
    // The look right before the write.
    if !may_write(&subject) {
        return End::InDoubt;
    }
    if !(BEGINS_MS..ENDS_MS).contains(&sent_ms) {
        return End::Done;
    }
    let fault = Fault::Unknown {
        kind: UnknownKind::Timeout,
        http: None,
        text: String::new(),
    };
    let verdict = classify(&Exchange {
        api: head.api(),
        answer: Err(fault),
        log_id: None,
        fresh_token_same: false,
    });
    match judge(&subject, &verdict, sent_ms).next {
        Next::Again(Again { after_ms, .. }) => {
            let unknown = Moment {
                wall_ms: began.unwrap_or(sent_ms),
                boot_ms: began.unwrap_or(sent_ms),
                boot_id: "boot".into(),
            };
            let again = Head {
                tried: true,
                due_ms: sent_ms + 60 + after_ms,
                unknown: Some(unknown),
                ..head.clone()
            };
            End::Again(Box::new(again), Outcome::Unknown)
        }
        Next::Done | Next::Failed(_) | Next::InDoubt | Next::Lower => End::InDoubt,
    }
}

/// What an outage did.
struct After {
    /// Calls that left before anybody could know.
    under_way: usize,
    /// Jobs that were tried meanwhile.
    touched: usize,
    in_doubt: usize,
    /// Reads that looked whether it is over.
    looks: u32,
    /// Jobs that have not gone ten minutes after it.
    left: usize,
}

/// Runs `lanes` lanes of `kind` through the outage.
fn through(seed: u64, kind: Kind, lanes: i64, reads: bool) -> After {
    let mut trial = Trial::new(seed, 60);
    trial.answer = lost;
    trial.reads = reads;
    for n in 0..200 {
        trial.run(n * 100);
        for _ in 0..2 {
            let lane = trial.dice.roll(1, lanes);
            trial.add(kind, &format!("oc_{lane}"), Priority::Normal);
        }
    }
    for _ in 0..2000 {
        let lane = trial.dice.roll(1, lanes);
        trial.add(kind, &format!("oc_{lane}"), Priority::Normal);
    }
    trial.run(ENDS_MS - 1);
    let lost = trial.seen.iter().filter(|one| one.sent_ms >= BEGINS_MS);
    let lost: Vec<(i64, i64)> = lost.map(|one| (one.seq, one.sent_ms)).collect();
    // Three answers must be lost before anybody can know: what left until then was under way.
    let known_ms = lost[2].1 + trial.trip_ms;
    let under_way = lost.iter().filter(|(_, ms)| *ms <= known_ms).count();
    let touched: BTreeSet<i64> = lost.iter().map(|(seq, _)| *seq).collect();
    trial.run(ENDS_MS + 10 * MINUTE_MS);
    After {
        under_way,
        touched: touched.len(),
        in_doubt: trial.in_doubt,
        looks: trial.looks,
        left: trial.table.values().map(BTreeMap::len).sum(),
    }
}

#[test]
fn seventy_minutes_leave_in_doubt_what_was_under_way_and_one_in_fifty_minutes() {
    for (seed, lanes) in [(11, 2), (12, 5), (13, 30), (14, 1000), (15, 3)] {
        let after = through(seed, Kind::Send, lanes, true);
        let After {
            under_way,
            touched,
            in_doubt,
            left,
            ..
        } = after;
        println!(
            "{lanes} chats: {under_way} under way, {touched} tried in the outage, {in_doubt} in doubt"
        );
        assert!(in_doubt <= under_way + 1, "{in_doubt} of {under_way}");
        assert!(touched <= under_way + 2, "{touched} of {under_way}");
        assert_eq!(left, 0, "all went on when it was over");
    }
}

#[test]
fn a_kind_that_cannot_be_repeated_loses_one_in_five_minutes_or_none_without_reads() {
    for (reads, later) in [(true, 70 / 5), (false, 0)] {
        let after = through(11, Kind::UrgentPhone, 30, reads);
        let (under_way, in_doubt) = (after.under_way, after.in_doubt);
        let looks = after.looks;
        println!("reads answered {reads}: {looks}; {under_way} under way, {in_doubt} in doubt");
        assert!(in_doubt <= under_way + later, "{in_doubt} of {under_way}");
        // One for each probe, or two a minute in eighty minutes.
        let most = if reads { 2 + 70 / 5 } else { 8 + 80 * 2 };
        assert!((1..=most).contains(&looks), "{looks} looks");
    }
}
