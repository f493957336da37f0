//! A day of mixed traffic, beside an oracle that knows the windows and all that comes.
//!
//! The relay's own lanes and windows serve it in virtual time (`Trial`); what Feishu saw is then held against
//! `best`, queue by queue. A queue is what shares a window: an app's calls of one kind, and one chat or message.
//! Not here: what comes (`plan`), Feishu saying no because somebody else eats from a window (`pace::neighbour`).

mod best;
mod plan;

use super::*;
use best::{Window, best, stretches};
use plan::{APPS, Comes, FROM_HOUR, SLOW, SLOW_MS, TRIP_MS, plan};

/// Windows of an app's calls of one kind.
const API: [Window; 2] = [(60_000, 1000), (1000, 50)];
/// Of one chat, person or message.
const ONE: [Window; 1] = [(1000, 5)];
/// Stretches that the oracle needs less time for are not told one by one.
const SHORT_MS: i64 = 30_000;
/// As long as the windows remember what went before.
const APART_MS: i64 = 60_000;

/// What became of a day.
#[derive(Debug)]
pub struct Day {
    /// Calls that were made, each once.
    pub calls: usize,
    /// Those that a Feishu of fixed windows would have refused, whatever its phase.
    pub refused: u32,
    /// Whenever jobs had to wait for a window, in the order of the day.
    pub drains: Vec<Drain>,
    /// `high`, `normal`, `low`.
    pub waits: Vec<Wait>,
}

/// A stretch of a queue in which somebody had to wait, until nobody had.
#[derive(Debug)]
pub struct Drain {
    /// Which queue, and when it began.
    pub what: String,
    /// Jobs that went meanwhile.
    pub jobs: usize,
    /// How long the oracle takes for it.
    pub best_ms: i64,
    /// And the relay.
    pub relay_ms: i64,
}

/// How long jobs of a priority waited before they left.
#[derive(Debug)]
pub struct Wait {
    /// Which.
    pub priority: &'static str,
    /// How many there were.
    pub jobs: usize,
    /// Of a hundred, the one that waited longest but one.
    pub p99_ms: i64,
    /// The longest.
    pub worst_ms: i64,
    /// The longest if the oracle serves all who are as urgent or more in the order they come, and nobody else.
    pub best_ms: i64,
}

/// What Feishu saw of one queue.
#[derive(Debug, Default)]
struct Queue {
    comes: Vec<i64>,
    went: Vec<i64>,
    /// As Feishu counted it.
    at: Vec<i64>,
}

/// Runs what comes in the first `minutes` of the day of that seed, until all has gone.
pub fn day(seed: u64, minutes: i64) -> Day {
    let jobs = plan(seed, minutes);
    let mut trial = Trial::with_apps(seed, TRIP_MS, APPS.len());
    for job in &jobs {
        trial.trip_ms = match SLOW.contains(&job.at_ms) {
            true => SLOW_MS,
            false => TRIP_MS,
        };
        trial.run(job.at_ms);
        trial.now = trial.now.max(job.at_ms);
        let head = trial.head(job.kind, &job.lane, job.priority, trial.now);
        trial.comes(Head {
            app: AppId(APP.0 + job.app as i64),
            weight: job.weight,
            ..head
        });
    }
    trial.run(i64::MAX);
    assert_eq!(trial.seen.len(), jobs.len(), "each went once");
    told(&jobs, &trial.seen)
}

fn told(jobs: &[Comes], seen: &[Seen]) -> Day {
    let mut calls: BTreeMap<(usize, &str), Queue> = BTreeMap::new();
    let mut ones: BTreeMap<&str, Queue> = BTreeMap::new();
    for one in seen {
        let job = job_of(jobs, one);
        calls
            .entry((job.app, job.kind.name()))
            .or_default()
            .add(one);
        if is_paced(job.kind) {
            ones.entry(&job.lane).or_default().add(one);
        }
    }
    let (mut drains, mut refused) = (Vec::new(), 0);
    for ((app, kind), queue) in &mut calls {
        let name = format!("{}, {}", APPS[*app], kind);
        refused += queue.judge(&name, &API, &mut drains);
    }
    for (lane, queue) in &mut ones {
        refused += queue.judge(lane, &ONE, &mut drains);
    }
    drains.sort_by_key(|(from_ms, _)| *from_ms);
    let waits = [
        (Priority::High, "high"),
        (Priority::Normal, "normal"),
        (Priority::Low, "low"),
    ];
    Day {
        calls: seen.len(),
        refused,
        drains: drains.into_iter().map(|(_, drain)| drain).collect(),
        waits: waits
            .into_iter()
            .map(|(priority, name)| wait(jobs, seen, priority, name))
            .collect(),
    }
}

/// The job of that number: they were handed in in this order, from 1 on.
fn job_of<'a>(jobs: &'a [Comes], seen: &Seen) -> &'a Comes {
    let at = usize::try_from(seen.seq - 1).expect("numbers begin at 1");
    &jobs[at]
}

/// Is there a window of its receiver, or of its message?
fn is_paced(kind: Kind) -> bool {
    matches!(kind, Kind::Send | Kind::UpdateCard)
}

impl Queue {
    fn add(&mut self, one: &Seen) {
        self.comes.push(one.added_ms);
        self.went.push(one.sent_ms);
        self.at.push(one.at_ms);
    }

    /// Adds what took its time to `drains`; returns how many would have been refused.
    fn judge(&mut self, name: &str, windows: &[Window], drains: &mut Vec<(i64, Drain)>) -> u32 {
        let refused = windows.iter().map(|(len_ms, holds)| {
            let most = u32::try_from(*holds).unwrap_or(u32::MAX);
            super::refused(self.at.clone(), *len_ms, most).1
        });
        let refused = refused.sum();
        self.comes.sort_unstable();
        self.went.sort_unstable();
        let goes = best(&self.comes, windows);
        for (first, last) in stretches(&self.comes, &goes, APART_MS) {
            let from_ms = self.comes[first];
            let best_ms = goes[last] - from_ms;
            if best_ms < SHORT_MS {
                continue;
            }
            let minutes = from_ms / 60_000;
            let (hour, minute) = (FROM_HOUR + minutes / 60, minutes % 60);
            drains.push((
                from_ms,
                Drain {
                    what: format!("{:02}:{minute:02} {name}", hour % 24),
                    jobs: last + 1 - first,
                    best_ms,
                    relay_ms: self.went[last] - from_ms,
                },
            ));
        }
        refused
    }
}

fn wait(jobs: &[Comes], seen: &[Seen], priority: Priority, name: &'static str) -> Wait {
    // When they come, and whether it is their wait that is asked for.
    type Coming = (Vec<i64>, Vec<bool>);
    let mut calls: BTreeMap<(usize, &str), Coming> = BTreeMap::new();
    let mut ones: BTreeMap<&str, Coming> = BTreeMap::new();
    let urgent = jobs
        .iter()
        .filter(|job| job.priority.rank() <= priority.rank());
    for job in urgent {
        let of_calls = calls.entry((job.app, job.kind.name())).or_default();
        let of_one = is_paced(job.kind).then(|| ones.entry(&job.lane).or_default());
        for (comes, asked) in [Some(of_calls), of_one].into_iter().flatten() {
            comes.push(job.at_ms);
            asked.push(job.priority == priority);
        }
    }
    let longest = |(comes, asked): &Coming, windows| {
        let waits = comes.iter().zip(best(comes, windows));
        let asked = waits.zip(asked).filter(|(_, asked)| **asked);
        asked
            .map(|((came, went), _)| went - came)
            .max()
            .unwrap_or(0)
    };
    let of_calls = calls.values().map(|coming| longest(coming, &API));
    let of_ones = ones.values().map(|coming| longest(coming, &ONE));
    let best_ms = of_calls.chain(of_ones).max().unwrap_or(0);
    let ours = seen
        .iter()
        .filter(|one| job_of(jobs, one).priority == priority);
    let mut waits: Vec<i64> = ours.map(|one| one.sent_ms - one.added_ms).collect();
    waits.sort_unstable();
    Wait {
        priority: name,
        jobs: waits.len(),
        p99_ms: waits.get(waits.len() * 99 / 100).copied().unwrap_or(0),
        worst_ms: waits.last().copied().unwrap_or(0),
        best_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A notice to people one by one, two in lists, waves of alerts, a chat that is told everything.
    #[test]
    fn a_morning_is_served_nearly_as_fast_as_the_windows_can_and_none_is_refused() {
        let day = day(1, 90);
        println!("{} calls, {} refused", day.calls, day.refused);
        assert_eq!(day.refused, 0);
        assert_eq!(day.drains.len(), 3, "the chat, the people, a wave");
        for drain in &day.drains {
            let ratio = drain.relay_ms as f64 / drain.best_ms as f64;
            println!(
                "{:<24} {:>6} jobs in {:>8.1} s, {ratio:.3} of the best",
                drain.what,
                drain.jobs,
                drain.relay_ms as f64 / 1000.0
            );
            // A slot is held for the way there and back as well: of a chat's second up to 8 %.
            assert!((1.0..=1.08).contains(&ratio), "{ratio}");
        }
        for wait in &day.waits {
            let Wait {
                priority,
                jobs,
                p99_ms,
                worst_ms,
                best_ms,
            } = wait;
            println!(
                "{priority:<6} {jobs:>6} jobs, p99 {p99_ms} ms, worst {worst_ms} ms, the oracle's {best_ms} ms"
            );
            // Turns make some wait longer than in the order they came; nobody much longer.
            assert!(*worst_ms <= best_ms + best_ms / 4 + 100, "{worst_ms}");
        }
    }
}
