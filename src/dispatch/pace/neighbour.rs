//! A group shared with another bot, against a Feishu that counts fixed seconds of any phase.
//!
//! The model knows nothing of the windows here: it counts arrivals, and refuses what is over five a
//! second. `cargo test -- --nocapture beside_a_neighbour` prints the figures.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::dispatch::trial::Dice;

const HOUR_MS: i64 = 3_600_000;
/// So often the neighbour's share is drawn anew.
const REDRAW_MS: i64 = 300_000;
const GROUP: &str = "oc_shared";

/// How the two bots meet at Feishu.
#[derive(Debug, Clone, Copy)]
enum Meeting {
    /// The neighbour's share is his, whenever in the second he comes: the worst for us.
    Reserved,
    /// Who comes first is served; the neighbour comes at random moments and loses what is refused.
    FirstCome,
}

/// What the neighbour sends in each second of five minutes.
#[derive(Debug, Clone, Copy)]
enum Share {
    /// 1, 2, 3 or 4.
    Whole,
    /// Any number from 1 to 4, evenly spread: 2.5 is two, then three.
    Fraction,
}

/// What the relay's side of it looks like.
#[derive(Debug, Clone, Copy)]
struct Setting {
    seed: u64,
    hours: i64,
    meeting: Meeting,
    share: Share,
    /// Calls to the group under way at once: 1 is one lane.
    lanes: usize,
    /// The longest way there and back; the shortest is a fifth.
    trip_ms: i64,
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    sent: u32,
    refused: u32,
    /// Places that the neighbour left.
    left: u32,
    neighbour_refused: u32,
    neighbour_sent: u32,
}

impl Tally {
    fn refused_percent(&self) -> f64 {
        100.0 * f64::from(self.refused) / f64::from(self.sent)
    }

    fn used_percent(&self) -> f64 {
        100.0 * f64::from(self.sent - self.refused) / f64::from(self.left)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Second,
    Neighbour,
    Arrives(usize, i64),
    Answered(usize, bool),
}

/// Feishu's second: who was let in, and what is kept for the neighbour.
#[derive(Default)]
struct Second {
    ours: u32,
    his: u32,
    kept: u32,
}

fn beside(setting: Setting) -> Tally {
    let mut dice = Dice(setting.seed);
    let mut tally = Tally::default();
    let mut pace = Pace::new(vec![(
        TenantIx(0),
        Limits {
            app_minute: 1000,
            app_second: 50,
            chat_second: 5,
            user_second: 5,
        },
    )]);
    let ask = Ask {
        app: 0,
        api: Api::SendMessage,
        receiver: Some(GROUP),
        message: None,
        high: false,
        weight: 1,
    };
    let mut holds: Vec<Option<Hold>> = (0..setting.lanes).map(|_| None).collect();
    let mut events = BinaryHeap::new();
    events.push(Reverse((dice.roll(0, 999), Event::Second)));
    let (mut second, mut redraw_ms) = (Second::default(), 0);
    // The neighbour's rate, and what he has sent up to now, in thousandths of a call.
    let (mut rate, mut sum) = (0, 0);
    let mut now = 0;
    while now < setting.hours * HOUR_MS {
        while let Some(&Reverse((ms, event))) = events.peek().filter(|event| event.0.0 <= now) {
            events.pop();
            match event {
                Event::Second => {
                    if ms >= redraw_ms {
                        rate = match setting.share {
                            Share::Whole => 1000 * dice.roll(1, 4),
                            Share::Fraction => dice.roll(1000, 4000),
                        };
                        redraw_ms += REDRAW_MS;
                    }
                    let share = u32::try_from((sum + rate) / 1000 - sum / 1000).unwrap();
                    sum += rate;
                    tally.left += 5 - share;
                    tally.neighbour_sent += share;
                    second = Second::default();
                    match setting.meeting {
                        Meeting::Reserved => second.kept = share,
                        Meeting::FirstCome => {
                            for _ in 0..share {
                                let at = ms + dice.roll(0, 999);
                                events.push(Reverse((at, Event::Neighbour)));
                            }
                        }
                    }
                    events.push(Reverse((ms + 1000, Event::Second)));
                }
                Event::Neighbour => match second.ours + second.his < 5 {
                    true => second.his += 1,
                    false => tally.neighbour_refused += 1,
                },
                Event::Arrives(lane, answered_ms) => {
                    let fits = second.ours + second.his + second.kept < 5;
                    second.ours += u32::from(fits);
                    tally.sent += 1;
                    tally.refused += u32::from(!fits);
                    events.push(Reverse((answered_ms, Event::Answered(lane, fits))));
                }
                Event::Answered(lane, fits) => {
                    if !fits {
                        let until_ms = now + limits::RECEIVER_PAUSE_MS;
                        pace.limited(&ask, BucketKind::Receiver, until_ms, now);
                    }
                    pace.answered(holds[lane].take().expect("it is under way"), now);
                }
            }
        }
        for (lane, slot) in holds
            .iter_mut()
            .enumerate()
            .filter(|(_, hold)| hold.is_none())
        {
            let Some(hold) = pace.take(&ask, now) else {
                break;
            };
            *slot = Some(hold);
            let trip = dice.roll(setting.trip_ms / 5, setting.trip_ms);
            let there = now + dice.roll(0, trip);
            events.push(Reverse((there, Event::Arrives(lane, now + trip))));
        }
        let mut next = events.peek().map_or(i64::MAX, |event| event.0.0);
        if let Earliest::At { ms, .. } = pace.earliest(&ask, now)
            && holds.iter().any(Option::is_none)
        {
            next = next.min(ms);
        }
        now = next.max(now + 1);
    }
    tally
}

fn print(setting: Setting, tally: &Tally) {
    let (refused, used) = (tally.refused_percent(), tally.used_percent());
    println!("{setting:?}: {refused:.2} % refused, {used:.1} % used; {tally:?}");
}

/// The mean over some seeds, each of so many hours.
fn mean(seeds: std::ops::RangeInclusive<u64>, setting: Setting) -> (f64, f64) {
    let count = seeds.clone().count() as f64;
    let tallies = seeds.map(|seed| beside(Setting { seed, ..setting }));
    let sum = tallies.fold((0.0, 0.0), |sum, tally| {
        print(setting, &tally);
        (
            sum.0 + tally.refused_percent(),
            sum.1 + tally.used_percent(),
        )
    });
    (sum.0 / count, sum.1 / count)
}

#[test]
fn beside_a_neighbour_most_of_what_is_left_is_used_and_little_is_refused() {
    for (meeting, lanes, trip_ms, hours) in [
        (Meeting::Reserved, 1, 60, 24),
        (Meeting::FirstCome, 5, 60, 24),
        (Meeting::Reserved, 5, 150, 6),
        (Meeting::FirstCome, 1, 150, 6),
        (Meeting::FirstCome, 5, 5, 6),
    ] {
        let setting = Setting {
            seed: 4,
            hours,
            meeting,
            share: Share::Whole,
            lanes,
            trip_ms,
        };
        let tally = beside(setting);
        print(setting, &tally);
        let (refused, used) = (tally.refused_percent(), tally.used_percent());
        assert!(refused < 1.5 && used >= 85.0, "{setting:?} {tally:?}");
    }
}

/// Of 2.5 places left a second, every other second has room for a third call and nobody says which. Where the
/// neighbour keeps his places whatever we do, the whole number below is most of what can be had; where who comes first
/// is served, we may try a little more. A long way there and back costs its part besides.
#[test]
fn a_neighbour_between_two_whole_numbers_costs_part_of_the_fraction_and_no_more_refusals() {
    for (meeting, lanes, trip_ms, least) in [
        (Meeting::FirstCome, 5, 5, 85.0),
        (Meeting::FirstCome, 5, 60, 84.0),
        (Meeting::FirstCome, 1, 60, 84.0),
        (Meeting::FirstCome, 1, 150, 79.0),
        (Meeting::Reserved, 5, 5, 81.0),
        (Meeting::Reserved, 1, 60, 79.0),
        (Meeting::Reserved, 5, 150, 75.0),
    ] {
        let setting = Setting {
            seed: 0,
            hours: 3,
            meeting,
            share: Share::Fraction,
            lanes,
            trip_ms,
        };
        let (refused, used) = mean(1..=3, setting);
        println!("{setting:?}: mean {refused:.2} % refused, {used:.1} % used");
        assert!(
            refused < 1.5 && used >= least,
            "{setting:?} {refused} {used}"
        );
    }
}
