//! Stops sending into an outage, and finds its end with as few calls as can be.
//!
//! One breaker an app×API, opened by unknown outcomes in a row; one a base URL, opened by calls in
//! a row that provably never left. Open, it lets one probe through at a time, after 1 s, then at
//! doubling gaps up to 30 s; any answer with a JSON body closes it. A kind that cannot be repeated
//! is a probe only after a read on that base URL was answered, and once in five minutes at most:
//! an outage leaves few jobs in doubt.
//! Not here: which job probes (lanes), what refuses every job alike (`pauses`).

mod looks;
mod pauses;
#[cfg(test)]
mod property;

pub(crate) use looks::Looks;
pub(crate) use pauses::{PauseKey, Pauses, Spot};

use feishu_im::limits::TIMEOUT_MAX_MS;

/// So many in a row open it.
const IN_A_ROW: u32 = 3;
/// Gap before the first probe.
const FIRST_GAP_MS: i64 = 1_000;
/// Longest gap between probes.
const LONGEST_GAP_MS: i64 = 30_000;
/// Gap between probes that cannot be repeated.
const DUP_GAP_MS: i64 = 5 * 60_000;
/// A probe that is not heard of for so long has lost its task; another may go.
const PROBE_LOST_MS: i64 = 2 * TIMEOUT_MAX_MS;
const _: () = assert!(FIRST_GAP_MS <= LONGEST_GAP_MS && PROBE_LOST_MS > TIMEOUT_MAX_MS);

/// What an attempt tells a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerEvent {
    /// Somebody answered with a code, whatever it says.
    Ok,
    /// The call left and nobody can tell what became of it.
    Unknown,
    /// The call provably never left.
    NotSent,
    /// Nothing about the way to Feishu.
    None,
}

/// May a call go?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Yes, like any other.
    Open,
    /// Yes, as the probe: say `probe_started`, and that it was the probe when it ends.
    Probe,
    /// Not before `until_ms`, or before a probe ends.
    Closed { until_ms: i64 },
    /// Not before a read on this base URL is answered: it cannot be repeated.
    AfterRead,
}

/// What opens a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Unknown,
    NotSent,
}

/// The breaker of one app×API or of one base URL.
#[derive(Debug)]
pub(crate) struct Breaker {
    trigger: Trigger,
    in_a_row: u32,
    outage: Option<Outage>,
    /// When the last probe went that could not be repeated.
    dup_ms: Option<i64>,
}

#[derive(Debug)]
struct Outage {
    since_ms: i64,
    gap_ms: i64,
    probes: Probes,
    /// A read on this base URL was answered since it began, and no unrepeatable probe went since.
    read_ok: bool,
}

/// One probe at a time, not before a set time, and none lost for good.
#[derive(Debug)]
struct Probes {
    next_ms: i64,
    /// Until when the probe under way is waited for.
    lost_ms: Option<i64>,
}

impl Breaker {
    /// For an app×API: opened by unknown outcomes.
    pub(crate) fn of_api() -> Self {
        Self::new(Trigger::Unknown)
    }

    /// For a base URL: opened by calls that never left.
    pub(crate) fn of_base_url() -> Self {
        Self::new(Trigger::NotSent)
    }

    fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            in_a_row: 0,
            outage: None,
            dup_ms: None,
        }
    }

    /// May a call go at `now`? `dup`: of a kind that cannot be repeated.
    pub(crate) fn allows(&mut self, dup: bool, now: i64) -> Gate {
        let dup_from = self.dup_from(now);
        let Some(outage) = &mut self.outage else {
            return Gate::Open;
        };
        if dup && !outage.read_ok {
            return Gate::AfterRead;
        }
        let from = if dup { dup_from } else { i64::MIN };
        match outage.probes.free_at(LONGEST_GAP_MS, now).max(from) {
            free_ms if free_ms <= now => Gate::Probe,
            until_ms => Gate::Closed { until_ms },
        }
    }

    /// The call that `allows` named the probe goes now.
    pub(crate) fn probe_started(&mut self, dup: bool, now: i64) {
        let Some(outage) = &mut self.outage else {
            return;
        };
        outage.probes.start(now);
        if dup {
            outage.read_ok = false;
            self.dup_ms = Some(now);
        }
    }

    /// A call ended. `probe`: it was the one that `probe_started` spoke of.
    pub(crate) fn ended(&mut self, event: BreakerEvent, probe: bool, now: i64) {
        match (event, self.trigger) {
            (BreakerEvent::Ok, _) => {
                self.in_a_row = 0;
                self.outage = None;
            }
            (BreakerEvent::Unknown, Trigger::Unknown)
            | (BreakerEvent::NotSent, Trigger::NotSent) => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.failed(probe, now);
            }
            // It left, so the way was there: not in a row. But nobody answered.
            (BreakerEvent::Unknown, Trigger::NotSent) => {
                self.in_a_row = 0;
                self.failed(probe, now);
            }
            (BreakerEvent::NotSent, Trigger::Unknown) => self.failed(probe, now),
            (BreakerEvent::None, _) => self.probe_told_nothing(probe, now),
        }
    }

    /// A read on this base URL was answered: kinds that cannot be repeated may probe.
    pub(crate) fn read_ok(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.read_ok = true;
        }
    }

    /// Somebody changed something: the next probe need not wait. One under way is waited for, and what
    /// cannot be repeated keeps its gap.
    pub(crate) fn probe_now(&mut self, now: i64) {
        if let Some(outage) = &mut self.outage {
            outage.probes.next_ms = outage.probes.next_ms.min(now);
        }
    }

    /// Is it open, so that only probes go?
    pub(crate) fn is_open(&self) -> bool {
        self.outage.is_some()
    }

    /// Since when it is open.
    pub(crate) fn since_ms(&self) -> Option<i64> {
        self.outage.as_ref().map(|outage| outage.since_ms)
    }

    fn failed(&mut self, probe: bool, now: i64) {
        match &mut self.outage {
            Some(outage) if probe => {
                outage.gap_ms = (2 * outage.gap_ms).min(LONGEST_GAP_MS);
                outage.probes.end(now.saturating_add(outage.gap_ms));
            }
            Some(_) => {} // it left before the outage was known
            None if self.in_a_row >= IN_A_ROW => self.outage = Some(Outage::begin(now)),
            None => {}
        }
    }

    fn probe_told_nothing(&mut self, probe: bool, now: i64) {
        if let Some(outage) = self.outage.as_mut().filter(|_| probe) {
            outage.probes.end(now.saturating_add(outage.gap_ms));
        }
    }

    /// From when a kind that cannot be repeated may probe again.
    fn dup_from(&mut self, now: i64) -> i64 {
        let Some(dup_ms) = &mut self.dup_ms else {
            return i64::MIN;
        };
        *dup_ms = (*dup_ms).min(now);
        dup_ms.saturating_add(DUP_GAP_MS)
    }
}

impl Outage {
    fn begin(now: i64) -> Self {
        Self {
            since_ms: now,
            gap_ms: FIRST_GAP_MS,
            probes: Probes::from(now.saturating_add(FIRST_GAP_MS)),
            read_ok: false,
        }
    }
}

impl Probes {
    fn from(next_ms: i64) -> Self {
        Self {
            next_ms,
            lost_ms: None,
        }
    }

    /// The earliest time of the next probe; after the clock was put back, at most `gap_ms` ahead.
    fn free_at(&mut self, gap_ms: i64, now: i64) -> i64 {
        self.next_ms = self.next_ms.min(now.saturating_add(gap_ms));
        self.lost_ms = self
            .lost_ms
            .map(|ms| ms.min(now.saturating_add(PROBE_LOST_MS)));
        self.next_ms.max(self.lost_ms.unwrap_or(i64::MIN))
    }

    fn start(&mut self, now: i64) {
        self.lost_ms = Some(now.saturating_add(PROBE_LOST_MS));
    }

    fn end(&mut self, next_ms: i64) {
        *self = Self::from(next_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: i64) -> Breaker {
        let mut breaker = Breaker::of_api();
        for _ in 0..IN_A_ROW {
            breaker.ended(BreakerEvent::Unknown, false, now);
        }
        breaker
    }

    #[test]
    fn three_unknowns_in_a_row_open_an_api_and_two_do_not() {
        let mut breaker = Breaker::of_api();
        for event in [
            BreakerEvent::Unknown,
            BreakerEvent::Unknown,
            BreakerEvent::Ok,
            BreakerEvent::Unknown,
        ] {
            breaker.ended(event, false, 0);
        }
        breaker.ended(BreakerEvent::NotSent, false, 0);
        breaker.ended(BreakerEvent::Unknown, false, 0);
        assert_eq!(breaker.allows(false, 0), Gate::Open);
        breaker.ended(BreakerEvent::Unknown, false, 0);
        assert_eq!(breaker.allows(false, 0), Gate::Closed { until_ms: 1_000 });
    }

    #[test]
    fn three_calls_in_a_row_that_never_left_open_a_base_url() {
        let mut breaker = Breaker::of_base_url();
        for event in [
            BreakerEvent::NotSent,
            BreakerEvent::NotSent,
            BreakerEvent::Unknown,
        ] {
            breaker.ended(event, false, 0);
        }
        for _ in 0..2 {
            breaker.ended(BreakerEvent::NotSent, false, 0);
            assert!(!breaker.is_open());
        }
        breaker.ended(BreakerEvent::NotSent, false, 0);
        assert!(breaker.is_open());
    }

    #[test]
    fn probes_go_one_at_a_time_at_doubling_gaps_up_to_half_a_minute() {
        let mut breaker = opened(0);
        let mut now = 0;
        for gap_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(
                breaker.allows(false, now),
                Gate::Closed {
                    until_ms: now + gap_ms
                }
            );
            now += gap_ms;
            assert_eq!(breaker.allows(false, now), Gate::Probe);
            breaker.probe_started(false, now);
            assert_eq!(
                breaker.allows(false, now),
                Gate::Closed {
                    until_ms: now + PROBE_LOST_MS
                }
            );
            breaker.ended(BreakerEvent::Unknown, true, now);
        }
    }

    #[test]
    fn a_call_that_left_before_the_outage_neither_ends_a_probe_nor_counts_as_one() {
        let mut breaker = opened(0);
        breaker.probe_started(false, 1_000);
        breaker.ended(BreakerEvent::Unknown, false, 1_100);
        assert_eq!(
            breaker.allows(false, 5_000),
            Gate::Closed {
                until_ms: 1_000 + PROBE_LOST_MS
            }
        );
    }

    #[test]
    fn a_person_who_changed_something_does_not_wait_for_the_next_probe() {
        let mut breaker = opened(0);
        breaker.probe_now(10);
        assert_eq!(breaker.allows(false, 10), Gate::Probe);
        assert_eq!(breaker.allows(true, 10), Gate::AfterRead);
        breaker.probe_started(false, 10);
        breaker.probe_now(20);
        assert!(
            matches!(breaker.allows(false, 20), Gate::Closed { .. }),
            "one at a time"
        );
        let mut closed = Breaker::of_api();
        closed.probe_now(10);
        assert_eq!(closed.allows(true, 10), Gate::Open);
    }

    #[test]
    fn any_answer_closes_it() {
        let mut breaker = opened(0);
        breaker.probe_started(false, 1_000);
        breaker.ended(BreakerEvent::Ok, true, 1_050);
        assert_eq!(breaker.allows(false, 1_050), Gate::Open);
        assert_eq!(breaker.allows(true, 1_050), Gate::Open);
        breaker.ended(BreakerEvent::Unknown, false, 1_060);
        assert!(!breaker.is_open(), "the row begins anew");
    }

    #[test]
    fn a_kind_that_cannot_be_repeated_waits_for_a_read_and_goes_once_in_five_minutes() {
        let mut breaker = opened(0);
        assert_eq!(breaker.allows(true, 60_000), Gate::AfterRead);
        breaker.read_ok();
        assert_eq!(breaker.allows(true, 60_000), Gate::Probe);
        breaker.probe_started(true, 60_000);
        breaker.ended(BreakerEvent::Unknown, true, 61_000);
        assert_eq!(
            breaker.allows(true, 70_000),
            Gate::AfterRead,
            "that read speaks of one probe"
        );
        breaker.read_ok();
        assert_eq!(
            breaker.allows(true, 70_000),
            Gate::Closed { until_ms: 360_000 }
        );
        assert_eq!(breaker.allows(true, 360_000), Gate::Probe);
    }

    #[test]
    fn a_lost_probe_wedges_nothing() {
        let mut breaker = opened(0);
        breaker.probe_started(false, 1_000);
        assert_eq!(breaker.allows(false, 1_000 + PROBE_LOST_MS), Gate::Probe);
    }

    #[test]
    fn a_probe_that_told_nothing_is_made_again_after_the_same_gap() {
        let mut breaker = opened(0);
        breaker.probe_started(false, 1_000);
        breaker.ended(BreakerEvent::None, true, 1_010);
        assert_eq!(
            breaker.allows(false, 1_010),
            Gate::Closed { until_ms: 2_010 }
        );
    }

    #[test]
    fn a_clock_put_back_does_not_lengthen_an_outage() {
        let mut breaker = opened(1_000_000_000);
        assert_eq!(breaker.allows(false, 0), Gate::Closed { until_ms: 30_000 });
        assert_eq!(breaker.allows(false, 30_000), Gate::Probe);
        breaker.read_ok();
        breaker.probe_started(true, 1_000_000_000);
        breaker.ended(BreakerEvent::Unknown, true, 1_000_000_000);
        breaker.read_ok();
        assert_eq!(
            breaker.allows(true, 50_000),
            Gate::Closed { until_ms: 350_000 }
        );
    }
}
