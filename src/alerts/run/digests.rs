//! Storms: places where cards wait are looked at each second, and what waits there too long becomes a digest.
//!
//! A digest is an incident whose alerts are other incidents. It is made, or taken further as long as nobody has seen
//! it, in one write with those for whom it speaks; how they stand is counted by the store whenever the digest is
//! looked at. At most `MEMBERS_MAX` of them are in memory at a time.
//! Not here: when (`storm`), what merging does to the jobs (`store::incidents`).

use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::alerts::incident::{Card, Digest, Incident, News};
use crate::alerts::run::write::Place;
use crate::alerts::run::{Alerts, TRIES, Trouble, read};
use crate::alerts::storm::{self, LINES, LOOK, Turn};
use crate::clock::LOOK_AGAIN;
use crate::job::{IncidentId, IncidentRow, Member, State, Step, StormMember, StormPlace, Weather};
use crate::store::MEMBERS_MAX;

/// Places that are looked at in one go.
const PLACES: usize = 100;
/// Pieces of a backlog that are merged before others have their turn.
const PIECES: usize = 40;
/// A digest that is not complete waits so long for the rest of a backlog, milliseconds.
const REST_MS: i64 = 1500;
/// When others change members all the time, so many are tried together at least.
const MEMBERS_MIN: usize = 8;

/// Looks after storms, until `stop`.
pub(super) async fn run(alerts: Arc<Alerts>, stop: CancellationToken) {
    let mut after = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK_AGAIN) => {}
        }
        if let Err(error) = alerts.storms(&mut after).await {
            tracing::warn!(%error, "waiting cards cannot be looked at");
        }
    }
}

impl Alerts {
    /// What must be known before a plan: until when a new card is held; and of a digest how its members stand, which
    /// it says from now on.
    pub(super) async fn ready(
        &self,
        route: &str,
        incident: &mut Incident,
        row: Option<&IncidentRow>,
    ) -> Result<Option<i64>, Trouble> {
        if let (Some(before), Some(row)) = (&incident.digest, row) {
            let digest = self.counted(row.id, before).await?;
            self.say(incident, digest);
            return Ok(None);
        }
        let counted = row.and_then(|row| row.digest.as_ref());
        let counted = counted.is_some_and(|link| link.state == State::Done);
        let worse = |level| incident.severity() > level;
        let worse = incident.news.level.is_some_and(worse);
        let speaks = !counted || worse || !incident.news.alerts.is_empty();
        if incident.card.message_id.is_some() || incident.digest.is_some() || !speaks {
            return Ok(None);
        }
        let place = StormPlace {
            route: route.to_owned(),
            app: incident.policy.app.clone(),
            receiver: incident.receiver().to_owned(),
        };
        let weather = self.store.weather(&place, LOOK).await?;
        Ok(storm::hold(&weather, self.clock.wall_ms()))
    }

    /// What a digest says by now.
    async fn counted(&self, id: IncidentId, before: &Digest) -> Result<Digest, Trouble> {
        let (seen, counts, worst) = self.store.members_of(id, LINES).await?;
        let digest = storm::moved(storm::digest(&counts, &worst), storm::ever(before));
        Ok(Digest { seen, ..digest })
    }

    fn say(&self, incident: &mut Incident, digest: Digest) {
        let now_ms = self.clock.wall_ms();
        incident.ended_ms = match digest.firing {
            0 => incident.ended_ms.or(Some(now_ms)),
            _ => None,
        };
        incident.digest = Some(digest);
    }

    /// Looks at the places after `after`, as many as have their turn.
    async fn storms(&self, after: &mut Option<StormPlace>) -> Result<(), Trouble> {
        let places = self.store.storm_places(after.as_ref(), PLACES).await?;
        *after = match places.len() {
            PLACES => places.last().cloned(),
            _ => None,
        };
        for place in &places {
            let weather = self.store.weather(place, LOOK).await?;
            let done = match storm::turn(&weather, self.clock.wall_ms()) {
                Turn::Rest => Ok(()),
                Turn::LetGo => self.let_go(place).await,
                Turn::Merge => self.merge(place, &weather).await,
            };
            if let Err(error) = done {
                tracing::warn!(route = place.route, %error, "a digest could not be made; it is tried again");
            }
        }
        Ok(())
    }

    /// The one card that is held there goes by itself.
    async fn let_go(&self, place: &StormPlace) -> Result<(), Trouble> {
        for _ in 0..TRIES {
            let waiting = self.store.waiting_members(place).await?;
            let [member] = &*waiting else { return Ok(()) };
            let Some((row, job)) = self.store.incident(member.id).await?.zip(member.job) else {
                return Ok(());
            };
            let mut incident = read(&row).await?;
            let planned = self.plan(&mut incident, Some(&row), false, None, None);
            let mut write = self.write(Place::of(&row), incident, planned).await?;
            let canceled =
                |step: &Step| matches!(step, Step::Cancel { job: other, .. } if *other == job);
            if !write.steps.iter().any(canceled) {
                write.steps.push(Step::Release { job });
            }
            if self.commit(vec![write]).await? {
                return Ok(());
            }
        }
        Err(Trouble::Busy)
    }

    /// All that wait there become one.
    async fn merge(&self, place: &StormPlace, weather: &Weather) -> Result<(), Trouble> {
        let mut open = weather
            .digest
            .filter(|digest| digest.open)
            .map(|digest| digest.id);
        let mut most = usize::try_from(MEMBERS_MAX).unwrap_or(usize::MAX);
        for _ in 0..PIECES {
            let mut members = self.store.waiting_members(place).await?;
            if members.is_empty() {
                break;
            }
            let rest = members.len() >= most;
            members.truncate(most);
            // Those whom a digest speaks for already come along when there is room for them.
            if !rest {
                let wanting = self.store.wanting_members(place, open).await?;
                members.extend(wanting.into_iter().take(most));
            }
            match self.digest(place, open, members, rest).await? {
                Some(_) if !rest => break,
                Some(id) => open = Some(id),
                None => {
                    most = (most / 2).max(MEMBERS_MIN);
                    let weather = self.store.weather(place, LOOK).await?;
                    open = weather
                        .digest
                        .filter(|digest| digest.open)
                        .map(|digest| digest.id);
                }
            }
        }
        Ok(())
    }

    /// The digest `open`, or a new one, speaks for `members` too. `None`: somebody else changed one of them meanwhile.
    async fn digest(
        &self,
        place: &StormPlace,
        open: Option<IncidentId>,
        members: Vec<StormMember>,
        rest: bool,
    ) -> Result<Option<IncidentId>, Trouble> {
        let row = match open {
            Some(id) => self.store.incident(id).await?,
            None => None,
        };
        let (mut incident, at) = match &row {
            Some(row) => (read(row).await?, Place::of(row)),
            None => match self.begun(place, &members).await? {
                Some(begun) => begun,
                None => return Ok(None),
            },
        };
        let before = incident.digest.take().unwrap_or_default();
        let mut digest = match &row {
            Some(row) => self.counted(row.id, &before).await?,
            None => before,
        };
        storm::extend(&mut digest, &members);
        self.say(&mut incident, digest);
        let now_ms = self.clock.wall_ms();
        incident.note(now_ms, format!("speaks for {} more", members.len()), None);
        let until_ms = rest.then(|| now_ms + REST_MS);
        let planned = self.plan(&mut incident, row.as_ref(), false, None, until_ms);
        let id = at.id;
        let mut write = self.write(at, incident, planned).await?;
        write.members = members
            .into_iter()
            .map(|member| Member {
                id: member.id,
                version: member.version,
                tag: member.tag,
                job: member.job,
            })
            .collect();
        Ok(self.commit(vec![write]).await?.then_some(id))
    }

    /// A digest that speaks for nobody yet, by the word of the route to the worst of `members`.
    async fn begun(
        &self,
        place: &StormPlace,
        members: &[StormMember],
    ) -> Result<Option<(Incident, Place)>, Trouble> {
        let worst = members.iter().max_by_key(|member| member.severity);
        let row = match worst {
            Some(worst) => self.store.incident(worst.id).await?,
            None => None,
        };
        let Some(row) = row else { return Ok(None) };
        let (now_ms, of) = (self.clock.wall_ms(), read(&row).await?);
        let id = IncidentId::new(now_ms);
        let group = format!("digest {id}");
        let incident = Incident {
            group_key: group.clone(),
            group_labels: Default::default(),
            alerts: Default::default(),
            truncated: 0,
            opened_ms: now_ms,
            heard_ms: now_ms,
            ended_ms: None,
            reopened: 0,
            reopened_ms: None,
            over: Default::default(),
            ack: None,
            stale: false,
            card: Card {
                fallback: of.card.fallback,
                ..Card::default()
            },
            news: News::default(),
            rungs: Vec::new(),
            round: Default::default(),
            digest: Some(Digest::default()),
            log: Vec::new(),
            ..of
        };
        let at = Place {
            id,
            version: None,
            after: None,
            route: place.route.clone(),
            group,
            client: row.client,
            is_digest: true,
        };
        Ok(Some((incident, at)))
    }
}
