//! How many lanes of an app are held at once, and of which sort.
//!
//! Each app has a share of the window, so that no app takes what another needs. Within it what cannot
//! go just now (stopped by a fault, waiting for a retry) leaves room for what could: tried jobs have
//! half of it, `high` has places beyond it, and every call has a few whatever the others hold.
//! Pure counts. Not here: which lanes those are (`lanes`), how those outside are found (`walk`).

use std::collections::{BTreeSet, HashMap};

use feishu_im::Api;

use super::WINDOW;
use crate::job::{Head, Priority};

/// Places of an app, however many apps there are: an attempt under way holds one.
const SHARE_LEAST: usize = 512;
/// Places of each call beyond the share, whatever other calls hold.
const CALL_LEAST: usize = 64;

/// What decides whether a lane has room: the call of its first job, and how urgent that is.
pub(super) type Sort = (Api, Class);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Of that priority, tried or not.
    High,
    /// Not tried yet.
    First,
    Tried,
}

pub(super) fn sort_of(head: &Head) -> Sort {
    let class = match (head.priority, head.tried) {
        (Priority::High, _) => Class::High,
        (Priority::Normal | Priority::Low, false) => Class::First,
        (Priority::Normal | Priority::Low, true) => Class::Tried,
    };
    (head.api(), class)
}

/// The lanes of one app that are here.
#[derive(Debug)]
pub(super) struct Places {
    share: usize,
    all: usize,
    high: usize,
    tried: usize,
    calls: HashMap<Api, usize>,
}

impl Places {
    /// Of one app among so many.
    pub(super) fn of(apps: usize) -> Places {
        Places {
            share: (WINDOW / apps.max(1)).max(SHARE_LEAST),
            all: 0,
            high: 0,
            tried: 0,
            calls: HashMap::new(),
        }
    }

    /// A lane comes; none: its first job is not known yet.
    pub(super) fn add(&mut self, sort: Option<Sort>) {
        self.all += 1;
        self.count(sort, |count| *count += 1);
    }

    /// A lane goes.
    pub(super) fn remove(&mut self, sort: Option<Sort>) {
        self.all -= 1;
        self.count(sort, |count| *count -= 1);
    }

    fn count(&mut self, sort: Option<Sort>, act: impl Fn(&mut usize)) {
        let Some((api, class)) = sort else { return };
        act(self.calls.entry(api).or_default());
        match class {
            Class::High => act(&mut self.high),
            Class::First => {}
            Class::Tried => act(&mut self.tried),
        }
    }

    /// May one more of that sort come in?
    pub(super) fn admits(&self, sort: Sort) -> bool {
        self.fits(sort, |most| most)
    }

    /// Is there so much room for that sort that lanes outside are worth looking for? Until then a lane
    /// that was served gives way to them.
    pub(super) fn wants(&self, sort: Sort) -> bool {
        self.fits(sort, |most| most - most / 4)
    }

    /// Has that call few places itself, whatever the others have?
    pub(super) fn wants_call(&self, (api, _): Sort) -> bool {
        self.of_call(api) < CALL_LEAST - CALL_LEAST / 4
    }

    fn of_call(&self, api: Api) -> usize {
        self.calls.get(&api).copied().unwrap_or(0)
    }

    /// Is there so much room that lanes of which nothing is known are worth looking for?
    pub(super) fn wants_any(&self) -> bool {
        self.all < self.share - self.share / 4
    }

    /// Is there a place for a lane of which nothing is known?
    pub(super) fn admits_any(&self) -> bool {
        self.all < self.share
    }

    fn fits(&self, (api, class): Sort, part: impl Fn(usize) -> usize) -> bool {
        let within = self.all < part(self.share);
        self.of_call(api) < part(CALL_LEAST)
            || match class {
                Class::High => within || self.high < part(self.share / 4),
                Class::First => within,
                Class::Tried => within && self.tried < part(self.share / 2),
            }
    }
}

/// Lanes that are not here, by what is known of them.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Nothing is known of some.
    any: bool,
    sorts: BTreeSet<Sort>,
}

impl Outside {
    pub(super) fn anybody() -> Outside {
        Outside {
            any: true,
            ..Outside::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any && self.sorts.is_empty()
    }

    pub(super) fn add(&mut self, sort: Option<Sort>) {
        match sort {
            Some(sort) => drop(self.sorts.insert(sort)),
            None => self.any = true,
        }
    }

    /// Is one of them worth looking for?
    pub(super) fn is_wanted(&self, places: &Places) -> bool {
        (self.any && places.wants_any()) || self.sorts.iter().any(|sort| places.wants(*sort))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets in as many of a sort as fit.
    fn fill(places: &mut Places, sort: Sort) -> usize {
        let before = places.all;
        while places.admits(sort) {
            places.add(Some(sort));
        }
        places.all - before
    }

    #[test]
    fn what_waits_leaves_room_for_first_attempts_and_for_high() {
        let mut places = Places::of(1);
        let [tried, first, high] =
            [Class::Tried, Class::First, Class::High].map(|class| (Api::SendMessage, class));
        assert_eq!(fill(&mut places, tried), WINDOW / 2);
        assert!(!places.wants(tried) && places.wants(first));
        assert_eq!(fill(&mut places, first), WINDOW / 2);
        assert_eq!(fill(&mut places, high), WINDOW / 4);
        assert!(!places.admits_any());
        places.remove(Some(first));
        assert!(!places.admits(first), "high is over the share");
    }

    #[test]
    fn every_call_has_a_few_places_whatever_the_others_hold() {
        let mut places = Places::of(1);
        fill(&mut places, (Api::SendMessage, Class::First));
        for api in [Api::Pin, Api::Unpin] {
            for class in [Class::First, Class::Tried] {
                assert!(places.wants((api, class)), "{api:?}");
            }
            assert_eq!(fill(&mut places, (api, Class::First)), CALL_LEAST);
            assert!(!places.wants((api, Class::First)));
        }
    }

    #[test]
    fn apps_share_the_window_and_none_has_too_little() {
        for (apps, share) in [
            (0, WINDOW),
            (1, WINDOW),
            (2, WINDOW / 2),
            (100, SHARE_LEAST),
        ] {
            let mut places = Places::of(apps);
            let first = (Api::SendMessage, Class::First);
            assert_eq!(fill(&mut places, first), share, "{apps}");
        }
    }

    #[test]
    fn what_has_room_is_worth_looking_for() {
        let mut places = Places::of(1);
        let (send, pin) = ((Api::SendMessage, Class::First), (Api::Pin, Class::First));
        let mut outside = Outside::anybody();
        assert!(outside.is_wanted(&places));
        fill(&mut places, send);
        outside.add(Some(send));
        assert!(!outside.is_wanted(&places));
        outside.add(Some(pin));
        assert!(outside.is_wanted(&places));
    }
}
