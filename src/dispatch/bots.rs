//! Custom bots among the apps: what a bot says is a job of an app, and counts for the bot alone.
//!
//! Windows, pauses and breakers are kept by place: first the apps in the order of the config, then the bots in the
//! order in which they came. So a bot that is dead stops itself and no app, and an app that is refused stops no bot.
//! A bot keeps its place for as long as the process runs: one that the config names no more may be named again.
//! Pure. Not here: lanes, which stay the app's.

use std::collections::HashMap;

use feishu_im::Api;

use crate::job::Head;

/// A bot as the dispatcher sees it.
#[derive(Clone, Debug)]
pub(super) struct BotPlace {
    pub(super) name: String,
    /// The longest that an attempt waits for the head of its answer.
    pub(super) timeout_ms: i64,
}

/// Which places there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Bots {
    apps: usize,
    known: HashMap<Box<str>, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    place: usize,
    /// The config names it.
    here: bool,
}

impl Bots {
    /// No bots yet.
    pub(super) fn behind(apps: usize) -> Bots {
        Bots {
            apps,
            known: HashMap::new(),
        }
    }

    /// From now on the config names these. Returns the names of new places, in order.
    pub(super) fn set<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        for known in self.known.values_mut() {
            known.here = false;
        }
        let mut new = Vec::new();
        for name in names {
            let place = self.apps + self.known.len();
            let known = self.known.entry(name.into()).or_insert_with(|| {
                new.push(name);
                Known { place, here: false }
            });
            known.here = true;
        }
        new
    }

    /// Where the calls of this job of `app` count; none: it is for a bot that the config does not name.
    pub(super) fn place(&self, app: usize, head: &Head) -> Option<usize> {
        match head.api() {
            Api::Webhook => self.named(head.receiver.as_deref()?),
            _ => Some(app),
        }
    }

    /// The place of a bot that the config names.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        let known = self.known.get(name).filter(|known| known.here);
        known.map(|known| known.place)
    }

    /// Which bot has this place, named by the config or not; empty: none has.
    pub(super) fn name(&self, place: usize) -> &str {
        let mut known = self.known.iter();
        let found = known.find(|(_, known)| known.place == place);
        found.map_or("", |(name, _)| name)
    }

    /// Every bot that the config names, and its place.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, usize)> {
        let here = self.known.iter().filter(|(_, known)| known.here);
        here.map(|(name, known)| (&**name, known.place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_keeps_its_place_while_the_config_forgets_it() {
        let mut bots = Bots::behind(2);
        assert_eq!(bots.set(["a", "b"].into_iter()), ["a", "b"]);
        assert_eq!((bots.named("a"), bots.named("b")), (Some(2), Some(3)));
        assert_eq!(bots.set(["c", "b"].into_iter()), ["c"]);
        assert_eq!((bots.named("a"), bots.named("c")), (None, Some(4)));
        assert_eq!(bots.name(2), "a", "what is stopped there is still its own");
        assert!(bots.set(["a"].into_iter()).is_empty());
        assert_eq!(bots.all().collect::<Vec<_>>(), [("a", 2)]);
    }
}
