//! Whom the month's quota still lets go: the count of each tenant, and what is kept of the rest.
//!
//! A tenant's level rises with each call that goes, counted as if it were counted, so that of the
//! reserve nothing is spent by accident. It falls when calls turn out not to count, at most once a
//! second: each fall walks the lanes that were held back. Whoever is held back has no place among the
//! lanes, as under a pause by hand.
//! Not here: what a level is (`job::month`), the rows (`store::month`).

use std::collections::BTreeMap;

use super::{Core, is_high};
use crate::dispatch::breaker::PauseKey;
use crate::job::month::{self, Level, Month};
use crate::job::{Head, Kind, Reach};
use crate::store::{MonthStart, Pause, Spares};

/// How often a level may fall, milliseconds.
const FALLS_MS: i64 = 1000;

/// Every tenant's month.
#[derive(Debug)]
pub(super) struct Months {
    /// Which it is; unknown until the first look at the clock.
    now: Option<Month>,
    tenants: Vec<Tenant>,
    /// By app.
    quotas: Vec<u64>,
}

#[derive(Debug, Default)]
struct Tenant {
    quota: u64,
    /// Of this month and the one before: a clock may be set back over its turn.
    used: BTreeMap<Month, u64>,
    /// Calls under way.
    open: u64,
    /// A person opened the reserve of that month.
    opened: Option<Month>,
    level: Level,
    /// Since when it is not free, Unix milliseconds.
    since_ms: i64,
    /// When its level was allowed to fall last, steady milliseconds.
    looked_ms: i64,
    /// What was said of this month: percent, and of which quota.
    said: Option<(Month, u64, u64)>,
}

/// So much of a tenant's quota is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispatch) struct Spent {
    /// Any app of the tenant.
    pub(in crate::dispatch) app: usize,
    pub(in crate::dispatch) month: Month,
    pub(in crate::dispatch) quota: u64,
    pub(in crate::dispatch) used: u64,
    pub(in crate::dispatch) percent: u64,
}

impl Months {
    pub(super) fn new(tenants: usize, apps: usize) -> Months {
        Months {
            now: None,
            tenants: (0..tenants).map(|_| Tenant::default()).collect(),
            quotas: vec![0; apps],
        }
    }

    /// Must this job of that tenant wait for the next month?
    pub(super) fn holds(&self, tenant: usize, head: &Head) -> bool {
        !head.is_spared(self.tenants[tenant].level)
    }

    /// This job may go: may one that must wait stand before it in its lane?
    fn splits(&self, tenant: usize, head: &Head) -> bool {
        let first = head.tried || is_high(head);
        self.tenants[tenant].level == Level::Reserve && !first
    }
}

impl Tenant {
    fn used(&self, month: Option<Month>) -> u64 {
        let used = month.and_then(|month| self.used.get(&month));
        used.copied().unwrap_or(0)
    }

    fn level_now(&self, month: Option<Month>) -> Level {
        match month.is_some() && self.opened == month {
            true => Level::Free,
            false => Level::of(self.used(month).saturating_add(self.open), self.quota),
        }
    }
}

impl Core {
    /// What earlier processes counted; `opened`: apps of tenants whose reserve a person opened.
    pub(in crate::dispatch) fn start_month(&mut self, start: &MonthStart, opened: &[usize]) {
        self.months.now = Some(start.month);
        for (app, calls) in &start.calls {
            if let Some(app) = self.app_of(*app) {
                self.month_counted(app, *calls);
            }
        }
        for app in opened {
            self.months.tenants[self.apps[*app].tenant].opened = Some(start.month);
        }
    }

    pub(super) fn month_counted(&mut self, app: usize, calls: u64) {
        if let Some(month) = self.months.now {
            let tenant = &mut self.months.tenants[self.apps[app].tenant];
            *tenant.used.entry(month).or_default() += calls;
        }
    }

    /// The config says so of this app; the quota is its tenant's.
    pub(in crate::dispatch) fn set_quota(&mut self, app: usize, quota: u64) {
        self.months.quotas[app] = quota;
        let tenant = self.apps[app].tenant;
        let apps = (0..self.apps.len()).filter(|app| self.apps[*app].tenant == tenant);
        let quota = apps.map(|app| self.months.quotas[app]).max();
        let tenant = &mut self.months.tenants[tenant];
        tenant.quota = quota.unwrap_or(0);
        tenant.looked_ms = i64::MIN;
    }

    /// A person resumed all of these apps: the rest of their month is for everybody.
    pub(super) fn open_month(&mut self, reach: &Reach) {
        if reach.lane.is_some() || reach.kind.is_some() {
            return;
        }
        let tenants: Vec<usize> = self
            .apps
            .iter()
            .filter_map(|app| {
                let named = reach.app.is_none_or(|id| id == app.id);
                named.then_some(app.tenant)
            })
            .collect();
        for tenant in tenants {
            let now = self.months.now;
            let tenant = &mut self.months.tenants[tenant];
            if tenant.level > Level::Free {
                tenant.opened = now;
                tenant.looked_ms = i64::MIN;
            }
        }
    }

    /// Must this job wait, for a person's word, for the next month, or for a bot that the config does not name?
    pub(super) fn waits(&self, app: usize, head: &Head) -> bool {
        self.held.covers(head)
            || self.months.holds(self.apps[app].tenant, head)
            || self.lanes.bots.place(app, head).is_none()
    }

    /// This job need not wait: may somebody who must stand before it in its lane?
    pub(super) fn splits(&self, app: usize, head: &Head) -> bool {
        self.held.splits(head.app, &head.lane) || self.months.splits(self.apps[app].tenant, head)
    }

    /// Is the rest of the month's calls of this app's tenant kept for `high`?
    pub(super) fn is_month_kept(&self, app: usize) -> bool {
        self.months.tenants[self.apps[app].tenant].level == Level::Reserve
    }

    /// A call goes: it may be the last one before the rest is kept.
    pub(super) fn month_takes(&mut self, app: usize, may_count: bool) {
        if !may_count {
            return;
        }
        let at = self.apps[app].tenant;
        let tenant = &mut self.months.tenants[at];
        tenant.open += 1;
        let level = tenant.level_now(self.months.now);
        if level > tenant.level {
            self.set_level(at, level);
        }
    }

    /// A call ended, and counts or does not.
    pub(super) fn month_ended(&mut self, app: usize, may_count: bool, counted: bool) {
        if !may_count {
            return;
        }
        let tenant = &mut self.months.tenants[self.apps[app].tenant];
        tenant.open = tenant.open.saturating_sub(1);
        self.month_counted(app, u64::from(counted));
    }

    /// Looks at the calendar, and whether anything that was held back may go.
    pub(super) fn month_turns(&mut self, wall_ms: i64, steady_ms: i64) {
        let month = Month::of(wall_ms);
        let turned = self.months.now != Some(month);
        if turned {
            let first = self.months.now.is_none();
            self.months.now = Some(month);
            for tenant in &mut self.months.tenants {
                tenant.used.entry(month).or_default();
                while tenant.used.len() > 2 {
                    tenant.used.pop_first();
                }
            }
            if !first {
                // Whatever Feishu refused for the old month is asked for in the new one.
                let is_tenant = |key| matches!(key, PauseKey::Tenant(_));
                self.pauses.probe_now(is_tenant, steady_ms);
                self.pauses_changed = true;
                self.closed.clear();
            }
        }
        for at in 0..self.months.tenants.len() {
            let now = self.months.now;
            let tenant = &mut self.months.tenants[at];
            let level = tenant.level_now(now);
            // A clock that was put back must not hold anybody longer.
            let may_fall = turned
                || !(tenant.looked_ms..tenant.looked_ms.saturating_add(FALLS_MS))
                    .contains(&steady_ms);
            if level > tenant.level || (level < tenant.level && may_fall) {
                tenant.looked_ms = steady_ms;
                self.months.tenants[at].since_ms = wall_ms;
                self.set_level(at, level);
            }
        }
    }

    fn set_level(&mut self, at: usize, level: Level) {
        let old = std::mem::replace(&mut self.months.tenants[at].level, level);
        self.pauses_changed = true;
        let (held, months, places) = (&self.held, &self.months, &self.apps);
        if level > old {
            for name in self.lanes.names() {
                let tenant = places[name.0].tenant;
                self.lanes.park(&name, |head| {
                    held.covers(head) || (tenant == at && months.holds(at, head))
                });
            }
            return;
        }
        for (app, place) in places.iter().enumerate() {
            if place.tenant == at {
                self.lanes.walk_again(app);
            }
        }
        self.closed.clear();
    }

    /// Shares of quotas that were reached, each of them once for as long as this process runs.
    pub(in crate::dispatch) fn months_spent(&mut self) -> Vec<Spent> {
        let Some(month) = self.months.now else {
            return Vec::new();
        };
        let mut list = Vec::new();
        for (at, tenant) in self.months.tenants.iter_mut().enumerate() {
            let used = tenant.used(Some(month));
            let Some(percent) = month::warned_percent(used, tenant.quota) else {
                continue;
            };
            let said = Some((month, tenant.quota, percent));
            let app = self.apps.iter().position(|app| app.tenant == at);
            if let Some(app) = app
                && tenant.said != said
            {
                tenant.said = said;
                let quota = tenant.quota;
                list.push(Spent {
                    app,
                    month,
                    quota,
                    used,
                    percent,
                });
            }
        }
        list
    }

    /// What is held back of the month, in the words of status.
    pub(super) fn month_stops(&self) -> Vec<Pause> {
        let mut list = Vec::new();
        for place in &self.apps {
            let tenant = &self.months.tenants[place.tenant];
            let stop = |api: &str, spares: Spares, reason: String| Pause {
                app: place.name.clone(),
                lane: String::new(),
                api: api.to_owned(),
                by_hand: false,
                code: None,
                reason,
                since_ms: tenant.since_ms,
                probe_ms: self.months.now.map(Month::end_ms),
                spares,
            };
            match tenant.level {
                Level::Free => {}
                Level::Saving => {
                    let own = Kind::all().filter(|kind| !kind.is_public());
                    list.extend(own.map(|kind| {
                        let reason = "month's quota: the rest is kept for producers' jobs";
                        stop(kind.api().name(), Spares::Jobs, reason.to_owned())
                    }));
                }
                Level::Reserve => {
                    let reason = format!(
                        "month's quota: the rest is kept for high ({} of {} calls are counted)",
                        tenant.used(self.months.now),
                        tenant.quota
                    );
                    list.push(stop("", Spares::High, reason));
                }
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use feishu_im::PauseScope;

    use super::*;
    use crate::dispatch::bots::BotPlace;
    use crate::dispatch::core::AppPlace;
    use crate::dispatch::pace::Limits;
    use crate::job::{AppId, Moment, Priority};
    use crate::store::{LaneHead, Piece};

    /// 2026-12-01T00:00:00+08:00.
    const DECEMBER: i64 = 1_796_054_400_000;
    const NOVEMBER: i64 = DECEMBER - 86_400_000;

    /// Two apps of one tenant without windows, of which `used` of 20 calls are spent.
    fn core(used: u64) -> Core {
        let place = |id: i64| AppPlace {
            id: AppId(id),
            name: id.to_string(),
            tenant: 0,
            base: 0,
            timeout_ms: 10_000,
            limits: Limits {
                app_minute: 0,
                app_second: 0,
                chat_second: 0,
                user_second: 0,
            },
        };
        let mut core = Core::new(vec![place(1), place(2)]);
        core.set_quota(1, 20);
        let start = MonthStart {
            month: Month::of(NOVEMBER),
            calls: vec![(AppId(2), used)],
            open: Vec::new(),
        };
        core.start_month(&start, &[]);
        core.start(&[], &[], &[], NOVEMBER, 0);
        while let Some(walk) = core.next_walk(10, 0) {
            core.walked(&walk, Piece::default(), NOVEMBER);
        }
        core
    }

    fn head(seq: i64, lane: &str, priority: Priority) -> Head {
        Head {
            seq,
            app: AppId(1),
            lane: lane.into(),
            kind: Kind::Send,
            verify: false,
            priority,
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

    fn normal(seq: i64, lane: &str) -> Head {
        head(seq, lane, Priority::Normal)
    }

    fn tried(head: Head) -> Head {
        Head {
            tried: true,
            ..head
        }
    }

    fn unknown(head: Head) -> Head {
        let since = Moment {
            wall_ms: 0,
            boot_ms: 0,
            boot_id: "b".into(),
        };
        Head {
            unknown: Some(since),
            ..tried(head)
        }
    }

    #[test]
    fn the_last_call_of_many_that_go_at_once_is_not_overdrawn() {
        let mut core = core(15);
        for seq in 0..9 {
            core.stood(normal(seq, &format!("oc_{seq}")), NOVEMBER);
        }
        core.stood(head(9, "oc_9", Priority::High), NOVEMBER);
        let picked = core.pick(NOVEMBER, 0);
        // Nineteen for everybody, whoever is under way counts; the twentieth for high.
        assert_eq!(picked.len(), 4, "{picked:?}");
        assert!(picked.contains(&9));
        assert!(!core.grant(&normal(10, "oc_x"), 0));
        assert!(core.grant(&head(11, "oc_y", Priority::High), 0));
        assert_eq!(core.lanes.len(), 5, "those who wait have no place");
    }

    #[test]
    fn calls_that_do_not_count_let_others_go_after_a_second() {
        let mut core = core(18);
        core.stood(normal(1, "oc_a"), NOVEMBER);
        assert_eq!(core.pick(NOVEMBER, 5000), [1]);
        core.stood(normal(2, "oc_b"), NOVEMBER);
        assert!(core.pick(NOVEMBER, 5001).is_empty());
        core.give_back(&[1], 5002);
        core.months.tenants[0].looked_ms = 5002;
        assert!(core.pick(NOVEMBER, 5003).is_empty() && core.next_walk(10, 5003).is_none());
        core.pick(NOVEMBER, 6002);
        assert!(core.next_walk(10, 6002).is_some(), "they are found again");
    }

    #[test]
    fn what_was_begun_is_ended_and_a_batch_is_no_one_thing() {
        let mut core = core(19);
        core.month_turns(NOVEMBER, 0);
        let check = |head: Head, waits: bool| assert_eq!(core.waits(0, &head), waits, "{head:?}");
        check(normal(1, "oc_a"), true);
        check(head(1, "oc_a", Priority::Low), true);
        check(head(1, "oc_a", Priority::High), false);
        check(tried(normal(1, "oc_a")), false);
        check(tried(normal(1, "\u{1}1")), true);
        check(unknown(normal(1, "\u{1}1")), false);
        let question = Head {
            kind: Kind::ReadUsers,
            ..head(1, "\u{1}1", Priority::High)
        };
        check(question.clone(), true);
        check(unknown(question), true);
    }

    /// What does not count goes on, but past nobody of its lane and priority.
    #[test]
    fn whoever_is_held_back_is_overtaken_by_nobody_of_his_lane() {
        let mut core = core(19);
        core.set_bots(&[BotPlace {
            name: String::from("room"),
            timeout_ms: 10_000,
        }]);
        while let Some(walk) = core.next_walk(10, 0) {
            core.walked(&walk, Piece::default(), NOVEMBER);
        }
        core.month_turns(NOVEMBER, 0);
        let hook = |head: Head| Head {
            kind: Kind::Webhook,
            receiver: Some("room".into()),
            ..head
        };
        let (first, second) = (normal(1, "both"), hook(normal(2, "both")));
        let read = |core: &mut Core, head: &Head| {
            assert_eq!(core.lanes.take_reads(), [(0, "both".into())]);
            let lane = LaneHead {
                app: AppId(1),
                lane: "both".into(),
                head: Some(head.clone()),
                other: None,
            };
            core.read(vec![lane], NOVEMBER);
            core.pick(NOVEMBER, 0)
        };
        core.stood(first.clone(), NOVEMBER);
        assert!(!core.grant(&second, 0));
        core.stood(second.clone(), NOVEMBER);
        assert!(core.pick(NOVEMBER, 0).is_empty());
        assert!(read(&mut core, &first).is_empty());
        assert!(core.grant(&hook(head(3, "oc_x", Priority::High)), 0));
        // Whoever was first is canceled.
        core.left(vec![(AppId(1), "both".into())]);
        assert_eq!(read(&mut core, &second), [2]);
    }

    /// The eighth slot of a lane is a lower priority's; not of what is kept for high.
    #[test]
    fn no_lower_one_has_its_turn_in_a_lane_of_high() {
        let mut core = core(19);
        let high = |seq| head(seq, "oc_a", Priority::High);
        core.stood(high(1), NOVEMBER);
        core.stood(normal(2, "oc_a"), NOVEMBER);
        for seq in 1..30 {
            // 2 is the lower one's number.
            let number = |seq: i64| if seq == 1 { 1 } else { seq + 1 };
            assert_eq!(core.pick(NOVEMBER, 0), [number(seq)]);
            core.give_back(&[number(seq)], 0);
            core.lanes.take_reads();
            let lane = LaneHead {
                app: AppId(1),
                lane: "oc_a".into(),
                head: Some(high(number(seq + 1))),
                other: Some(normal(2, "oc_a")),
            };
            core.read(vec![lane], NOVEMBER);
        }
    }

    /// Feishu refused everything of the old month; nobody waits for the next probe of that.
    #[test]
    fn what_was_refused_for_the_old_month_is_asked_for_as_soon_as_it_turns() {
        let mut core = core(0);
        let spot = core.spot((0, Kind::Send.api()));
        let why = (99_991_403, "used up");
        core.pick(NOVEMBER, 0);
        core.pauses.begin(spot, PauseScope::Tenant, why, false, 0);
        core.stood(normal(1, "oc_a"), NOVEMBER);
        assert!(core.pick(DECEMBER - 1, 500).is_empty());
        assert_eq!(core.pick(DECEMBER, 501), [1]);
    }

    #[test]
    fn a_month_that_turns_frees_everybody_and_one_that_turns_back_does_not() {
        let mut core = core(25);
        core.pick(NOVEMBER, 0);
        assert!(core.waits(0, &normal(1, "oc_a")) && core.waits(1, &normal(1, "oc_a")));
        core.pick(DECEMBER, 1);
        assert!(!core.waits(0, &normal(1, "oc_a")));
        core.pick(NOVEMBER, 2);
        assert!(core.waits(0, &normal(1, "oc_a")));
        core.open_month(&Reach {
            app: Some(AppId(2)),
            ..Reach::default()
        });
        core.pick(NOVEMBER, 3);
        assert!(
            !core.waits(0, &normal(1, "oc_a")),
            "the reserve is the tenant's"
        );
        core.month_counted(0, 20);
        core.pick(DECEMBER - 1, 4);
        core.pick(DECEMBER, 5);
        core.month_counted(0, 20);
        core.pick(DECEMBER, 2000);
        assert!(core.waits(0, &normal(1, "oc_a")), "a word is for one month");
    }
}
