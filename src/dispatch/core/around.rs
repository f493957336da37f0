//! What stands around a call besides its windows: the place it counts for, its tenant, its base URL.

use super::Core;
use crate::dispatch::bots::BotPlace;
use crate::dispatch::breaker::{Breaker, Looks, Spot};
use crate::dispatch::lanes::{Group, LaneName};
use crate::dispatch::pace::Limits;
use crate::job::Head;

/// One place; see `bots`.
#[derive(Clone, Debug)]
pub(super) struct Around {
    /// In the words of the log.
    pub(super) name: String,
    /// A bot has one of its own, in which nothing counts.
    pub(super) tenant: usize,
    /// Which base URL, by number; a bot has one of its own.
    pub(super) base: usize,
    pub(super) timeout_ms: i64,
}

/// The windows of a bot; its tier has smaller ones than an app's.
const BOT: Limits = Limits {
    app_minute: feishu_im::limits::BOT_MINUTE.count,
    app_second: feishu_im::limits::BOT_SECOND.count,
    chat_second: 0,
    user_second: 0,
};

impl Core {
    /// From now on the config names these custom bots. Jobs of one that it does not name wait.
    pub(in crate::dispatch) fn set_bots(&mut self, bots: &[BotPlace]) {
        let before = self.lanes.bots.clone();
        let new = self.lanes.bots.set(bots.iter().map(|bot| &*bot.name));
        for name in new {
            let tenants = self.places.iter().map(|place| place.tenant + 1);
            let tenant = tenants.max().unwrap_or(0);
            self.pace.add_bot(BOT);
            self.base_breakers.push(Breaker::of_base_url());
            self.looks.push(Looks::default());
            self.places.push(Around {
                name: format!("bot {name}"),
                tenant,
                base: self.base_breakers.len() - 1,
                timeout_ms: 0,
            });
        }
        for bot in bots {
            if let Some(place) = self.lanes.bots.named(&bot.name) {
                self.places[place].timeout_ms = bot.timeout_ms;
            }
        }
        let gone = before
            .all()
            .any(|(name, _)| self.lanes.bots.named(name).is_none());
        if gone {
            let bots = self.lanes.bots.clone();
            let names: Vec<LaneName> = self.lanes.names();
            for name in names {
                self.lanes
                    .park(&name, |head| bots.place(name.0, head).is_none());
            }
        }
        if bots.iter().any(|bot| before.named(&bot.name).is_none()) {
            for app in 0..self.apps.len() {
                self.lanes.walk_again(app);
            }
        }
        self.pauses_changed = true;
        self.closed.clear();
    }

    pub(super) fn group(&self, app: usize, head: &Head) -> Group {
        self.lanes.group(app, head)
    }

    pub(super) fn base_of(&mut self, place: usize) -> &mut Breaker {
        &mut self.base_breakers[self.places[place].base]
    }

    pub(super) fn spot(&self, group: Group) -> Spot {
        Spot {
            tenant: self.places[group.0].tenant,
            app: group.0,
            api: group.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use feishu_im::{Api, PauseScope};

    use super::*;
    use crate::dispatch::breaker::BreakerEvent;
    use crate::dispatch::core::{AppPlace, Told};
    use crate::dispatch::judge::{Judgement, Next};
    use crate::job::{AppId, Kind, Outcome, Priority};
    use crate::store::{LaneHead, Piece};

    /// One app without windows, and the bot `room`.
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
        name(&mut core, "room");
        core.start(&[], &[], &[], 0, 0);
        walk(&mut core, &[]);
        core
    }

    /// A reload: this is the only bot now.
    fn name(core: &mut Core, bot: &str) {
        core.set_bots(&[BotPlace {
            name: bot.to_owned(),
            timeout_ms: 10_000,
        }]);
    }

    /// Reads the whole table, whose lanes have these heads.
    fn walk(core: &mut Core, table: &[Head]) {
        while let Some(walk) = core.next_walk(1000, 0) {
            let here = |head: &&Head| head.order().0 == walk.rank;
            let lanes = table.iter().filter(here).map(found).collect();
            core.walked(&walk, Piece { lanes, next: None }, 0);
        }
    }

    fn found(head: &Head) -> LaneHead {
        LaneHead {
            app: AppId(1),
            lane: head.lane.clone(),
            head: Some(head.clone()),
            other: None,
        }
    }

    fn webhook(seq: i64) -> Head {
        Head {
            seq,
            app: AppId(1),
            lane: format!("lane {seq:02}").into(),
            kind: Kind::Webhook,
            verify: false,
            priority: Priority::Normal,
            tried: false,
            due_ms: 0,
            since_ms: 0,
            receiver: Some("room".into()),
            message: None,
            size: 1,
            weight: 1,
            unknown: None,
        }
    }

    /// The call of this job is answered so, and the lane is to be read.
    fn answer(core: &mut Core, seq: i64, judgement: &Judgement, at: i64) {
        let told = Told {
            judgement,
            msg: "",
            refund: false,
            chat: None,
            made: None,
            counted: false,
        };
        core.answered(seq, &told, at);
        core.recorded(AppId(1), &webhook(seq).lane, seq, false);
    }

    const DONE: Judgement = Judgement {
        outcome: Outcome::Done,
        next: Next::Done,
        pause: None,
        bucket: None,
        breaker: BreakerEvent::Ok,
    };

    /// Some of its jobs stand ready, one waits for its time, while it is away.
    #[test]
    fn a_bot_that_was_away_for_two_reloads_goes_on() {
        let mut core = core();
        let mut table: Vec<Head> = (1..=30).map(webhook).collect();
        table[29].due_ms = 5;
        for head in &table {
            core.stood(head.clone(), 0);
        }
        assert_eq!(core.pick(0, 0), [1, 2, 3, 4, 5], "its window is full");
        name(&mut core, "other");
        assert_eq!(core.lanes.len(), 5, "only who is under way has a place");
        assert!(core.lanes.groups().is_empty(), "nobody stands ready");
        for seq in 1..=5 {
            answer(&mut core, seq, &DONE, 1000);
        }
        assert!(core.pick(1000, 1000).is_empty());
        name(&mut core, "room");
        walk(&mut core, &table[5..]);
        let mut went = Vec::new();
        for minute in 1..=5 {
            let picked = core.pick(minute * 60_000, minute * 60_000);
            for seq in &picked {
                answer(&mut core, *seq, &DONE, minute * 60_000);
            }
            went.extend(picked);
        }
        assert_eq!(went, (6..=30).collect::<Vec<_>>());
    }

    /// Its answers stop it while the config does not name it, and its probe ends.
    #[test]
    fn what_is_heard_of_a_bot_that_is_away_concerns_it_and_no_app() {
        let refused = Judgement {
            outcome: Outcome::Refused,
            pause: Some((PauseScope::App, 19_001)),
            ..DONE
        };
        let lost = Judgement {
            outcome: Outcome::NotSent,
            breaker: BreakerEvent::NotSent,
            ..DONE
        };
        for judgement in [refused, lost] {
            let mut core = core();
            let table = [webhook(1), webhook(2), webhook(3)];
            for head in table.clone() {
                core.stood(head, 0);
            }
            let mut at = 0;
            for went in [3, 1, 1] {
                for place in core.reads_wanted(at) {
                    core.looked(place, true, false, at);
                }
                let picked = core.pick(at, at);
                assert_eq!(picked.len(), went, "{judgement:?}");
                name(&mut core, "other");
                for seq in picked {
                    answer(&mut core, seq, &judgement, at);
                }
                let stops = core.stops(at, at);
                let whose: Vec<_> = stops.iter().map(|stop| (&*stop.app, &*stop.lane)).collect();
                assert_eq!(whose, [("", "room")], "{judgement:?}");
                name(&mut core, "room");
                core.lanes.take_reads();
                let found = table.iter().map(found).collect();
                core.read(found, at);
                walk(&mut core, &table);
                at += 3_600_000;
            }
        }
    }

    /// Should a place be lost in spite of all, it costs nobody else's.
    #[test]
    fn a_place_that_is_nobodys_stops_nobody() {
        let mut core = core();
        let group = core.group(0, &webhook(1));
        assert_eq!(group, (1, Api::Webhook));
        core.lanes.go_astray(group);
        core.stood(webhook(1), 0);
        assert_eq!(core.pick(0, 0), [1]);
        assert!(core.lanes.groups().is_empty());
    }
}
