//! What refuses every job alike: the jobs wait, none fails, and one of them asks now and then.
//!
//! A pause begins with Feishu's code. One real job probes after a minute, then every five, one at a
//! time; at once when something was changed. An answer that speaks of the job itself lifts it.
//! Not here: which codes pause (`judge`), pauses by hand (`held`).

use std::collections::BTreeMap;

use feishu_im::{Api, PauseScope};

use super::{Gate, PROBE_LOST_MS, Probes};

/// Gap before the first probe.
const FIRST_GAP_MS: i64 = 60_000;
/// Gap between later ones.
const GAP_MS: i64 = 5 * 60_000;
const _: () = assert!(FIRST_GAP_MS <= GAP_MS && PROBE_LOST_MS <= GAP_MS);

/// What is paused; numbers are places in the config's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PauseKey {
    Tenant(usize),
    App(usize),
    AppApi(usize, Api),
}

/// One pause, as status shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PauseView<'a> {
    pub(crate) scope: PauseKey,
    /// Feishu's code, or the HTTP status where there was none.
    pub(crate) code: i64,
    pub(crate) msg: &'a str,
    pub(crate) since_ms: i64,
    pub(crate) next_probe_ms: i64,
}

/// Everything that is paused by Feishu's word.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    paused: BTreeMap<PauseKey, Paused>,
}

#[derive(Debug)]
struct Paused {
    code: i64,
    msg: String,
    since_ms: i64,
    probes: Probes,
}

/// Where a call is made: every pause that could stop it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) tenant: usize,
    pub(crate) app: usize,
    pub(crate) api: Api,
}

impl Spot {
    /// The pause of that width around this call.
    pub(crate) fn key(self, scope: PauseScope) -> PauseKey {
        match scope {
            PauseScope::Tenant => PauseKey::Tenant(self.tenant),
            PauseScope::App => PauseKey::App(self.app),
            PauseScope::AppApi => PauseKey::AppApi(self.app, self.api),
        }
    }

    fn keys(self) -> [PauseKey; 3] {
        [PauseScope::Tenant, PauseScope::App, PauseScope::AppApi].map(|scope| self.key(scope))
    }
}

impl Pauses {
    /// May a call go here at `now`? It is the probe of every pause around it.
    pub(crate) fn allows(&mut self, spot: Spot, now: i64) -> Gate {
        let mut free_ms = None;
        for key in spot.keys() {
            if let Some(paused) = self.paused.get_mut(&key) {
                free_ms = free_ms.max(Some(paused.probes.free_at(GAP_MS, now)));
            }
        }
        match free_ms {
            None => Gate::Open,
            Some(free_ms) if free_ms <= now => Gate::Probe,
            Some(until_ms) => Gate::Closed { until_ms },
        }
    }

    /// Feishu's code for what stops a call there, the widest first.
    pub(crate) fn code(&self, spot: Spot) -> Option<i64> {
        let found = spot
            .keys()
            .into_iter()
            .find_map(|key| self.paused.get(&key));
        found.map(|paused| paused.code)
    }

    /// The call that `allows` named the probe goes now.
    pub(crate) fn probe_started(&mut self, spot: Spot, now: i64) {
        self.around(spot, |paused| paused.probes.start(now));
    }

    /// Feishu refuses everything of `scope` around this call. `probe`: the call was the probe.
    ///
    /// True: it is a new pause, worth a line in the log.
    pub(crate) fn begin(
        &mut self,
        spot: Spot,
        scope: PauseScope,
        why: (i64, &str),
        probe: bool,
        now: i64,
    ) -> bool {
        let (code, msg) = (why.0, why.1.to_owned());
        if probe {
            self.around(spot, |paused| paused.probes.end(now.saturating_add(GAP_MS)));
        }
        let Some(paused) = self.paused.get_mut(&spot.key(scope)) else {
            let probes = Probes::from(now.saturating_add(FIRST_GAP_MS));
            self.paused.insert(
                spot.key(scope),
                Paused {
                    code,
                    msg,
                    since_ms: now,
                    probes,
                },
            );
            return true;
        };
        (paused.code, paused.msg) = (code, msg);
        false
    }

    /// An answer spoke of the job itself, so nothing around this call is refused as a whole.
    /// Returns what was lifted.
    pub(crate) fn lift(&mut self, spot: Spot) -> Vec<PauseKey> {
        let lifted = spot
            .keys()
            .into_iter()
            .filter(|key| self.paused.remove(key).is_some());
        lifted.collect()
    }

    /// The probe ended and told nothing: not sent, limited, or unknown.
    pub(crate) fn probe_told_nothing(&mut self, spot: Spot, now: i64) {
        self.around(spot, |paused| {
            paused.probes.end(now.saturating_add(FIRST_GAP_MS))
        });
    }

    /// Somebody changed something: every pause that `concerns` accepts is probed at once.
    pub(crate) fn probe_now(&mut self, concerns: impl Fn(PauseKey) -> bool, now: i64) {
        for (_, paused) in self.paused.iter_mut().filter(|(key, _)| concerns(**key)) {
            paused.probes = Probes::from(now);
        }
    }

    /// All of them, the widest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PauseView<'_>> {
        self.paused.iter().map(|(scope, paused)| PauseView {
            scope: *scope,
            code: paused.code,
            msg: &paused.msg,
            since_ms: paused.since_ms,
            next_probe_ms: paused.probes.next_ms,
        })
    }

    fn around(&mut self, spot: Spot, act: impl Fn(&mut Paused)) {
        for key in spot.keys() {
            if let Some(paused) = self.paused.get_mut(&key) {
                act(paused);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEND: Spot = Spot {
        tenant: 0,
        app: 1,
        api: Api::SendMessage,
    };
    const PIN: Spot = Spot {
        api: Api::Pin,
        ..SEND
    };
    const OTHER: Spot = Spot { app: 2, ..SEND };
    const WHY: (i64, &str) = (99_991_672, "scope");

    #[test]
    fn a_pause_stops_its_scope_and_nothing_else() {
        for (scope, stopped) in [
            (PauseScope::AppApi, [true, false, false]),
            (PauseScope::App, [true, true, false]),
            (PauseScope::Tenant, [true, true, true]),
        ] {
            let mut pauses = Pauses::default();
            assert!(pauses.begin(SEND, scope, WHY, false, 0));
            assert!(
                !pauses.begin(SEND, scope, WHY, false, 0),
                "it is there already"
            );
            let gates = [SEND, PIN, OTHER].map(|spot| pauses.allows(spot, 0) != Gate::Open);
            assert_eq!(gates, stopped, "{scope:?}");
        }
    }

    #[test]
    fn one_job_probes_after_a_minute_and_then_every_five() {
        let mut pauses = Pauses::default();
        pauses.begin(SEND, PauseScope::App, WHY, false, 0);
        assert_eq!(
            pauses.allows(PIN, 59_999),
            Gate::Closed { until_ms: 60_000 }
        );
        assert_eq!(pauses.allows(PIN, 60_000), Gate::Probe);
        pauses.probe_started(PIN, 60_000);
        assert_eq!(
            pauses.allows(SEND, 60_001),
            Gate::Closed {
                until_ms: 60_000 + PROBE_LOST_MS
            }
        );
        pauses.begin(SEND, PauseScope::App, (1, "late"), false, 60_002);
        assert_eq!(
            pauses.iter().next().map(|view| view.code),
            Some(1),
            "the newest reason shows"
        );
        assert_eq!(
            pauses.allows(SEND, 60_003),
            Gate::Closed {
                until_ms: 60_000 + PROBE_LOST_MS
            }
        );
        pauses.begin(PIN, PauseScope::App, WHY, true, 60_100);
        assert_eq!(
            pauses.allows(SEND, 60_100),
            Gate::Closed { until_ms: 360_100 }
        );
        let view: Vec<_> = pauses.iter().collect();
        let (code, msg) = WHY;
        let expected = PauseView {
            scope: PauseKey::App(1),
            code,
            msg,
            since_ms: 0,
            next_probe_ms: 360_100,
        };
        assert_eq!(view, [expected]);
    }

    #[test]
    fn an_answer_about_the_job_lifts_every_pause_around_it() {
        let mut pauses = Pauses::default();
        pauses.begin(SEND, PauseScope::Tenant, WHY, false, 0);
        pauses.begin(SEND, PauseScope::AppApi, WHY, false, 0);
        pauses.begin(PIN, PauseScope::AppApi, WHY, false, 0);
        assert_eq!(
            pauses.lift(SEND),
            [PauseKey::Tenant(0), PauseKey::AppApi(1, Api::SendMessage)]
        );
        assert_eq!(pauses.allows(SEND, 0), Gate::Open);
        assert_eq!(pauses.allows(PIN, 0), Gate::Closed { until_ms: 60_000 });
    }

    #[test]
    fn a_call_waits_for_the_latest_of_its_pauses_and_probes_them_all() {
        let mut pauses = Pauses::default();
        pauses.begin(SEND, PauseScope::Tenant, WHY, false, 0);
        pauses.begin(SEND, PauseScope::AppApi, WHY, false, 30_000);
        assert_eq!(
            pauses.allows(SEND, 60_000),
            Gate::Closed { until_ms: 90_000 }
        );
        pauses.probe_started(SEND, 90_000);
        pauses.begin(SEND, PauseScope::AppApi, WHY, true, 90_500);
        assert_eq!(
            pauses.allows(PIN, 90_500),
            Gate::Closed { until_ms: 390_500 }
        );
    }

    #[test]
    fn a_change_probes_at_once_and_a_lost_probe_wedges_nothing() {
        let mut pauses = Pauses::default();
        pauses.begin(SEND, PauseScope::App, WHY, false, 0);
        pauses.probe_now(|key| key == PauseKey::App(2), 10);
        assert_eq!(pauses.allows(SEND, 10), Gate::Closed { until_ms: 60_000 });
        pauses.probe_now(|key| key == PauseKey::App(1), 10);
        assert_eq!(pauses.allows(SEND, 10), Gate::Probe);
        pauses.probe_started(SEND, 10);
        assert_eq!(pauses.allows(SEND, 10 + PROBE_LOST_MS), Gate::Probe);
        pauses.probe_told_nothing(SEND, 20);
        assert_eq!(pauses.allows(SEND, 20), Gate::Closed { until_ms: 60_020 });
    }

    #[test]
    fn a_clock_put_back_does_not_lengthen_a_pause() {
        let mut pauses = Pauses::default();
        pauses.begin(SEND, PauseScope::App, WHY, false, 1_000_000_000);
        assert_eq!(pauses.allows(SEND, 0), Gate::Closed { until_ms: 300_000 });
        assert_eq!(pauses.allows(SEND, 300_000), Gate::Probe);
    }
}
