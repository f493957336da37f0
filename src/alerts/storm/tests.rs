//! A route under storms, played second by second: nothing is lost, nothing is told twice, and no minute is a flood.

use proptest::prelude::*;

use super::*;
use crate::job::{IncidentId, LastDigest};

const STEP_MS: i64 = 250;
/// What a chat takes in a step, as Feishu's five a second.
const PER_STEP: [usize; 4] = [2, 1, 1, 1];

/// A card that was made: since when, until when it is held, for whom it speaks.
struct Made {
    since_ms: i64,
    start_ms: i64,
    members: Vec<usize>,
    digest: bool,
}

/// One place, as the engine and the store keep it.
#[derive(Default)]
struct Place {
    queue: Vec<Made>,
    told_ms: Vec<i64>,
    digest_ms: Option<i64>,
    shown: Vec<(i64, Vec<usize>, bool)>,
}

impl Place {
    fn weather(&self, now_ms: i64) -> Weather {
        let told = self
            .told_ms
            .iter()
            .filter(|at_ms| **at_ms > now_ms - 60_000);
        let cards = self.queue.iter().filter(|made| !made.digest);
        Weather {
            told: told.count() as i64,
            waiting: cards
                .take(LOOK)
                .map(|made| Wait {
                    since_ms: made.since_ms,
                    held: made.start_ms > now_ms,
                })
                .collect(),
            digest: self.digest_ms.map(|at_ms| LastDigest {
                id: IncidentId([0; 16]),
                at_ms,
                open: self.queue.iter().any(|made| made.digest),
            }),
        }
    }

    fn arrive(&mut self, incident: usize, now_ms: i64) {
        let until_ms = hold(&self.weather(now_ms), now_ms);
        if until_ms.is_none() {
            self.told_ms.push(now_ms);
        }
        self.queue.push(Made {
            since_ms: now_ms,
            start_ms: until_ms.unwrap_or(now_ms),
            members: vec![incident],
            digest: false,
        });
    }

    fn tick(&mut self, now_ms: i64) {
        match turn(&self.weather(now_ms), now_ms) {
            Turn::Rest => {}
            Turn::LetGo => {
                self.told_ms.push(now_ms);
                let held = self.queue.iter_mut().find(|made| made.start_ms > now_ms);
                held.unwrap().start_ms = now_ms;
            }
            Turn::Merge => {
                let (digests, cards): (Vec<_>, Vec<_>) =
                    self.queue.drain(..).partition(|made| made.digest);
                let mut all = digests.into_iter().next().unwrap_or_else(|| {
                    self.told_ms.push(now_ms);
                    Made {
                        since_ms: now_ms,
                        start_ms: now_ms,
                        members: Vec::new(),
                        digest: true,
                    }
                });
                all.members
                    .extend(cards.into_iter().flat_map(|made| made.members));
                self.queue.push(all);
                self.digest_ms = Some(now_ms);
            }
        }
    }

    fn send(&mut self, now_ms: i64, most: usize) {
        for _ in 0..most {
            let Some(at) = self.queue.iter().position(|made| made.start_ms <= now_ms) else {
                return;
            };
            let made = self.queue.remove(at);
            self.shown.push((now_ms, made.members, made.digest));
        }
    }
}

/// Plays arrivals a step, Feishu away in the steps that `away` names.
fn play(arrivals: &[usize], away: &std::ops::Range<usize>) -> Place {
    let (mut place, mut incident) = (Place::default(), 0);
    for step in 0..arrivals.len() + 400 {
        let now_ms = 1_000_000 + step as i64 * STEP_MS;
        for _ in 0..arrivals.get(step).copied().unwrap_or(0) {
            place.arrive(incident, now_ms);
            incident += 1;
        }
        place.tick(now_ms);
        if !away.contains(&step) {
            place.send(now_ms, PER_STEP[step % 4]);
        }
    }
    assert!(place.queue.is_empty(), "something waits for ever");
    let mut seen: Vec<usize> = place
        .shown
        .iter()
        .flat_map(|(_, all, _)| all.clone())
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..incident), "each in one message");
    place
}

fn most_in_a_minute(place: &Place) -> usize {
    let shown = &place.shown;
    let within = |from: &i64| {
        let until = from + 60_000;
        shown
            .iter()
            .filter(|(at, ..)| *at >= *from && *at < until)
            .count()
    };
    shown.iter().map(|(at, ..)| within(at)).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn no_minute_is_a_flood_and_nobody_is_lost(
        arrivals in prop::collection::vec(prop_oneof![8 => Just(0), 4 => 0..4usize, 1 => 0..200usize], 0..600),
        from in 0..600usize,
        lasts in 0..400usize,
    ) {
        let away = from..from + lasts;
        let place = play(&arrivals, &away);
        let most = most_in_a_minute(&place);
        // Cards that go as they come, twelve digests, and what an outage kept back.
        prop_assert!(most <= BURST as usize + 12 + QUEUE + 1, "{most} in a minute");
    }

    #[test]
    fn who_is_calm_is_not_held(gaps in prop::collection::vec(17..100usize, 1..50)) {
        let mut arrivals = Vec::new();
        for gap in gaps {
            arrivals.push(1);
            arrivals.resize(arrivals.len() + gap, 0);
        }
        let place = play(&arrivals, &(0..0));
        prop_assert!(place.shown.iter().all(|(_, all, digest)| all.len() == 1 && !digest));
        let late = place.shown.iter().zip(&place.told_ms).any(|((at, ..), made)| at != made);
        prop_assert!(!late);
    }

    #[test]
    fn a_digest_says_the_same_however_its_members_came(
        members in prop::collection::vec((0..6i64, 0..3u8, 0..9i64, 0..50i64), 0..80),
        cuts in prop::collection::vec(0..80usize, 0..5),
    ) {
        let states = [IncidentState::Firing, IncidentState::Acknowledged, IncidentState::Resolved];
        let all: Vec<StormMember> = members.iter().enumerate().map(|(n, (severity, state, alerts, since))| {
            StormMember {
                id: IncidentId((n as u128).to_be_bytes()),
                version: 1,
                job: None,
                state: states[usize::from(*state)],
                severity: *severity,
                title: format!("incident {n}"),
                alerts: *alerts,
                tag: String::new(),
                opened_ms: *since,
            }
        }).collect();
        let mut whole = Digest::default();
        extend(&mut whole, &all);
        let mut pieces = Digest::default();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts.into_iter().chain([all.len()]) {
            extend(&mut pieces, &all[from..cut]);
            from = cut;
        }
        prop_assert_eq!(&pieces, &whole);
        let count = |member: &StormMember| MemberCount {
            state: member.state,
            severity: member.severity,
            incidents: 1,
            alerts: member.alerts,
        };
        let counts: Vec<MemberCount> = all.iter().map(count).collect();
        prop_assert_eq!(&digest(&counts, &all), &whole);
        prop_assert_eq!(ever(&whole), all.len() as u64);
        prop_assert!(whole.worst.len() <= LINES);
    }
}

#[test]
fn five_thousand_in_a_minute_are_thirty_messages() {
    let arrivals: Vec<usize> = (0..240)
        .map(|step| 20 + usize::from(step % 6 != 0))
        .collect();
    let place = play(&arrivals, &(0..0));
    assert!(place.shown.len() <= 30, "{}", place.shown.len());
}

#[test]
fn an_outage_ends_as_one_digest() {
    let arrivals = vec![3; 400];
    let place = play(&arrivals, &(0..420));
    let digests = place.shown.iter().filter(|(.., digest)| *digest).count();
    assert_eq!((place.shown.len(), digests), (1, 1));
}

#[test]
fn a_card_beside_others_that_wait_goes_in_its_turn() {
    // The chat is busy with other jobs: the only two cards of the route stand for long.
    let waiting = |n: usize| Weather {
        told: n as i64,
        waiting: vec![
            Wait {
                since_ms: 0,
                held: false
            };
            n
        ],
        digest: None,
    };
    assert_eq!(turn(&waiting(STANDING - 1), 600_000), Turn::Rest);
    assert_eq!(hold(&waiting(STANDING - 1), 600_000), None);
    assert_eq!(turn(&waiting(STANDING), 1999), Turn::Rest);
    assert_eq!(turn(&waiting(STANDING), 2000), Turn::Merge);
}

#[test]
fn a_clock_that_was_set_back_keeps_nobody_waiting() {
    let weather = Weather {
        told: 20,
        waiting: vec![
            Wait {
                since_ms: 9_000_000,
                held: true
            };
            2
        ],
        digest: Some(LastDigest {
            id: IncidentId([1; 16]),
            at_ms: 9_000_000,
            open: false,
        }),
    };
    assert_eq!(turn(&weather, 1000), Turn::Merge);
    assert_eq!(hold(&weather, 1000), Some(1000 + GAP_MS + HELD_MS));
}
