//! What storms are judged by: the cards of a place that wait, how much was told there lately, and whom a digest
//! speaks for. Every question is a seek in an index, and every answer has a bound.
//!
//! Not here: what too much is (`alerts`), what merging does to the jobs (`merge`).

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{
    IncidentId, IncidentRole, IncidentState, IncidentWrite, JobId, LastDigest, MemberCount, Step,
    StormMember, StormPlace, Wait, Weather,
};
use crate::store::incidents::read::incident_id;
use crate::store::writer::Tx;
use crate::store::{Store, StoreError};

/// Members that are read at one time, at most.
pub const MEMBERS_MAX: u32 = 500;
/// What was told counts for so long, seconds.
const TOLD_S: i64 = 60;
/// A digest says what its members are now so long after one changed, milliseconds: many change at once.
pub(super) const TOLD_AGAIN_MS: i64 = 2000;

/// Cards that wait unmarked for their place, the oldest first.
const WAITING: &str = "from incident
           join incident_job link on link.incident = incident.seq and link.role = 'card' and link.noticed = 0
           join job on job.seq = link.job and job.state = 'queued' and job.attempt = 0 and job.unknown_ms is null
                and job.blocked = 0
          where incident.route = ?1 and incident.app = ?2 and incident.receiver = ?3 and incident.waits_ms is not null
          order by incident.waits_ms limit ?4";
const MEMBER: &str =
    "incident.id, incident.version, incident.state, incident.severity, incident.title,
                incident.alerts, incident.tag, incident.opened_ms";

impl Store {
    /// How it looks at `place`, with its `look` oldest waiting cards.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn weather(&self, place: &StormPlace, look: usize) -> Result<Weather, StoreError> {
        weather(self, place, look).await.map_err(self.failed())
    }

    /// Places in which cards wait, at most `limit` of those after `after`, in order.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn storm_places(
        &self,
        after: Option<&StormPlace>,
        limit: usize,
    ) -> Result<Vec<StormPlace>, StoreError> {
        places(self, after, limit).await.map_err(self.failed())
    }

    /// Whose cards wait unmarked at `place`, `MEMBERS_MAX` of them at most, the oldest first.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn waiting_members(
        &self,
        place: &StormPlace,
    ) -> Result<Vec<StormMember>, StoreError> {
        let sql = format!("select {MEMBER}, job.id as job {WAITING}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&place.route)
            .bind(&place.app)
            .bind(&place.receiver)
            .bind(MEMBERS_MAX)
            .fetch_all(&self.shared.readers)
            .await
            .map_err(self.failed())?;
        Ok(rows.iter().filter_map(member).collect())
    }

    /// Who wants to be counted by the next digest of `place`, which is `digest` if that is there already;
    /// `MEMBERS_MAX` of them at most.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn wanting_members(
        &self,
        place: &StormPlace,
        digest: Option<IncidentId>,
    ) -> Result<Vec<StormMember>, StoreError> {
        let sql = format!(
            "select {MEMBER}, null as job from incident
              where route = ?1 and receiver = ?3 and wants_digest = 1 and app = ?2
                and digest is not (select seq from incident where id = ?5)
              order by seq limit ?4"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&place.route)
            .bind(&place.app)
            .bind(&place.receiver)
            .bind(MEMBERS_MAX)
            .bind(digest.as_ref().map(|id| id.0.as_slice()))
            .fetch_all(&self.shared.readers)
            .await
            .map_err(self.failed())?;
        Ok(rows.iter().filter_map(member).collect())
    }

    /// For whom `digest` speaks: how often one of them changed until now, how many there are, and the `worst`
    /// worst of them.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn members_of(
        &self,
        digest: IncidentId,
        worst: usize,
    ) -> Result<(i64, Vec<MemberCount>, Vec<StormMember>), StoreError> {
        members_of(self, digest, worst).await.map_err(self.failed())
    }
}

async fn weather(store: &Store, place: &StormPlace, look: usize) -> Result<Weather, sqlx::Error> {
    let now_ms = store.shared.clock.wall_ms();
    let mut snapshot = store.shared.readers.begin().await?;
    let told = sqlx::query_scalar(
        "select coalesce(sum(messages), 0) from told_second
          where route = ?1 and app = ?2 and receiver = ?3 and second > ?4 and second <= ?5",
    )
    .bind(&place.route)
    .bind(&place.app)
    .bind(&place.receiver)
    .bind(now_ms.div_euclid(1000) - TOLD_S)
    .bind(now_ms.div_euclid(1000))
    .fetch_one(&mut *snapshot)
    .await?;
    let sql = format!("select incident.waits_ms, job.stands = 0 and job.run_ms > ?5 {WAITING}");
    let waiting: Vec<(i64, bool)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(&place.route)
        .bind(&place.app)
        .bind(&place.receiver)
        .bind(i64::try_from(look).unwrap_or(i64::MAX))
        .bind(now_ms)
        .fetch_all(&mut *snapshot)
        .await?;
    let digest = sqlx::query(
        "select id, coalesce(joined_ms, opened_ms) as at_ms,
                coalesce((select state = 'queued' and attempt = 0 and unknown_ms is null from job
                           where seq = (select max(job) from incident_job
                                         where incident = incident.seq and role = 'card')), 0) as open
           from incident
          where route = ?1 and app = ?2 and receiver = ?3 and is_digest = 1
          order by seq desc limit 1",
    )
    .bind(&place.route)
    .bind(&place.app)
    .bind(&place.receiver)
    .fetch_optional(&mut *snapshot)
    .await?;
    let digest = digest.and_then(|row| {
        Some(LastDigest {
            id: incident_id(row.get("id"))?,
            at_ms: row.get("at_ms"),
            open: row.get("open"),
        })
    });
    let wait = |(since_ms, held)| Wait { since_ms, held };
    Ok(Weather {
        told,
        waiting: waiting.into_iter().map(wait).collect(),
        digest,
    })
}

async fn places(
    store: &Store,
    after: Option<&StormPlace>,
    limit: usize,
) -> Result<Vec<StormPlace>, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let mut places: Vec<StormPlace> = Vec::new();
    while places.len() < limit {
        let after = places.last().or(after);
        // From one place to the next in the index, however many wait at each.
        let next: Option<(String, String, String)> = sqlx::query_as(
            "select route, app, receiver from incident
              where waits_ms is not null and (route, app, receiver) > (?1, ?2, ?3)
              order by route, app, receiver limit 1",
        )
        .bind(after.map_or("", |place| &place.route))
        .bind(after.map_or("", |place| &place.app))
        .bind(after.map_or("", |place| &place.receiver))
        .fetch_optional(&mut *snapshot)
        .await?;
        let Some((route, app, receiver)) = next else {
            break;
        };
        places.push(StormPlace {
            route,
            app,
            receiver,
        });
    }
    Ok(places)
}

async fn members_of(
    store: &Store,
    digest: IncidentId,
    worst: usize,
) -> Result<(i64, Vec<MemberCount>, Vec<StormMember>), sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let row: Option<(i64, i64)> =
        sqlx::query_as("select seq, member_changes from incident where id = ?1")
            .bind(digest.0.as_slice())
            .fetch_optional(&mut *snapshot)
            .await?;
    let Some((seq, changes)) = row else {
        return Ok((0, Vec::new(), Vec::new()));
    };
    let counts: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "select state, severity, count(*), sum(alerts) from incident where digest = ?1 group by state, severity",
    )
    .bind(seq)
    .fetch_all(&mut *snapshot)
    .await?;
    let sql = format!(
        "select {MEMBER}, null as job from incident where digest = ?1
          order by state = 'resolved', severity desc, opened_ms limit ?2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(seq)
        .bind(i64::try_from(worst).unwrap_or(i64::MAX))
        .fetch_all(&mut *snapshot)
        .await?;
    let counts = counts
        .into_iter()
        .filter_map(|(state, severity, incidents, alerts)| {
            Some(MemberCount {
                state: IncidentState::from_name(&state)?,
                severity,
                incidents,
                alerts,
            })
        });
    let worst = rows.iter().filter_map(member).collect();
    Ok((changes, counts.collect(), worst))
}

fn member(row: &SqliteRow) -> Option<StormMember> {
    let job: Option<Vec<u8>> = row.get("job");
    Some(StormMember {
        id: incident_id(row.get("id"))?,
        version: row.get("version"),
        job: job.and_then(|id| id.try_into().ok()).map(JobId),
        state: IncidentState::from_name(row.get("state"))?,
        severity: row.get("severity"),
        title: row.get("title"),
        alerts: row.get("alerts"),
        tag: row.get("tag"),
        opened_ms: row.get("opened_ms"),
    })
}

/// Notes what the write of the incident `seq` has people read, and whether its card waits.
pub(super) async fn told(
    tx: &mut Tx<'_>,
    seq: i64,
    write: &IncidentWrite,
) -> Result<(), sqlx::Error> {
    let now_ms = tx.now.wall_ms;
    let (mut messages, mut waits) = (0, false);
    for step in &write.steps {
        match step {
            Step::Enqueue { role, job, .. } => match role {
                IncidentRole::Card => {
                    waits = true;
                    messages += i64::from(job.start_ms.is_none_or(|start_ms| start_ms <= now_ms));
                }
                IncidentRole::News | IncidentRole::Moved => messages += 1,
                IncidentRole::Update
                | IncidentRole::Pin
                | IncidentRole::Unpin
                | IncidentRole::Rung => {}
            },
            Step::Release { .. } => messages += 1,
            Step::Replace { .. } | Step::Cancel { .. } | Step::Forget { .. } => {}
        }
    }
    let (waits, joined) = (waits && !write.is_digest, !write.members.is_empty());
    if waits || joined {
        sqlx::query(
            "update incident set waits_ms = case when ?3 then ?2 else waits_ms end,
                                 joined_ms = case when ?4 then ?2 else joined_ms end
              where seq = ?1",
        )
        .bind(seq)
        .bind(now_ms)
        .bind(waits)
        .bind(joined)
        .execute(tx.conn().await?)
        .await?;
    }
    if messages > 0 {
        sqlx::query(
            "insert into told_second (route, app, receiver, second, messages) values (?1, ?2, ?3, ?4, ?5)
             on conflict do update set messages = messages + excluded.messages",
        )
        .bind(&write.route)
        .bind(&write.app)
        .bind(&write.receiver)
        .bind(now_ms.div_euclid(1000))
        .bind(messages)
        .execute(tx.conn().await?)
        .await?;
    }
    Ok(())
}

/// Of `jobs`, pairs of an incident and a job that ended or waits again: whose card does not wait any more.
pub(super) async fn settled(tx: &mut Tx<'_>, jobs: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update incident set waits_ms = null
          where seq in (select value ->> 0 from json_each(?1)) and waits_ms is not null
            and not exists (select 1 from incident_job link join job on job.seq = link.job
                             where link.incident = incident.seq and link.role = 'card' and link.noticed = 0
                               and job.state in ('queued', 'sending') and job.blocked = 0)",
    )
    .bind(jobs)
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

/// The digest `seq` must say soon what its members are by now.
pub(super) async fn member_changed(tx: &mut Tx<'_>, seq: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update incident set due_ms = min(coalesce(due_ms, ?2), ?2), member_changes = member_changes + 1 where seq = ?1")
        .bind(seq)
        .bind(tx.now.wall_ms.saturating_add(TOLD_AGAIN_MS))
        .execute(tx.conn().await?)
        .await?;
    Ok(())
}

/// The incidents `members` (JSON numbers) go to the digest `to`: those that they leave must say so.
pub(super) async fn members_leave(
    tx: &mut Tx<'_>,
    members: &str,
    to: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update incident set due_ms = min(coalesce(due_ms, ?3), ?3), member_changes = member_changes + 1
          where seq in (select digest from incident
                         where seq in (select value from json_each(?1)) and digest is not null and digest <> ?2)",
    )
    .bind(members)
    .bind(to)
    .bind(tx.now.wall_ms.saturating_add(TOLD_AGAIN_MS))
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

/// What was told long ago does not count any more.
pub(in crate::store) fn drop_told(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let until = tx.now.wall_ms.div_euclid(1000) - 2 * TOLD_S;
    tx.put("delete from told_second where second < ?1", &[until.into()])
}
