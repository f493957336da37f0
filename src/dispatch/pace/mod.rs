//! When a call may leave, so that no window of Feishu is ever overfull.
//!
//! Promises: all windows of a call are asked and taken together, all or none. A slot is held from
//! `take` until one length after the answer, so the windows hold by Feishu's clock, whatever the
//! jitter (`window`). The last 4 % of each window of an API are for `high`. Nothing here sleeps or
//! reads a clock: times are milliseconds, and a clock that is put back costs one length of a window.
//! One that leaps forward frees slots early, so a clock that only ever slews is best; how far the wall
//! clock is ahead of it (`set_wall`) counts for days alone.
//! Not here: which job asks (lanes), what a refusal means (`judge`), the numbers (`feishu-im`).

mod day;
mod learned;
mod pause;
mod shelf;
mod window;

#[cfg(test)]
mod closed;
#[cfg(test)]
mod neighbour;
#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use feishu_im::limits::{self, API_MINUTE, API_SECOND, MESSAGE_SECOND, RESET_MAX_MS};
use feishu_im::{Api, BucketKind, Paced, Tier};

use day::Day;
use learned::Learned;
use pause::Pause;
use shelf::{Place, Shelf};
use window::{Room, Window};

/// Of each window of an API, so many of a hundred slots are for `high`.
const RESERVE_PERCENT: u32 = 4;
/// Addresses whose chat is remembered, over all apps.
const LEARNED_MAX: usize = 20_000;

/// Which tenant an app belongs to: apps of one tenant share the windows of its chats and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TenantIx(pub(crate) usize);

/// What one app may do, from its config; 0 = that window is off. A custom bot stands here as an
/// app of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) app_minute: u32,
    pub(crate) app_second: u32,
    pub(crate) chat_second: u32,
    pub(crate) user_second: u32,
}

/// One call that wants to leave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Place of the app in the list given to `Pace::new`.
    pub(crate) app: usize,
    pub(crate) api: Api,
    /// Whom it reaches: a chat id, or any address as written; an `om_` stands for its chat.
    /// Counts only where the API has a window for receivers.
    pub(crate) receiver: Option<&'a str>,
    /// Which message it changes, or of a card for one member the group. Counts only where the API has such a window.
    pub(crate) message: Option<&'a str>,
    /// May use the reserve.
    pub(crate) high: bool,
    /// Recipients of a batch; they count in the day. Else 1.
    pub(crate) weight: u32,
}

/// When a call may leave, as things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earliest {
    Now,
    /// Not before `ms`, and whose fault that is.
    At {
        ms: i64,
        by: Blocker,
    },
    /// Every slot is held by calls under way: ask again after an answer or a refund.
    OnAnswer {
        by: Blocker,
    },
}

/// What holds a call up: one lane (`Receiver`, `Message`) or everything of an app×API (the rest;
/// `Month`: of the tenant).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocker {
    Api,
    Receiver,
    Message,
    BatchDay,
    Month,
}

/// The slots of one call under way. Give it back with `answered` or `refund`; it cannot be copied,
/// so it cannot be given back twice, and one that is lost keeps its slots for good.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a hold that is dropped keeps its slots for good"]
pub(crate) struct Hold {
    app: usize,
    api: Api,
    /// Those that counted it: limits may change while it is under way.
    on: On,
    receiver: Option<Place>,
    message: Option<Place>,
    day: u32,
}

/// Which windows of an API count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct On {
    minute: bool,
    second: bool,
}

impl Limits {
    /// The caps of a tier's windows; one that is off here is off for every tier.
    fn of(&self, tier: Tier) -> Limits {
        let (app_minute, app_second) = match tier {
            Tier::Four => (self.app_minute, self.app_second),
            Tier::Six => (0, self.app_second.min(limits::PREVIEW_SECOND.count)),
            Tier::Bot => (
                self.app_minute.min(limits::BOT_MINUTE.count),
                self.app_second.min(limits::BOT_SECOND.count),
            ),
            Tier::Unpublished => (0, 0),
        };
        Limits {
            app_minute,
            app_second,
            ..*self
        }
    }

    fn on(&self) -> On {
        On {
            minute: self.app_minute > 0,
            second: self.app_second > 0,
        }
    }
}

/// Every window of every app.
#[derive(Debug)]
pub(crate) struct Pace {
    apps: Vec<App>,
    months: Vec<Pause>,
    /// Rows: chats by tenant, then other addresses by app.
    receivers: Shelf,
    /// Rows: tenants.
    messages: Shelf,
    /// Receiver and message windows count as full until then.
    floor_ms: i64,
    /// Calls that were under way at a crash, and until when Feishu may still count them; latest first.
    left: Vec<(i64, Hold)>,
    /// Unix time less the time of everything else here.
    ahead_ms: i64,
}

#[derive(Debug)]
struct App {
    facts: Facts,
    apis: HashMap<Api, ApiWindows>,
    day: Day,
    day_pause: Pause,
}

/// What decides where an app's calls count.
#[derive(Debug)]
struct Facts {
    tenant: usize,
    limits: Limits,
    /// Its row of `receivers`, for addresses whose chat is not known.
    row: usize,
    learned: Learned,
    /// Of messages, which are many and soon past.
    made: Learned,
}

#[derive(Debug)]
struct ApiWindows {
    minute: Window,
    second: Window,
    pause: Pause,
}

/// Where a call counts beside its API's windows, and how much fits there.
#[derive(Debug, Clone, Copy, Default)]
struct Scopes<'a> {
    receiver: Option<Named<'a>>,
    message: Option<Named<'a>>,
    /// Weight and cap.
    day: Option<(u32, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Named<'a> {
    row: usize,
    name: &'a str,
    cap: u32,
}

impl Pace {
    /// Nothing is under way yet; see `restore` and `floor` for what a start knows of the time before.
    pub(crate) fn new(apps: Vec<(TenantIx, Limits)>) -> Self {
        let tenants = apps
            .iter()
            .map(|(tenant, _)| tenant.0 + 1)
            .max()
            .unwrap_or(0);
        let learned_max = LEARNED_MAX / apps.len().max(1);
        Self {
            months: (0..tenants).map(|_| Pause::default()).collect(),
            receivers: Shelf::new(tenants + apps.len(), limits::USER_SECOND.ms),
            messages: Shelf::new(tenants, MESSAGE_SECOND.ms),
            floor_ms: i64::MIN,
            left: Vec::new(),
            ahead_ms: 0,
            apps: (tenants..)
                .zip(apps)
                .map(|(row, (TenantIx(tenant), limits))| {
                    App::new(Facts {
                        tenant,
                        limits,
                        row,
                        learned: Learned::new(learned_max),
                        made: Learned::new(learned_max),
                    })
                })
                .collect(),
        }
    }

    /// One more place behind the others, for a custom bot: no tenant, no chats, no people.
    pub(crate) fn add_bot(&mut self, limits: Limits) {
        self.months.push(Pause::default());
        self.apps.push(App::new(Facts {
            tenant: self.months.len() - 1,
            limits,
            row: 0,
            learned: Learned::new(0),
            made: Learned::new(0),
        }));
    }

    /// From now on the windows of this app have these sizes; what they hold stays held.
    pub(crate) fn set_limits(&mut self, app: usize, limits: Limits) {
        self.apps[app].facts.limits = limits;
    }

    /// Unix time is so far ahead of the times that are given here.
    pub(crate) fn set_wall(&mut self, ahead_ms: i64) {
        self.ahead_ms = ahead_ms;
    }

    /// When this call may leave. Takes nothing: only `take` does.
    pub(crate) fn earliest(&mut self, ask: &Ask<'_>, now: i64) -> Earliest {
        self.let_go(now);
        let Self {
            apps,
            months,
            receivers,
            messages,
            floor_ms,
            ahead_ms,
            ..
        } = self;
        let App {
            facts,
            apis,
            day,
            day_pause,
        } = &mut apps[ask.app];
        let scopes = facts.scopes(ask);
        let mut latest = Latest(Earliest::Now);
        latest.until(Blocker::Month, months[facts.tenant].until(now));
        if let Some((weight, cap)) = scopes.day {
            let full = day.full_until(weight, cap, now.saturating_add(*ahead_ms));
            let full = full.map(|ms| ms.saturating_sub(*ahead_ms));
            latest.until(Blocker::BatchDay, full);
            latest.until(Blocker::BatchDay, day_pause.until(now));
        }
        let floor = floor_at(floor_ms, now);
        for (by, named, shelf) in [
            (Blocker::Message, scopes.message, messages),
            (Blocker::Receiver, scopes.receiver, receivers),
        ] {
            if let Some(Named { row, name, cap }) = named {
                latest.until(by, floor.filter(|_| cap > 0));
                latest.room(by, shelf.room(row, name, cap, now));
            }
        }
        if let Some(windows) = apis.get_mut(&ask.api) {
            let limits = facts.limits.of(ask.api.endpoint().tier);
            windows.ask(&limits, ask.high, now, &mut latest);
        }
        latest.0
    }

    /// Takes a slot in every window of this call, or in none.
    pub(crate) fn take(&mut self, ask: &Ask<'_>, now: i64) -> Option<Hold> {
        let free = self.earliest(ask, now) == Earliest::Now;
        free.then(|| self.hold(ask, now))
    }

    fn hold(&mut self, ask: &Ask<'_>, now: i64) -> Hold {
        let app = &mut self.apps[ask.app];
        let on = app.facts.on(ask.api);
        app.each(ask.api, on, |window| window.take(1));
        let scopes = app.facts.scopes(ask);
        let day = scopes.day.map_or(0, |(weight, _)| weight);
        let place = |shelf: &mut Shelf, named: Option<Named<'_>>| {
            let counted = named.filter(|named| named.cap > 0)?;
            Some(shelf.take(counted.row, counted.name, now))
        };
        let receiver = place(&mut self.receivers, scopes.receiver);
        let message = place(&mut self.messages, scopes.message);
        app.day.take(day);
        Hold {
            app: ask.app,
            api: ask.api,
            on,
            receiver,
            message,
            day,
        }
    }

    /// The call was answered, or given up after its time-out: its slots run out one length from now.
    pub(crate) fn answered(&mut self, hold: Hold, now: i64) {
        let app = &mut self.apps[hold.app];
        app.each(hold.api, hold.on, |window| window.answered(1, now));
        app.day
            .answered(hold.day, now.saturating_add(self.ahead_ms));
        if let Some(place) = hold.receiver {
            self.receivers.answered(place, now);
        }
        if let Some(place) = hold.message {
            self.messages.answered(place, now);
        }
    }

    /// The call provably never reached Feishu: its slots are free at once.
    pub(crate) fn refund(&mut self, hold: Hold) {
        let app = &mut self.apps[hold.app];
        app.each(hold.api, hold.on, |window| window.refund(1));
        app.day.refund(hold.day);
        if let Some(place) = hold.receiver {
            self.receivers.refund(place);
        }
        if let Some(place) = hold.message {
            self.messages.refund(place);
        }
    }

    /// Feishu refused a call like `ask` for its rate: closes that bucket until `until_ms`. The call
    /// itself is given back with `answered`.
    pub(crate) fn limited(&mut self, ask: &Ask<'_>, bucket: BucketKind, until_ms: i64, now: i64) {
        let app = &mut self.apps[ask.app];
        let scopes = app.facts.scopes(ask);
        match bucket {
            BucketKind::Receiver | BucketKind::Message => {
                let receiver = scopes.receiver.map(|named| (named, &mut self.receivers));
                let message = scopes.message.map(|named| (named, &mut self.messages));
                match receiver.or(message) {
                    Some((Named { row, name, cap }, shelf)) => {
                        shelf.limited(row, name, cap, until_ms, now)
                    }
                    None => app.pause(ask.api, until_ms, now),
                }
            }
            BucketKind::Api => app.pause(ask.api, until_ms, now),
            BucketKind::BatchDay => app.day_pause.extend(until_ms, RESET_MAX_MS, now),
            BucketKind::Month => self.months[app.facts.tenant].extend(until_ms, RESET_MAX_MS, now),
        }
    }

    /// An answer showed that `receiver` (an `ou_`, a mail address, an `om_` …) leads to `chat_id`:
    /// from now on both count as one.
    pub(crate) fn learn_chat(&mut self, app: usize, receiver: &str, chat_id: &str, now: i64) {
        if is_chat(receiver) || !is_chat(chat_id) {
            return;
        }
        let facts = &mut self.apps[app].facts;
        match is_message(receiver) {
            true => facts.made.learn(receiver, chat_id),
            false => facts.learned.learn(receiver, chat_id),
        }
        self.receivers
            .merge((facts.row, receiver), (facts.tenant, chat_id), now);
    }

    /// Counts calls made before a start. Each of `past` is a time, at which Feishu can have counted them
    /// at the latest, and how many.
    pub(crate) fn restore(&mut self, app: usize, api: Api, past: &[(i64, u32)], now: i64) {
        let app = &mut self.apps[app];
        let on = app.facts.on(api);
        for &(ms, calls) in past {
            app.each(api, on, |window| window.close(calls, ms.min(now)));
        }
        app.each(api, on, |window| window.expire(now));
    }

    /// Counts a call that was under way at a crash, room or not: Feishu may count it until `until_ms`. Its
    /// recipients are counted with the day's (`restore_day`).
    pub(crate) fn reopen(&mut self, ask: &Ask<'_>, until_ms: i64, now: i64) {
        let hold = self.hold(&Ask { weight: 0, ..*ask }, now);
        let until_ms = until_ms.clamp(now, now.saturating_add(limits::TIMEOUT_MAX_MS));
        let at = self.left.partition_point(|(ms, _)| *ms > until_ms);
        self.left.insert(at, (until_ms, hold));
    }

    /// What was under way at a crash is over, whatever became of it.
    fn let_go(&mut self, now: i64) {
        while let Some((until_ms, hold)) = self.left.pop_if(|(ms, _)| *ms <= now) {
            self.answered(hold, until_ms);
        }
    }

    /// Counts the recipients that batches of this app reached earlier today (UTC+8).
    pub(crate) fn restore_day(&mut self, app: usize, recipients: u32, now: i64) {
        let now = now.saturating_add(self.ahead_ms);
        self.apps[app].day.restore(recipients, now);
    }

    /// After a start: the windows of receivers and messages count as full until `until_ms`, at most
    /// one length ahead.
    pub(crate) fn floor(&mut self, until_ms: i64) {
        self.floor_ms = until_ms;
    }

    /// Drops what is idle. `take` does so too when there is much of it.
    pub(crate) fn prune(&mut self, now: i64) {
        self.receivers.prune(now);
        self.messages.prune(now);
        for app in &mut self.apps {
            app.apis.retain(|_, windows| !windows.is_idle(now));
        }
    }
}

impl App {
    fn new(facts: Facts) -> Self {
        Self {
            facts,
            apis: HashMap::new(),
            day: Day::default(),
            day_pause: Pause::default(),
        }
    }

    fn windows(&mut self, api: Api) -> &mut ApiWindows {
        self.apis.entry(api).or_insert_with(ApiWindows::new)
    }

    /// Every window of this API that is `on`.
    fn each(&mut self, api: Api, on: On, act: impl Fn(&mut Window)) {
        if on.minute {
            act(&mut self.windows(api).minute);
        }
        if on.second {
            act(&mut self.windows(api).second);
        }
    }

    fn pause(&mut self, api: Api, until_ms: i64, now: i64) {
        self.windows(api).pause.extend(until_ms, RESET_MAX_MS, now);
    }
}

impl Facts {
    /// Which windows of this API count.
    fn on(&self, api: Api) -> On {
        self.limits.of(api.endpoint().tier).on()
    }

    /// Every window that this call counts in, beside those of its API.
    fn scopes<'a>(&'a self, ask: &Ask<'a>) -> Scopes<'a> {
        let mut scopes = Scopes::default();
        for paced in ask.api.endpoint().paces {
            match paced {
                Paced::Receiver => scopes.receiver = ask.receiver.map(|name| self.receiver(name)),
                Paced::Message | Paced::Group(_) => {
                    let cap = match paced {
                        Paced::Group(window) => window.count,
                        _ => MESSAGE_SECOND.count,
                    };
                    let named = |name| Named {
                        row: self.tenant,
                        name,
                        cap,
                    };
                    scopes.message = ask.message.map(named);
                }
                Paced::Day(window) => scopes.day = Some((ask.weight, window.count)),
            }
        }
        scopes
    }

    /// A receiver counts under its chat as soon as that is known, else under its address and the app.
    fn receiver<'a>(&'a self, name: &'a str) -> Named<'a> {
        let cap = self.receiver_cap(name);
        let chat = if is_chat(name) {
            Some(name)
        } else {
            match is_message(name) {
                true => self.made.chat_of(name),
                false => self.learned.chat_of(name),
            }
        };
        match chat {
            Some(chat) => Named {
                row: self.tenant,
                name: chat,
                cap,
            },
            None => Named {
                row: self.row,
                name,
                cap,
            },
        }
    }

    /// A message may stand for a group or a person: the smaller cap of those that are on.
    fn receiver_cap(&self, name: &str) -> u32 {
        let Limits {
            chat_second,
            user_second,
            ..
        } = self.limits;
        if is_chat(name) {
            return chat_second;
        }
        if !name.starts_with("om") {
            return user_second;
        }
        let on = [chat_second, user_second]
            .into_iter()
            .filter(|cap| *cap > 0);
        on.min().unwrap_or(0)
    }
}

impl ApiWindows {
    fn new() -> Self {
        Self {
            minute: Window::new(API_MINUTE.ms),
            second: Window::new(API_SECOND.ms),
            pause: Pause::default(),
        }
    }

    /// The windows that are on, with their caps.
    fn capped(&mut self, limits: &Limits) -> impl Iterator<Item = (&mut Window, u32)> {
        let both = [
            (&mut self.minute, limits.app_minute),
            (&mut self.second, limits.app_second),
        ];
        both.into_iter().filter(|(_, cap)| *cap > 0)
    }

    fn ask(&mut self, limits: &Limits, high: bool, now: i64, latest: &mut Latest) {
        latest.until(Blocker::Api, self.pause.until(now));
        for (window, cap) in self.capped(limits) {
            let reserve = if high { 0 } else { reserve_of(cap) };
            latest.room(Blocker::Api, window.room(1, cap - reserve, now));
        }
    }

    fn is_idle(&mut self, now: i64) -> bool {
        for window in [&mut self.minute, &mut self.second] {
            window.expire(now);
        }
        self.minute.is_empty() && self.second.is_empty() && self.pause.until(now).is_none()
    }
}

/// The latest of several answers; a wait for an answer of Feishu is later than any time. Of equals
/// the last one asked counts: it is the wider one.
struct Latest(Earliest);

impl Latest {
    fn until(&mut self, by: Blocker, until: Option<i64>) {
        if let Some(ms) = until {
            self.room(by, Room::At(ms));
        }
    }

    fn room(&mut self, by: Blocker, room: Room) {
        match (room, self.0) {
            (Room::Now, _) => {}
            (Room::OnAnswer, _) => self.0 = Earliest::OnAnswer { by },
            (Room::At(_), Earliest::OnAnswer { .. }) => {}
            (Room::At(ms), Earliest::At { ms: other, .. }) if ms < other => {}
            (Room::At(ms), Earliest::At { .. } | Earliest::Now) => self.0 = Earliest::At { ms, by },
        }
    }
}

fn is_message(name: &str) -> bool {
    name.starts_with("om_")
}

fn is_chat(name: &str) -> bool {
    name.starts_with("oc_")
}

fn reserve_of(cap: u32) -> u32 {
    u32::try_from(u64::from(cap) * u64::from(RESERVE_PERCENT) / 100).unwrap_or(0)
}

/// The floor while it lasts; put back to one length ahead if the clock was put back.
fn floor_at(floor_ms: &mut i64, now: i64) -> Option<i64> {
    *floor_ms = (*floor_ms).min(now.saturating_add(limits::USER_SECOND.ms + 1));
    (*floor_ms > now).then_some(*floor_ms)
}
