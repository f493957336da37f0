//! What the relay stopped by itself, in the words of status.

use super::Core;
use crate::dispatch::breaker::PauseKey;
use crate::store::Pause;

impl Core {
    /// What is stopped, for those who look.
    pub(in crate::dispatch) fn stops(&self, wall_ms: i64, steady_ms: i64) -> Vec<Pause> {
        let mut list = Vec::new();
        let wall = |steady: i64| wall_ms - (steady_ms - steady);
        for view in self.pauses.iter() {
            let apps: Vec<usize> = match view.scope {
                PauseKey::Tenant(tenant) => (0..self.apps.len())
                    .filter(|at| self.apps[*at].tenant == tenant)
                    .collect(),
                PauseKey::App(app) | PauseKey::AppApi(app, _) => vec![app],
            };
            let api = if let PauseKey::AppApi(_, api) = view.scope {
                api.name()
            } else {
                ""
            };
            for app in apps {
                list.push(stop(
                    &self.apps[app].name,
                    api,
                    Some(view.code),
                    view.msg,
                    wall(view.since_ms),
                    Some(wall(view.next_probe_ms)),
                ));
            }
        }
        for ((app, api), _) in self
            .api_breakers
            .iter()
            .filter(|(_, breaker)| breaker.is_open())
        {
            list.push(stop(
                &self.apps[*app].name,
                api.name(),
                None,
                "Feishu's answers to this call are lost; it is probed",
                wall_ms,
                None,
            ));
        }
        for app in self
            .apps
            .iter()
            .filter(|app| self.base_breakers[app.base].is_open())
        {
            list.push(stop(
                &app.name,
                "",
                None,
                "Feishu cannot be reached; it is probed",
                wall_ms,
                None,
            ));
        }
        list.sort_by(|a, b| (&a.app, &a.api).cmp(&(&b.app, &b.api)));
        list
    }
}

fn stop(
    app: &str,
    api: &str,
    code: Option<i64>,
    reason: &str,
    since_ms: i64,
    probe_ms: Option<i64>,
) -> Pause {
    Pause {
        app: app.to_owned(),
        lane: String::new(),
        api: api.to_owned(),
        by_hand: false,
        code: code.filter(|code| *code != 0),
        reason: reason.to_owned(),
        since_ms,
        probe_ms,
    }
}
