//! Hears each statement that SQLite is given: sqlx logs them in tests, on the thread of their connection, which
//! has the name of the database (`open::options`).

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::text::one_line;

/// Each with the thread that ran it.
type Said = Arc<Mutex<Vec<(String, String)>>>;

/// What was said of one database since it was last asked.
pub(super) struct Ear {
    said: Said,
    name: String,
}

impl Ear {
    /// Listens from now on.
    pub(super) fn to(database: &Path) -> Ear {
        static SAID: OnceLock<Said> = OnceLock::new();
        let said = SAID.get_or_init(|| {
            let said = Said::default();
            let ear = Listener(Arc::clone(&said)).with_filter(
                Targets::new()
                    .with_target("sqlx::query", LevelFilter::TRACE)
                    .with_default(LevelFilter::OFF),
            );
            let all = Registry::default().with(ear);
            tracing::subscriber::set_global_default(all).expect("nobody else listens");
            said
        });
        Ear {
            said: Arc::clone(said),
            name: database.display().to_string(),
        }
    }

    /// What was heard since, one space between words. Each is one errand to SQLite's thread and may be several
    /// statements.
    pub(super) fn heard(&self) -> Vec<String> {
        let mut said = self.said.lock().unwrap();
        let (ours, others) = said.drain(..).partition(|(name, _)| *name == self.name);
        *said = others;
        ours.into_iter().map(|(_, text)| text).collect()
    }
}

struct Listener(Said);

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let text = match words.statement.is_empty() {
            true => words.summary,
            false => words.statement,
        };
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((name, one_line(&text)));
    }
}

/// A short statement is all summary.
#[derive(Default)]
struct Words {
    summary: String,
    statement: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
