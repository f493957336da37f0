//! How far a pause by hand reaches: an app, a lane, a kind, or what all given parts have in common.
//!
//! Not here: what is paused now (`store`, which keeps it; `dispatch`, which stops).

use crate::job::{AppId, Kind};

/// Every job that fits each part that is given; nothing given: every job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Jobs of this app.
    pub app: Option<AppId>,
    /// Jobs of this lane, in whatever app.
    pub lane: Option<Box<str>>,
    /// Jobs of this kind.
    pub kind: Option<Kind>,
}

impl Reach {
    /// Is every part that is given here the same there? So a resume names the pauses that it lifts.
    pub fn names(&self, pause: &Reach) -> bool {
        self.app.is_none_or(|app| pause.app == Some(app))
            && (self.lane.is_none() || self.lane == pause.lane)
            && self.kind.is_none_or(|kind| pause.kind == Some(kind))
    }
}

/// A person's word on what stands still, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Nothing of it goes from now on.
    Pause(Reach),
    /// Pauses that this names are over, and what waits for a fault to be mended is tried at once.
    Resume(Reach),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_names_the_pauses_that_have_all_it_says() {
        let reach = |app: Option<i64>, lane: Option<&str>, kind| Reach {
            app: app.map(AppId),
            lane: lane.map(Into::into),
            kind,
        };
        let whole = reach(Some(1), Some("oc_a"), Some(Kind::Pin));
        let all = reach(None, None, None);
        for names in [
            &all,
            &reach(Some(1), None, None),
            &reach(None, Some("oc_a"), Some(Kind::Pin)),
            &whole,
        ] {
            assert!(names.names(&whole), "{names:?}");
        }
        assert!(all.names(&all));
        assert!(!reach(Some(2), None, None).names(&whole));
        assert!(!reach(None, None, Some(Kind::Send)).names(&whole));
        assert!(!reach(Some(1), None, None).names(&all), "{all:?} is wider");
        assert!(!reach(None, Some("oc_a"), None).names(&reach(Some(1), None, None)));
    }
}
