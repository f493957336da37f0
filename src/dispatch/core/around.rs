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
