//! What people change while jobs run: pauses by hand, limits, and a word that something was mended.
//!
//! A lane whose first job is paused has no place among the lanes: it is neither looked at nor in the
//! way, and costs nothing however many there are. It comes back by the walk that follows a resume.
//! While only a kind is paused, or the rest of the month kept, a lane that is not here may have a job at
//! its head that waits for that: whoever comes into such a lane is not trusted to be the first, the lane
//! is read.

use feishu_im::Api;

use super::Core;
use crate::dispatch::breaker::PauseKey;
use crate::dispatch::lanes::{LaneName, Walk};
use crate::dispatch::pace::Limits;
use crate::job::{AppId, Head, Kind, Reach, Steer};
use crate::store::{LaneHead, Piece};

impl Core {
    /// People paused or resumed; it is on disk.
    pub(in crate::dispatch) fn steered(&mut self, steers: &[Steer], steady_ms: i64) {
        for steer in steers {
            match steer {
                Steer::Pause(reach) => self.pause(reach),
                Steer::Resume(reach) => {
                    if self.held.lift(reach) {
                        self.find_again(reach);
                    }
                    self.open_month(reach);
                    self.probe(reach, steady_ms);
                }
            }
        }
    }

    fn pause(&mut self, reach: &Reach) {
        self.held.add(reach);
        let names: Vec<LaneName> = match &reach.lane {
            Some(lane) => self.within(reach).map(|app| (app, lane.clone())).collect(),
            None => self.lanes.names(),
        };
        for name in names {
            self.lanes.park(&name, |head| self.held.covers(head));
        }
    }

    fn find_again(&mut self, reach: &Reach) {
        let apps: Vec<usize> = self.within(reach).collect();
        for app in apps {
            match &reach.lane {
                Some(lane) => self.lanes.ask((app, lane.clone())),
                None => self.lanes.walk_again(app),
            }
        }
    }

    fn within(&self, reach: &Reach) -> impl Iterator<Item = usize> + use<'_> {
        let only = reach.app;
        let apps = self.apps.iter().enumerate();
        apps.filter_map(move |(at, app)| only.is_none_or(|id| id == app.id).then_some(at))
    }

    /// Somebody changed something: what waits there for a fault to be mended, or for Feishu to come
    /// back, is tried at once.
    pub(in crate::dispatch) fn probe(&mut self, reach: &Reach, steady_ms: i64) {
        let apps: Vec<usize> = self.within(reach).collect();
        // A bot is of no app.
        let named = |bot: &str| reach.lane.as_ref().is_none_or(|lane| **lane == *bot);
        let bots = self.lanes.bots.all();
        let bots = bots.filter(|(bot, _)| reach.app.is_none() && named(bot));
        let bots: Vec<usize> = bots.map(|(_, place)| place).collect();
        self.probe_places(&[apps, bots].concat(), reach.kind.map(Kind::api), steady_ms);
    }

    /// The config has another URL or secret for this bot.
    pub(in crate::dispatch) fn probe_bot(&mut self, name: &str, steady_ms: i64) {
        let place = self.lanes.bots.named(name);
        self.probe_places(place.as_slice(), None, steady_ms);
    }

    fn probe_places(&mut self, places: &[usize], call: Option<Api>, steady_ms: i64) {
        let (apps, around) = (places, &self.places);
        self.pauses.probe_now(
            |key| match key {
                PauseKey::Tenant(tenant) => apps.iter().any(|app| around[*app].tenant == tenant),
                PauseKey::App(app) => apps.contains(&app),
                PauseKey::AppApi(app, api) => {
                    apps.contains(&app) && call.is_none_or(|call| call == api)
                }
            },
            steady_ms,
        );
        for ((app, api), breaker) in &mut self.api_breakers {
            if apps.contains(app) && call.is_none_or(|call| call == *api) {
                breaker.probe_now(steady_ms);
            }
        }
        for place in places {
            let base = self.places[*place].base;
            self.base_breakers[base].probe_now(steady_ms);
            self.looks[base].now(steady_ms);
        }
        self.closed.clear();
        self.pauses_changed = true;
    }

    /// The app's windows have these sizes from now on.
    pub(in crate::dispatch) fn set_limits(&mut self, app: usize, limits: Limits) {
        self.apps[app].limits = limits;
        self.pace.set_limits(app, limits);
        self.closed.clear();
    }

    /// A job went into its lane.
    pub(in crate::dispatch) fn stood(&mut self, head: Head, wall_ms: i64) {
        let Some(app) = self.app_of(head.app) else {
            return;
        };
        let name = (app, head.lane.clone());
        self.lanes.crowded(&name);
        if self.waits(app, &head) {
            // Where it comes to stand first, nobody behind it may go.
            self.lanes.park(&name, |first| head.order() < first.order());
            if self.lanes.holds(&name) {
                self.lanes.ask(name);
            }
        } else if self.splits(app, &head) && !self.lanes.holds(&name) {
            self.lanes.ask(name);
        } else {
            self.lanes.stood(app, head, wall_ms);
        }
    }

    /// Who stood first in these lanes ended without an attempt.
    pub(in crate::dispatch) fn left(&mut self, lanes: Vec<(AppId, Box<str>)>) {
        for (id, lane) in lanes {
            if let Some(app) = self.app_of(id)
                && (self.held.splits(id, &lane) || self.is_month_kept(app))
            {
                self.lanes.ask((app, lane));
            }
        }
    }

    /// The next piece of a walk over the table that is worth reading.
    pub(in crate::dispatch) fn next_walk(&mut self, limit: u32, steady_ms: i64) -> Option<Walk> {
        let (held, apps) = (&self.held, &self.apps);
        self.lanes
            .next_walk(limit, steady_ms, |app| held.covers_app(apps[app].id))
    }

    /// Of which apps nobody may go.
    pub(super) fn asleep(&self) -> impl Fn(usize) -> bool + '_ {
        |app| self.held.covers_app(self.apps[app].id)
    }

    /// What a piece of a walk found.
    pub(in crate::dispatch) fn walked(&mut self, walk: &Walk, mut found: Piece, wall_ms: i64) {
        for lane in &mut found.lanes {
            reached(lane, wall_ms);
            self.wait(lane);
        }
        self.lanes.walked(walk, found, wall_ms);
    }

    /// Who stands first in lanes that were asked for.
    pub(in crate::dispatch) fn read(&mut self, heads: Vec<LaneHead>, wall_ms: i64) {
        for mut lane in heads {
            reached(&mut lane, wall_ms);
            self.wait(&mut lane);
            if let Some(app) = self.app_of(lane.app) {
                self.lanes.read(app, lane, wall_ms);
            }
        }
    }

    /// A lane whose first job is paused is as good as empty.
    fn wait(&self, lane: &mut LaneHead) {
        let Some(app) = self.app_of(lane.app) else {
            return;
        };
        lane.other.take_if(|other| self.waits(app, other));
        if lane.head.as_ref().is_some_and(|head| self.waits(app, head)) {
            (lane.head, lane.other) = (None, None);
        }
    }
}

/// Who stands in a lane has reached his schedule, though the wall clock may have been set back since.
fn reached(lane: &mut LaneHead, wall_ms: i64) {
    let heads = lane.head.iter_mut().chain(&mut lane.other);
    for head in heads.filter(|head| !head.tried) {
        head.due_ms = head.due_ms.min(wall_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::breaker::{Breaker, BreakerEvent};
    use crate::dispatch::core::AppPlace;
    use crate::dispatch::lanes::{RANKS, WINDOW};
    use crate::job::Priority;
    use crate::store::Cursor;

    /// One app without windows, whose lanes are all known to be empty.
    fn core() -> Core {
        let limits = Limits {
            app_minute: 0,
            app_second: 0,
            chat_second: 0,
            user_second: 0,
        };
        let mut core = Core::new(vec![AppPlace {
            id: AppId(1),
            name: String::from("ops"),
            tenant: 0,
            base: 0,
            limits,
            timeout_ms: 10_000,
        }]);
        core.start(&[], &[], &[], 0, 0);
        walk(&mut core, &[]);
        core
    }

    /// Reads the whole table, whose lanes have these heads; how many pieces that took.
    fn walk(core: &mut Core, table: &[Head]) -> usize {
        let mut pieces = 0;
        while let Some(walk) = core.next_walk(1000, 0) {
            assert!(pieces < 100, "it never ends");
            pieces += 1;
            let ranked = table.iter().filter(|head| head.order().0 == walk.rank);
            // By age nobody is met who has no deadline.
            let Cursor::Name(after) = &walk.cursor else {
                core.walked(&walk, Piece::default(), 0);
                continue;
            };
            let lanes: Vec<LaneHead> = ranked
                .filter(|head| *head.lane > **after)
                .take(walk.limit as usize)
                .map(found)
                .collect();
            let last = lanes.last().filter(|_| lanes.len() == walk.limit as usize);
            let next = last.map(|last| Cursor::Name(last.lane.to_string()));
            core.walked(&walk, Piece { lanes, next }, 0);
        }
        pieces
    }

    fn found(head: &Head) -> LaneHead {
        LaneHead {
            app: AppId(1),
            lane: head.lane.clone(),
            head: Some(head.clone()),
            other: None,
        }
    }

    fn head(seq: i64, lane: &str, kind: Kind) -> Head {
        Head {
            seq,
            app: AppId(1),
            lane: lane.into(),
            kind,
            verify: false,
            priority: Priority::Normal,
            tried: false,
            due_ms: 0,
            since_ms: 0,
            receiver: None,
            message: None,
            size: 1,
            weight: 1,
            unknown: None,
        }
    }

    fn of_lane(lane: &str) -> Reach {
        Reach {
            lane: Some(lane.into()),
            ..Reach::default()
        }
    }

    fn of_kind(kind: Kind) -> Reach {
        Reach {
            kind: Some(kind),
            ..Reach::default()
        }
    }

    #[test]
    fn paused_lanes_have_no_place_and_cost_nothing_until_they_are_resumed() {
        let mut core = core();
        let table: Vec<Head> = (0..5000)
            .map(|n| head(n, &format!("oc_{n:04}"), Kind::Send))
            .collect();
        for lane in table.iter().map(|head| &head.lane) {
            core.steered(&[Steer::Pause(of_lane(lane))], 0);
        }
        for head in &table {
            core.stood(head.clone(), 0);
        }
        assert_eq!((core.lanes.len(), walk(&mut core, &table)), (0, 0));
        assert!(core.lanes.take_reads().is_empty());
        assert_eq!(core.next_ms(0, 0), 1000, "nothing to do but to sweep");
        core.stood(head(5001, "oc_free", Kind::Send), 0);
        assert_eq!(core.pick(0, 0), [5001]);

        // One of them alone is read; all of them are walked to.
        core.steered(&[Steer::Resume(of_lane("oc_0007"))], 0);
        assert_eq!(core.lanes.take_reads(), [(0, "oc_0007".into())]);
        core.read(vec![found(&table[7])], 0);
        assert_eq!(core.pick(0, 0), [7]);
        core.steered(&[Steer::Resume(Reach::default())], 0);
        assert!(core.next_walk(1000, 0).is_some());
    }

    #[test]
    fn a_pause_clears_lanes_that_stand_ready_and_a_resume_finds_them_again() {
        let mut core = core();
        let table: Vec<Head> = (0..100)
            .map(|n| head(n, &format!("oc_{n:04}"), Kind::Send))
            .collect();
        for head in &table {
            core.stood(head.clone(), 0);
        }
        assert_eq!(core.lanes.len(), 100);
        core.steered(&[Steer::Pause(of_kind(Kind::Send))], 0);
        assert_eq!(core.lanes.len(), 0);
        assert!(core.pick(0, 0).is_empty());
        assert!(!core.grant(&head(100, "oc_new", Kind::Send), 0));
        core.steered(&[Steer::Resume(of_kind(Kind::Pin))], 0);
        assert!(core.pick(0, 0).is_empty(), "another kind was resumed");
        core.steered(&[Steer::Resume(Reach::default())], 0);
        assert_eq!(walk(&mut core, &table), RANKS);
        assert_eq!(core.pick(0, 0).len(), 100);
    }

    /// A job that comes in while its lane is read may be newer than the answer, and is not forgotten for it.
    #[test]
    fn a_lane_that_is_being_read_is_asked_about_again_only_after_the_answer() {
        let mut core = core();
        core.stood(head(1, "oc_a", Kind::Send), 0);
        assert_eq!(core.pick(0, 0), [1]);
        core.recorded(AppId(1), "oc_a", 1, false);
        assert_eq!(core.lanes.take_reads(), [(0, "oc_a".into())]);
        let next = head(2, "oc_a", Kind::Send);
        core.stood(next.clone(), 0);
        assert!(core.lanes.take_reads().is_empty());
        let nobody = LaneHead {
            head: None,
            ..found(&next)
        };
        core.read(vec![nobody], 0);
        assert_eq!(core.lanes.take_reads(), [(0, "oc_a".into())]);
        core.read(vec![found(&next)], 0);
        assert_eq!(core.pick(0, 0), [2]);
    }

    /// A lane that had nobody before its job, and got nobody since, is empty when that is gone.
    #[test]
    fn a_lane_is_not_read_after_its_only_job() {
        let mut core = core();
        let ends = |core: &mut Core, seq: i64, lane: &str, gone: bool| {
            core.recorded(AppId(1), lane, seq, gone);
            core.lanes.take_reads().len()
        };
        assert!(core.grant(&head(1, "oc_born", Kind::Send), 0));
        core.stood(head(2, "oc_stood", Kind::Send), 0);
        assert_eq!(core.pick(0, 0), [2]);
        for (seq, lane) in [(1, "oc_born"), (2, "oc_stood")] {
            assert_eq!(ends(&mut core, seq, lane, true), 0, "{lane}");
        }
        assert_eq!(core.lanes.len(), 0);
        assert!(core.grant(&head(3, "oc_born", Kind::Send), 0));
        assert_eq!(ends(&mut core, 3, "oc_born", false), 1, "it may be there");
    }

    #[test]
    fn a_lane_is_read_after_its_job_when_somebody_came_meanwhile() {
        let mut core = core();
        let mut seq = 0;
        // While its job waits, while it is under way, and while whoever comes is paused.
        for (lane, while_ready, pause) in [
            ("oc_a", true, false),
            ("oc_b", false, false),
            ("oc_c", false, true),
        ] {
            seq += 2;
            core.stood(head(seq, lane, Kind::Send), 0);
            if while_ready {
                core.stood(head(seq + 1, lane, Kind::Send), 0);
            }
            assert_eq!(core.pick(0, 0), [seq]);
            if pause {
                core.steered(&[Steer::Pause(of_lane(lane))], 0);
            }
            if !while_ready {
                core.stood(head(seq + 1, lane, Kind::Send), 0);
            }
            core.steered(&[Steer::Resume(of_lane(lane))], 0);
            core.recorded(AppId(1), lane, seq, true);
            assert_eq!(core.lanes.take_reads(), [(0, lane.into())]);
        }
        // Of a lane that was read nobody knows how many are in it.
        let name = (0, "oc_a".into());
        core.read(vec![found(&head(3, "oc_a", Kind::Send))], 0);
        assert_eq!(core.pick(0, 0), [3]);
        core.recorded(AppId(1), "oc_a", 3, true);
        assert_eq!(core.lanes.take_reads(), [name]);
    }

    /// The month's reserve and bots that nobody knows keep jobs out of their lane unseen. When that ends, one of them may
    /// stand behind a job that came into an empty lane meanwhile; the walk passes over a lane that is here.
    #[test]
    fn a_lane_is_read_after_its_job_when_all_lanes_are_walked_meanwhile() {
        let again: [fn(&mut Core); 2] = [
            |core| core.lanes.walk_again(0),
            |core| core.lanes.ask((0, "oc_a".into())),
        ];
        for again in again {
            let mut core = core();
            assert!(core.grant(&head(2, "oc_a", Kind::Send), 0));
            again(&mut core);
            core.recorded(AppId(1), "oc_a", 2, true);
            assert_eq!(core.lanes.take_reads(), [(0, "oc_a".into())]);
        }
    }

    /// Whoever comes into a lane whose head is paused stands behind it, though the lane is not here.
    #[test]
    fn nobody_overtakes_a_paused_kind_in_its_lane() {
        let mut core = core();
        let pin = head(1, "om_a", Kind::Pin);
        core.steered(&[Steer::Pause(of_kind(Kind::Pin))], 0);
        core.stood(pin.clone(), 0);
        let behind = head(2, "om_a", Kind::Unpin);
        assert!(!core.grant(&behind, 0));
        core.stood(behind.clone(), 0);
        assert!(core.pick(0, 0).is_empty());
        assert_eq!(core.lanes.take_reads(), [(0, "om_a".into())]);
        core.read(vec![found(&pin)], 0);
        assert!(core.pick(0, 0).is_empty() && core.lanes.len() == 0);

        // The paused one ends by time: the store says so, and the lane is read.
        core.left(vec![(AppId(1), "om_a".into())]);
        assert_eq!(core.lanes.take_reads(), [(0, "om_a".into())]);
        core.read(vec![found(&behind)], 0);
        let high = Head {
            priority: Priority::High,
            ..head(3, "om_a", Kind::Pin)
        };
        core.stood(high, 0);
        assert!(core.pick(0, 0).is_empty(), "it stands in front, and waits");
    }

    #[test]
    fn lanes_that_did_not_fit_are_found_when_paused_ones_make_room() {
        let mut core = core();
        let lanes = WINDOW as i64 + 10;
        let table: Vec<Head> = (0..lanes)
            .map(|n| head(n, &format!("oc_{n:05}"), Kind::Send))
            .collect();
        for head in &table {
            core.stood(head.clone(), 0);
        }
        assert_eq!(core.lanes.len(), WINDOW, "the last ones have no place");
        core.stood(head(lanes, "om_x", Kind::Unpin), 0);
        let asked = core.lanes.take_reads();
        assert_eq!(
            asked,
            [(0, "om_x".into())],
            "its call has places of its own"
        );
        for head in &table[..WINDOW] {
            core.steered(&[Steer::Pause(of_lane(&head.lane))], 0);
        }
        walk(&mut core, &table);
        assert_eq!(core.pick(0, 0), Vec::from_iter(WINDOW as i64..lanes));
    }

    #[test]
    fn a_resume_cuts_the_wait_for_feishu_short() {
        let mut core = core();
        let mut breaker = Breaker::of_api();
        for _ in 0..3 {
            breaker.ended(BreakerEvent::Unknown, false, 0);
        }
        core.api_breakers.insert((0, Api::SendMessage), breaker);
        for n in 0..3 {
            core.base_breakers[0].ended(BreakerEvent::NotSent, false, n);
        }
        core.stood(head(1, "oc_a", Kind::Send), 0);
        assert!(core.pick(0, 10).is_empty());
        core.steered(&[Steer::Resume(of_kind(Kind::Pin))], 10);
        assert!(core.pick(0, 10).is_empty(), "that is no word on this call");
        core.steered(&[Steer::Resume(of_kind(Kind::Send))], 10);
        assert_eq!(core.pick(0, 10), [1]);
    }
}
