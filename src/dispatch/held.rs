//! What people paused, as it is asked for each job: a few lookups, however much is paused.
//!
//! Pure. Not here: writing it down (`store`), what the relay pauses by itself (`breaker`).

use std::collections::{BTreeSet, HashMap};

use crate::job::{AppId, Head, Kind, Reach};

/// An app and a kind; none: every one.
type Width = (Option<AppId>, Option<u8>);

/// Every pause by hand.
#[derive(Debug, Default)]
pub(super) struct Held {
    wide: BTreeSet<Width>,
    lanes: HashMap<Box<str>, BTreeSet<Width>>,
}

fn width(reach: &Reach) -> Width {
    (reach.app, reach.kind.map(number))
}

fn number(kind: Kind) -> u8 {
    kind as u8
}

impl Held {
    pub(super) fn add(&mut self, reach: &Reach) {
        let widths = match &reach.lane {
            None => &mut self.wide,
            Some(lane) => self.lanes.entry(lane.clone()).or_default(),
        };
        widths.insert(width(reach));
    }

    /// Takes away every pause that `reach` names; `false`: there was none.
    pub(super) fn lift(&mut self, reach: &Reach) -> bool {
        let before = self.count();
        let (app, kind) = width(reach);
        let named = |(of_app, of_kind): &Width| {
            (app.is_none() || app == *of_app) && (kind.is_none() || kind == *of_kind)
        };
        if reach.lane.is_none() {
            self.wide.retain(|width| !named(width));
        }
        self.lanes.retain(|lane, widths| {
            if reach.lane.as_ref().is_none_or(|only| only == lane) {
                widths.retain(|width| !named(width));
            }
            !widths.is_empty()
        });
        self.count() < before
    }

    fn count(&self) -> usize {
        self.wide.len() + self.lanes.values().map(BTreeSet::len).sum::<usize>()
    }

    fn any(&self, lane: Option<&str>, fits: impl Fn(&Width) -> bool) -> bool {
        let lane = lane.and_then(|lane| self.lanes.get(lane));
        self.wide.iter().chain(lane.into_iter().flatten()).any(fits)
    }

    /// Must this job wait?
    pub(super) fn covers(&self, head: &Head) -> bool {
        let kind = number(head.kind);
        self.any(Some(&head.lane), |(app, of)| {
            app.is_none_or(|app| app == head.app) && of.is_none_or(|of| of == kind)
        })
    }

    /// Must every job of this app wait?
    pub(super) fn covers_app(&self, app: AppId) -> bool {
        self.any(None, |(of, kind)| {
            kind.is_none() && of.is_none_or(|of| of == app)
        })
    }

    /// May somebody wait at the head of this lane, while others of it would not have to?
    pub(super) fn splits(&self, app: AppId, lane: &str) -> bool {
        self.any(Some(lane), |(of, kind)| {
            kind.is_some() && of.is_none_or(|of| of == app)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Priority;

    fn head(app: i64, lane: &str, kind: Kind) -> Head {
        Head {
            seq: 1,
            app: AppId(app),
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

    fn reach(app: Option<i64>, lane: Option<&str>, kind: Option<Kind>) -> Reach {
        Reach {
            app: app.map(AppId),
            lane: lane.map(Into::into),
            kind,
        }
    }

    #[test]
    fn a_pause_covers_what_fits_all_it_says() {
        let jobs = [
            head(1, "oc_a", Kind::Send),
            head(1, "oc_a", Kind::Pin),
            head(1, "oc_b", Kind::Send),
            head(2, "oc_a", Kind::Send),
        ];
        let check = |reach: Reach, expected: [bool; 4]| {
            let mut held = Held::default();
            held.add(&reach);
            let covered = [0, 1, 2, 3].map(|at| held.covers(&jobs[at]));
            assert_eq!(covered, expected, "{reach:?}");
            held.lift(&reach);
            assert!(jobs.iter().all(|head| !held.covers(head)), "{reach:?}");
        };
        check(reach(None, None, None), [true; 4]);
        check(reach(Some(1), None, None), [true, true, true, false]);
        check(reach(None, Some("oc_a"), None), [true, true, false, true]);
        check(
            reach(None, None, Some(Kind::Send)),
            [true, false, true, true],
        );
        check(
            reach(Some(1), Some("oc_a"), Some(Kind::Send)),
            [true, false, false, false],
        );
    }

    #[test]
    fn a_resume_lifts_what_it_names_and_nothing_wider() {
        let mut held = Held::default();
        held.add(&reach(Some(1), None, None));
        held.add(&reach(Some(1), Some("oc_a"), None));
        held.add(&reach(None, Some("oc_a"), Some(Kind::Pin)));
        held.lift(&reach(None, Some("oc_a"), None));
        assert!(held.covers(&head(1, "oc_a", Kind::Send)));
        assert!(!held.covers(&head(2, "oc_a", Kind::Pin)));
        assert!(!held.lift(&reach(Some(2), None, None)));
        assert!(held.covers_app(AppId(1)) && !held.covers_app(AppId(2)));
        assert!(held.lift(&Reach::default()));
        assert!(!held.covers(&head(1, "oc_a", Kind::Send)));
    }

    #[test]
    fn only_a_pause_of_a_kind_splits_a_lane() {
        let mut held = Held::default();
        held.add(&reach(Some(1), None, None));
        held.add(&reach(Some(1), Some("oc_a"), Some(Kind::Pin)));
        assert!(held.splits(AppId(1), "oc_a"));
        assert!(!held.splits(AppId(1), "oc_b") && !held.splits(AppId(2), "oc_a"));
        assert!(held.covers_app(AppId(1)));
    }
}
