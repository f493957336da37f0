//! Alerts at work: notifications come in, incidents are looked at when they are due, and each change is one
//! write of the incident and its jobs.
//!
//! What is decided is decided purely (`arrive`, `plan`) from what was read; when somebody else changed the
//! incident meanwhile, all of it is read and decided again. Nothing here remembers an incident: a restart reads
//! the same rows. A notification is answered after the commit of what it changed.
//! Not here: the doors (`http`), sending (`dispatch`).

mod accept;
mod ask;
mod digests;
mod looks;
mod steps;
mod write;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::alerts::cards::Cards;
use crate::alerts::incident::{Ack, Incident};
use crate::alerts::people::OnCall;
use crate::alerts::plan::{Planned, View, plan};
use crate::alerts::routes::Routes;
use crate::alerts::rungs::Facts;
use crate::clock::Clock;
use crate::config::Config;
use crate::job::{Gate, IncidentId, IncidentRow, IncidentWrite};
use crate::store::{IncidentError, Store, StoreError};

pub use self::accept::{NotTaken, Taken};
use self::write::Place;

/// How often a decision is made again because somebody else changed the incident meanwhile.
const TRIES: u32 = 50;
/// Groups whose notifications are taken one after the other, so that they do not undo each other's work.
const STRIPES: usize = 64;

/// Bodies up to this size are read where they are; larger ones where they block nobody.
const SMALL_BYTES: usize = 16 << 10;

/// The service of all alert sinks.
#[derive(Debug)]
pub struct Alerts {
    store: Store,
    clock: Clock,
    gate: Arc<dyn Gate>,
    apps: Vec<String>,
    in_force: RwLock<Arc<InForce>>,
    stripes: Vec<Mutex<()>>,
}

/// What the config says, in force until the next reload.
#[derive(Debug)]
struct InForce {
    routes: Routes,
    cards: Cards,
    oncall: OnCall,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// `max_pending` jobs wait already.
    #[error("the queue is full; send it again later")]
    Full,
    /// Others change the incident faster than it can be read.
    #[error("the incident changes all the time; try again")]
    Busy,
    /// What is stored of it cannot be read, or a job of it is wrong; the log says more.
    #[error("the incident cannot be read or changed")]
    Broken,
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an incident was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// It is over.
    #[error("the incident is resolved; there is nothing to look at any more")]
    Resolved,
    /// It could not be written.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl Alerts {
    /// Of `config`, with its templates.
    pub fn new(
        store: Store,
        gate: Arc<dyn Gate>,
        clock: Clock,
        config: &Config,
        cards: Cards,
    ) -> Alerts {
        Alerts {
            store,
            clock,
            gate,
            apps: config.apps.iter().map(|app| app.name.clone()).collect(),
            in_force: RwLock::new(Arc::new(InForce {
                routes: Routes::new(config),
                cards,
                oncall: OnCall::new(config),
            })),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
        }
    }

    /// From the next notification on these are the routes, templates and lists.
    ///
    /// # Errors
    /// What is wrong with each template; what was in force stays.
    pub fn reload(&self, config: &Config) -> Result<(), Vec<String>> {
        let new = InForce {
            routes: Routes::new(config),
            cards: Cards::load(config)?,
            oncall: self.in_force().oncall.reloaded(config),
        };
        let mut place = self
            .in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Arc::new(new);
        Ok(())
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at incidents that are due, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            looks::run(Arc::clone(&self), stop.clone()),
            digests::run(Arc::clone(&self), stop)
        );
    }

    /// Somebody looks at it: its escalation ends. `None`: there is no such incident. Said twice, the first counts.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn ack(&self, id: IncidentId, by: &str) -> Result<Option<IncidentRow>, AckError> {
        for _ in 0..TRIES {
            let row = self.store.incident(id).await.map_err(Trouble::from)?;
            let Some(row) = row else { return Ok(None) };
            let mut incident = read(&row).await?;
            if !incident.is_firing() {
                return Err(AckError::Resolved);
            }
            if incident.ack.is_some() {
                return Ok(Some(row));
            }
            let now_ms = self.clock.wall_ms();
            incident.ack = Some(Ack {
                at_ms: now_ms,
                by: by.to_owned(),
                how: String::from("ack"),
            });
            incident.note(now_ms, format!("acknowledged by {by}"), None);
            let hold_until_ms = self.ready(&row.route, &mut incident, Some(&row)).await?;
            let planned = self.plan(&mut incident, Some(&row), false, None, hold_until_ms);
            let write = self.write(Place::of(&row), incident, planned).await?;
            if self.commit(vec![write]).await? {
                return Ok(self.store.incident(id).await.map_err(Trouble::from)?);
            }
        }
        Err(Trouble::Busy.into())
    }

    /// Writes them, all or none. `false`: somebody else changed one of them meanwhile.
    async fn commit(&self, writes: Vec<IncidentWrite>) -> Result<bool, Trouble> {
        match self.store.write_incidents(writes).await {
            Ok(_) => Ok(true),
            Err(IncidentError::Conflict) => Ok(false),
            Err(IncidentError::Full) => Err(Trouble::Full),
            Err(IncidentError::Flawed(flaws)) => {
                let places: Vec<&str> = flaws.iter().map(|flaw| &*flaw.pointer).collect();
                tracing::error!(?places, "a job of an incident does not fit what is stored");
                Err(Trouble::Broken)
            }
            Err(IncidentError::Store(error)) => Err(Trouble::Store(error)),
        }
    }

    /// What comes next for an incident; `row`: as it is stored, if it is.
    fn plan(
        &self,
        incident: &mut Incident,
        row: Option<&IncidentRow>,
        heard: bool,
        facts: Option<&Facts>,
        hold_until_ms: Option<i64>,
    ) -> Planned {
        let now_ms = self.clock.wall_ms();
        let view = View {
            now_ms,
            jobs: row.map_or(&[], |row| &row.jobs),
            digest: row.and_then(|row| row.digest.as_ref()),
            heard,
            hold_until_ms,
            quiet_until_ms: quiet(incident, now_ms),
            members_firing: row
                .filter(|row| row.is_digest)
                .map(|row| row.members_firing),
            facts,
        };
        plan(incident, &view)
    }

    /// The stripes of these groups, all at once and in one order, so that no two wait for each other.
    async fn stripes<'a>(
        &self,
        groups: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Vec<MutexGuard<'_, ()>> {
        let stripe = |group: (&str, &str)| {
            let mut hasher = DefaultHasher::new();
            group.hash(&mut hasher);
            usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0)
        };
        let mut places: Vec<usize> = groups.map(stripe).collect();
        places.sort_unstable();
        places.dedup();
        let mut held = Vec::with_capacity(places.len());
        for place in places {
            held.push(self.stripes[place].lock().await);
        }
        held
    }
}

/// Until when nobody is to be disturbed.
fn quiet(incident: &Incident, now_ms: i64) -> Option<i64> {
    let quiet = incident.policy.quiet.as_ref()?;
    quiet.ends_ms(now_ms)
}

/// What the row is about. A long one is read aside, so that it holds up nobody else.
async fn read(row: &IncidentRow) -> Result<Incident, Trouble> {
    let id = row.id;
    let parse = move |body: &str| {
        serde_json::from_str(body).map_err(|error| {
            // Not the body: it says what the alerts say.
            tracing::error!(incident = %id, line = error.line(), column = error.column(), "an incident cannot be read");
            Trouble::Broken
        })
    };
    if row.body.len() <= SMALL_BYTES {
        return parse(&row.body);
    }
    let body = row.body.clone();
    let read = tokio::task::spawn_blocking(move || parse(&body)).await;
    read.unwrap_or_else(|error| {
        tracing::error!(incident = %id, panicked = error.is_panic(), "an incident was not read to its end");
        Err(Trouble::Broken)
    })
}
