//! What Feishu closed, and the day of batches, each against a list of what happened and nothing else.
//!
//! `cargo test -- --nocapture pace::closed` prints how much that was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

const OFF: Limits = Limits {
    app_minute: 0,
    app_second: 0,
    chat_second: 0,
    user_second: 0,
};
const HOUR_MS: i64 = 3_600_000;
/// A receiver is never closed for longer by one refusal, and no shorter one grows beyond the second.
const RECEIVER_MOST_MS: i64 = 60_000;
const RECEIVER_GROWS_MS: i64 = 8_000;
const TENANTS: [usize; 3] = [0, 0, 1];
const CALLS: [(Api, Option<&str>); 6] = [
    (Api::SendMessage, Some("oc_a")),
    (Api::SendMessage, Some("oc_b")),
    (Api::SendMessage, Some("ou_a")),
    (Api::UploadImage, None),
    (Api::BatchSend, None),
    (Api::Recall, None),
];
const BUCKETS: [BucketKind; 4] = [
    BucketKind::Receiver,
    BucketKind::Api,
    BucketKind::BatchDay,
    BucketKind::Month,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bucket {
    Api(usize, Api),
    Receiver(usize, &'static str),
    Day(usize),
    Month(usize),
}

/// Chats are the tenant's, other addresses the app's.
fn receiver(app: usize, name: &'static str) -> Bucket {
    match name.starts_with("oc_") {
        true => Bucket::Receiver(TENANTS[app], name),
        false => Bucket::Receiver(100 + app, name),
    }
}

fn ask_of(app: usize, which: usize) -> Ask<'static> {
    let (api, receiver) = CALLS[which];
    Ask {
        app,
        api,
        receiver,
        message: None,
        high: false,
        weight: 1,
    }
}

/// Everything that a call needs.
fn needs(app: usize, which: usize) -> Vec<Bucket> {
    let (api, name) = CALLS[which];
    let mut needs = vec![Bucket::Api(app, api), Bucket::Month(TENANTS[app])];
    needs.extend(name.map(|name| receiver(app, name)));
    needs.extend((api == Api::BatchSend).then_some(Bucket::Day(app)));
    needs
}

fn closes(app: usize, which: usize, kind: BucketKind) -> Bucket {
    let (api, name) = CALLS[which];
    match (kind, name) {
        (BucketKind::Receiver, Some(name)) => receiver(app, name),
        (BucketKind::BatchDay, _) => Bucket::Day(app),
        (BucketKind::Month, _) => Bucket::Month(TENANTS[app]),
        (BucketKind::Receiver | BucketKind::Message | BucketKind::Api, _) => Bucket::Api(app, api),
    }
}

static ASKED: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A refusal with its reset, or none: somebody asks.
type Step = (i64, usize, usize, Option<(BucketKind, i64)>);

fn step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![3 => 0..300_i64, 3 => 0..20_000_i64, 1 => 0..2 * HOUR_MS];
    let reset = prop_oneof![
        4 => -1_000..3_000_i64,
        3 => 0..90_000_i64,
        2 => 0..4 * HOUR_MS,
        1 => Just(i64::MAX / 2),
    ];
    let limited = (prop::sample::select(BUCKETS.to_vec()), reset);
    let limited = prop::option::weighted(0.25, limited);
    (gap, 0..TENANTS.len(), 0..CALLS.len(), limited)
}

/// With every window off only a reset holds anybody up: none leaves before it, all others at once.
#[test]
fn a_reset_closes_its_bucket_until_then_and_no_other() {
    let config = ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..300))| resets(&steps)?);
    let (asked, held) = (ASKED.load(Ordering::Relaxed), HELD.load(Ordering::Relaxed));
    println!("{asked} asked, {held} had to wait");
}

fn resets(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut pace = Pace::new(TENANTS.map(|tenant| (TenantIx(tenant), OFF)).to_vec());
    // Closed at least until, and at most until.
    let mut closed: BTreeMap<Bucket, (i64, i64)> = BTreeMap::new();
    let mut now = 1_000_000;
    for &(gap, app, which, limited) in steps {
        now += gap;
        let ask = ask_of(app, which);
        if let Some((kind, reset_ms)) = limited {
            let until = now + reset_ms;
            pace.limited(&ask, kind, until, now);
            let bucket = closes(app, which, kind);
            let (least, most) = match bucket {
                Bucket::Receiver(..) => (
                    until.min(now + RECEIVER_MOST_MS),
                    until
                        .max(now + RECEIVER_GROWS_MS)
                        .min(now + RECEIVER_MOST_MS),
                ),
                Bucket::Api(..) | Bucket::Day(_) | Bucket::Month(_) => {
                    (until.min(now + HOUR_MS), until.min(now + HOUR_MS))
                }
            };
            let there = closed.entry(bucket).or_insert((i64::MIN, i64::MIN));
            *there = (there.0.max(least), there.1.max(most));
        }
        let needs = needs(app, which);
        let ends = needs.iter().filter_map(|bucket| closed.get(bucket));
        let (least, most) = ends.fold((i64::MIN, i64::MIN), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        let free = pace.take(&ask, now);
        ASKED.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(usize::from(free.is_none()), Ordering::Relaxed);
        match free {
            Some(hold) => {
                prop_assert!(now >= least, "{ask:?} left at {now}, before {least}");
                pace.answered(hold, now);
            }
            None => {
                prop_assert!(now < most, "{ask:?} waits at {now}, after {most}");
                let Earliest::At { ms, .. } = pace.earliest(&ask, now) else {
                    panic!("nothing is under way");
                };
                prop_assert!((least..=most).contains(&ms), "{ms} of {least} to {most}");
            }
        }
    }
    Ok(())
}

/// A batch as Feishu saw it.
#[derive(Debug, Clone, Copy)]
struct Batch {
    people: u32,
    taken_ms: i64,
    /// None: under way.
    answered_ms: Option<i64>,
    refunded: bool,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Ask(u32),
    Answer(usize),
    Refund(usize),
    /// The process ends, once all is answered, and another one begins; the steady clock with it.
    Restart,
}

fn act() -> impl Strategy<Value = (i64, Act)> {
    let gap = prop_oneof![4 => 0..1_000_i64, 3 => 0..HOUR_MS, 1 => 0..30 * HOUR_MS];
    let people = prop_oneof![3 => 1..200_u32, 3 => 1..150_000_u32, 1 => 400_000..=500_000_u32];
    let act = prop_oneof![
        8 => people.prop_map(Act::Ask),
        6 => (0..4_usize).prop_map(Act::Answer),
        1 => (0..4_usize).prop_map(Act::Refund),
        1 => Just(Act::Restart),
    ];
    (gap, act)
}

/// The day in UTC+8, by the calendar.
fn day(unix_ms: i64) -> jiff::civil::Date {
    let at = jiff::Timestamp::from_millisecond(unix_ms).unwrap();
    jiff::tz::offset(8).to_datetime(at).date()
}

/// People of the batches that Feishu may have counted on that day.
fn on(batches: &[Batch], that: jiff::civil::Date) -> u32 {
    let counted = batches.iter().filter(|one| {
        let ends = one.answered_ms.map_or(jiff::civil::Date::MAX, day);
        !one.refunded && day(one.taken_ms) <= that && that <= ends
    });
    counted.map(|one| one.people).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_day_of_utc_8_reaches_more_than_half_a_million(
        acts in prop::collection::vec(act(), 1..120),
        start_ms in 1_700_000_000_000..1_800_000_000_000_i64,
    ) {
        const CAP: u32 = 500_000;
        let (mut unix_ms, mut began_ms) = (start_ms, start_ms);
        let fresh = |began_ms: i64| {
            let mut pace = Pace::new(vec![(TenantIx(0), OFF)]);
            pace.set_wall(began_ms);
            pace
        };
        let mut pace = fresh(began_ms);
        let mut batches: Vec<Batch> = Vec::new();
        let mut open: Vec<(usize, Hold)> = Vec::new();
        for (gap, act) in acts {
            unix_ms += gap;
            let now = unix_ms - began_ms;
            match act {
                Act::Ask(people) => {
                    let ask = Ask { app: 0, api: Api::BatchSend, receiver: None, message: None, high: false, weight: people };
                    let fits = on(&batches, day(unix_ms)) + people <= CAP;
                    let earliest = pace.earliest(&ask, now);
                    let hold = pace.take(&ask, now);
                    prop_assert_eq!(hold.is_some(), fits, "{:?}", earliest);
                    if let Earliest::At { ms, .. } = earliest {
                        let (before, then) = (began_ms + ms - 1, began_ms + ms);
                        prop_assert!(day(before) == day(unix_ms) && day(then) > day(unix_ms), "it waits for midnight");
                    }
                    if let Some(hold) = hold {
                        open.push((batches.len(), hold));
                        batches.push(Batch { people, taken_ms: unix_ms, answered_ms: None, refunded: false });
                    }
                }
                Act::Answer(nth) if nth < open.len() => {
                    let (at, hold) = open.remove(nth);
                    batches[at].answered_ms = Some(unix_ms);
                    pace.answered(hold, now);
                }
                Act::Refund(nth) if nth < open.len() => {
                    let (at, hold) = open.remove(nth);
                    batches[at].refunded = true;
                    pace.refund(hold);
                }
                Act::Restart => {
                    for (at, hold) in open.drain(..) {
                        batches[at].answered_ms = Some(unix_ms);
                        pace.answered(hold, now);
                    }
                    // The table counts a batch on the day of its mark.
                    let marked = batches.iter().filter(|one| !one.refunded && day(one.taken_ms) == day(unix_ms));
                    let people: u32 = marked.map(|one| one.people).sum();
                    let spread: u32 = on(&batches, day(unix_ms)) - people;
                    began_ms = unix_ms;
                    pace = fresh(began_ms);
                    pace.restore_day(0, people + spread, 0);
                }
                Act::Answer(_) | Act::Refund(_) => {}
            }
        }
        let mut days: Vec<_> = batches.iter().map(|one| day(one.taken_ms)).collect();
        days.dedup();
        for that in days {
            prop_assert!(on(&batches, that) <= CAP, "{that}");
        }
    }
}
