//! What the relay stopped by itself, in the words of status.

use feishu_im::Api;

use super::Core;
use crate::dispatch::breaker::PauseKey;
use crate::store::{Pause, Spares};

impl Core {
    /// What is stopped, for those who look.
    pub(in crate::dispatch) fn stops(&self, wall_ms: i64, steady_ms: i64) -> Vec<Pause> {
        let mut list = Vec::new();
        let wall = |steady: i64| wall_ms - (steady_ms - steady);
        for view in self.pauses.iter() {
            let places: Vec<usize> = match view.scope {
                PauseKey::Tenant(tenant) => (0..self.places.len())
                    .filter(|at| self.places[*at].tenant == tenant)
                    .collect(),
                PauseKey::App(place) | PauseKey::AppApi(place, _) => vec![place],
            };
            let api = if let PauseKey::AppApi(_, api) = view.scope {
                api.name()
            } else {
                ""
            };
            for place in places {
                list.push(self.stopped(
                    place,
                    api,
                    Some(view.code),
                    view.msg,
                    wall(view.since_ms),
                    Some(wall(view.next_probe_ms)),
                ));
            }
        }
        for ((place, api), breaker) in &self.api_breakers {
            let Some(since_ms) = breaker.since_ms() else {
                continue;
            };
            list.push(self.stopped(
                *place,
                api.name(),
                None,
                "Feishu's answers to this call are lost; it is probed",
                wall(since_ms),
                None,
            ));
        }
        for (place, around) in self.places.iter().enumerate() {
            let Some(since_ms) = self.base_breakers[around.base].since_ms() else {
                continue;
            };
            list.push(self.stopped(
                place,
                "",
                None,
                "Feishu cannot be reached; it is probed",
                wall(since_ms),
                None,
            ));
        }
        // Where both stop an app, the harder one is shown.
        list.extend(self.month_stops());
        list.sort_by(|a, b| (&a.app, &a.lane, &a.api).cmp(&(&b.app, &b.lane, &b.api)));
        list
    }

    /// A bot is of no app; it stops what its lane says through it.
    fn stopped(
        &self,
        place: usize,
        api: &str,
        code: Option<i64>,
        reason: &str,
        since_ms: i64,
        probe_ms: Option<i64>,
    ) -> Pause {
        let (app, lane, api) = match self.apps.get(place) {
            Some(app) => (&*app.name, "", api),
            None => ("", self.lanes.bots.name(place), Api::Webhook.name()),
        };
        Pause {
            app: app.to_owned(),
            lane: lane.to_owned(),
            api: api.to_owned(),
            by_hand: false,
            code: code.filter(|code| *code != 0),
            reason: reason.to_owned(),
            since_ms,
            probe_ms,
            spares: Spares::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::breaker::{Breaker, BreakerEvent};
    use crate::dispatch::core::AppPlace;
    use crate::dispatch::pace::Limits;
    use crate::job::AppId;

    #[test]
    fn what_a_breaker_stopped_is_stopped_since_it_opened() {
        let mut core = Core::new(vec![AppPlace {
            id: AppId(1),
            name: String::from("ops"),
            tenant: 0,
            base: 0,
            limits: Limits {
                app_minute: 0,
                app_second: 0,
                chat_second: 0,
                user_second: 0,
            },
            timeout_ms: 10_000,
        }]);
        let mut breaker = Breaker::of_api();
        for _ in 0..3 {
            breaker.ended(BreakerEvent::Unknown, false, 1_000);
            core.base_breakers[0].ended(BreakerEvent::NotSent, false, 2_000);
        }
        core.api_breakers.insert((0, Api::SendMessage), breaker);
        // Ten minutes later, the wall clock a million ahead.
        let stops = core.stops(1_601_000, 601_000);
        let since: Vec<i64> = stops.iter().map(|stop| stop.since_ms).collect();
        assert_eq!(since, [1_002_000, 1_001_000]);
    }
}
