//! Fixed windows: so many calls in this second, this minute.
//!
//! A window starts with its second or minute of the sandbox's clock. Which windows a call asks is
//! the caller's business (`gate`, `endpoints`); this only counts.
//! Source of the form: limits.md 1.1 (a fixed minute plus a fixed second).

use std::collections::HashMap;

use crate::clock::{MINUTE_MS, SECOND_MS};

/// What a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// One API for one app, by the minute.
    AppMinute,
    /// One API for one app, by the second.
    AppSecond,
    /// One group, whoever speaks, by the second.
    Chat,
    /// One person spoken to by one app, by the second.
    User,
    /// One message, by the second.
    Message,
    /// Listing pins by one app, by the second.
    ListPins,
    /// Cards for one member in one group, by the second.
    Ephemeral,
    /// One link preview, by five seconds.
    Preview,
}

impl Scope {
    const fn span_ms(self) -> i64 {
        match self {
            Self::AppMinute => MINUTE_MS,
            Self::Preview => 5 * SECOND_MS,
            _ => SECOND_MS,
        }
    }
}

/// One window asked for room.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) scope: Scope,
    pub(crate) key: String,
    /// Calls it holds; 0 = no limit.
    pub(crate) limit: u32,
}

/// The window that had no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) limit: u32,
    /// Seconds until it ends, at least 1.
    pub(crate) reset_s: i64,
}

/// All windows, by what they count.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    counts: HashMap<(Scope, String), (i64, u32)>,
}

impl Windows {
    /// Takes one place in every asked window, or in none.
    ///
    /// With `refused_count` a refused call still uses up its places. Answers the full window that
    /// lasts longest.
    pub(crate) fn take(&mut self, asks: &[Ask], now_ms: i64, refused_count: bool) -> Option<Full> {
        let full = asks
            .iter()
            .filter(|ask| ask.limit > 0 && self.count(ask, now_ms) >= ask.limit)
            .map(|ask| Full {
                limit: ask.limit,
                reset_s: reset_s(ask.scope, now_ms),
            })
            .max_by_key(|full| full.reset_s);
        if full.is_none() || refused_count {
            asks.iter()
                .filter(|ask| ask.limit > 0)
                .for_each(|ask| self.add(ask, now_ms));
        }
        full
    }

    fn count(&self, ask: &Ask, now_ms: i64) -> u32 {
        let window = now_ms.div_euclid(ask.scope.span_ms());
        match self.counts.get(&(ask.scope, ask.key.clone())) {
            Some(&(at, count)) if at == window => count,
            _ => 0,
        }
    }

    fn add(&mut self, ask: &Ask, now_ms: i64) {
        let window = now_ms.div_euclid(ask.scope.span_ms());
        let entry = self
            .counts
            .entry((ask.scope, ask.key.clone()))
            .or_insert((window, 0));
        if entry.0 != window {
            *entry = (window, 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

fn reset_s(scope: Scope, now_ms: i64) -> i64 {
    let left_ms = scope.span_ms() - now_ms.rem_euclid(scope.span_ms());
    ((left_ms + SECOND_MS - 1) / SECOND_MS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(limit: u32) -> [Ask; 1] {
        [Ask {
            scope: Scope::Chat,
            key: "oc_1".to_owned(),
            limit,
        }]
    }

    #[test]
    fn a_window_gives_its_places_and_then_none_until_it_ends() {
        let mut windows = Windows::default();
        for _ in 0..5 {
            assert_eq!(windows.take(&ask(5), 10_200, true), None);
        }
        assert_eq!(
            windows.take(&ask(5), 10_900, true),
            Some(Full {
                limit: 5,
                reset_s: 1
            })
        );
        assert_eq!(windows.take(&ask(5), 11_000, true), None);
    }

    #[test]
    fn a_refused_call_uses_up_the_minute_too() {
        let mut windows = Windows::default();
        let asks = [
            Ask {
                scope: Scope::AppMinute,
                key: "a".to_owned(),
                limit: 3,
            },
            Ask {
                scope: Scope::AppSecond,
                key: "a".to_owned(),
                limit: 1,
            },
        ];
        assert_eq!(windows.take(&asks, 0, true), None);
        assert_eq!(
            windows.take(&asks, 1, true),
            Some(Full {
                limit: 1,
                reset_s: 1
            })
        );
        assert_eq!(windows.take(&asks, 1_000, true), None);
        assert_eq!(
            windows.take(&asks, 2_000, true),
            Some(Full {
                limit: 3,
                reset_s: 58
            })
        );
    }

    #[test]
    fn a_refused_call_is_free_when_the_switch_says_so() {
        let mut windows = Windows::default();
        let asks = [
            Ask {
                scope: Scope::AppMinute,
                key: "a".to_owned(),
                limit: 2,
            },
            Ask {
                scope: Scope::AppSecond,
                key: "a".to_owned(),
                limit: 1,
            },
        ];
        assert_eq!(windows.take(&asks, 0, false), None);
        assert!(windows.take(&asks, 1, false).is_some());
        assert_eq!(windows.take(&asks, 1_000, false), None);
    }

    #[test]
    fn a_limit_of_zero_is_no_limit() {
        let mut windows = Windows::default();
        assert!((0..1_000).all(|_| windows.take(&ask(0), 0, true).is_none()));
    }
}
