//! The ways to custom bots, as the config has them now.
//!
//! Not here: what counts for a bot (`bots`), the apps (`handle`).

use std::collections::HashMap;
use std::time::Duration;

use feishu_im::{Api, Hook};

use crate::dispatch::bots::BotPlace;
use crate::dispatch::run::millis;
use crate::job::Head;

/// One custom bot and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Bot {
    pub(crate) name: String,
    pub(crate) timeout: Duration,
    pub(crate) hook: Hook,
    /// It is another way than before: what waits for it to be mended is tried at once.
    pub(crate) changed: bool,
}

impl Bot {
    pub(super) fn place(&self) -> BotPlace {
        BotPlace {
            name: self.name.clone(),
            timeout_ms: millis(self.timeout),
        }
    }
}

/// The bots that the config names.
#[derive(Debug, Default)]
pub(super) struct Bots {
    by_name: HashMap<String, Bot>,
    longest: Duration,
}

impl Bots {
    /// These are the bots now. Returns the names of those that are other ways than before.
    pub(super) fn set(&mut self, bots: Vec<Bot>) -> Vec<String> {
        let changed = bots.iter().filter(|bot| bot.changed);
        let changed = changed.map(|bot| bot.name.clone()).collect();
        // Attempts under way keep the time-out they began with.
        let longest = bots.iter().map(|bot| bot.timeout);
        self.longest = longest.fold(self.longest, Duration::max);
        self.by_name = bots
            .into_iter()
            .map(|bot| (bot.name.clone(), bot))
            .collect();
        changed
    }

    /// The longest that an attempt through a bot may wait for the head of its answer.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    pub(super) fn named(&self, name: &str) -> Option<Bot> {
        self.by_name.get(name).cloned()
    }

    /// The bot that says what this job has to say.
    pub(super) fn of(&self, head: &Head) -> Option<Bot> {
        let is_webhook = head.api() == Api::Webhook;
        let name = head.receiver.as_deref().filter(|_| is_webhook)?;
        self.named(name)
    }
}
