//! Writes incidents and what becomes of their jobs: everything of a request, or nothing.
//!
//! All is looked at before anything is written, so a request that does not fit needs no way back.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{
    IncidentId, IncidentRole, IncidentState, IncidentWrite, JobId, NewJob, State, Step,
};
use crate::store::incidents::{IncidentError, Written, merge, storm};
use crate::store::writer::Tx;
use crate::store::{AcceptError, accept, act, mark};

/// Jobs and rows that a request writes, about.
pub(in crate::store) fn weight(writes: &[IncidentWrite]) -> usize {
    let one = |write: &IncidentWrite| 1 + write.steps.len() + write.members.len();
    writes.iter().map(one).sum()
}

/// An incident as it was before the request.
struct Before {
    seq: i64,
    state: IncidentState,
    digest: Option<i64>,
    tag: String,
}

/// The members of a digest with their tags, and of them the jobs that merge.
type Members = (Vec<(i64, String)>, Vec<i64>);

/// What is known of what a request names, once all of it fits.
struct Ground {
    /// The incidents that were there.
    before: HashMap<IncidentId, Before>,
    /// The jobs that steps name.
    jobs: HashMap<JobId, i64>,
    /// For each write its members.
    members: Vec<Members>,
    /// For each write the job that shows the digest, if it is there already.
    shows: Vec<Option<i64>>,
}

pub(in crate::store) async fn write(
    tx: &mut Tx<'_>,
    writes: &[IncidentWrite],
) -> Result<Written, sqlx::Error> {
    let Some(ground) = ground(tx, writes).await? else {
        return Ok(Err(IncidentError::Conflict));
    };
    let ids = match enqueue(tx, writes).await? {
        Ok(ids) => ids,
        Err(error) => return Ok(Err(error)),
    };
    let mut seqs = Vec::with_capacity(writes.len());
    for write in writes {
        let before = ground.before.get(&write.id);
        seqs.push(put(tx, write, before.map(|before| before.seq)).await?);
        tx.changes.incidents.is_due |= write.due_ms.is_some_and(|due| due <= tx.now.wall_ms);
    }
    let mut digests = HashSet::new();
    for (n, write) in writes.iter().enumerate() {
        let shows = own(tx, seqs[n], write, &ids[n]).await?.or(ground.shows[n]);
        for step in &write.steps {
            change(tx, &ground, step).await?;
        }
        let (members, jobs) = &ground.members[n];
        join(tx, seqs[n], members).await?;
        storm::told(tx, seqs[n], write).await?;
        if let Some(shows) = shows {
            merge::merge(tx, shows, jobs).await?;
        }
        let before = ground.before.get(&write.id);
        let news = before.filter(|before| before.tag != write.tag || write.leave_digest);
        if let Some(digest) = news.and_then(|before| before.digest) {
            storm::member_changed(tx, digest).await?;
        }
        let gone = |before: &&Before| {
            before.state == IncidentState::Firing
                && (write.state != IncidentState::Firing || write.leave_digest)
        };
        digests.extend(before.filter(gone).and_then(|before| before.digest));
    }
    for digest in digests {
        calm(tx, digest).await?;
    }
    Ok(Ok(ids))
}

/// Looks whether everything is as its writer saw it. `None`: it is not.
async fn ground(tx: &mut Tx<'_>, writes: &[IncidentWrite]) -> Result<Option<Ground>, sqlx::Error> {
    let mut ground = Ground {
        before: HashMap::new(),
        jobs: HashMap::new(),
        members: Vec::with_capacity(writes.len()),
        shows: Vec::with_capacity(writes.len()),
    };
    let (mut ids, mut groups) = (HashSet::new(), HashSet::new());
    for write in writes {
        if !ids.insert(write.id) || !groups.insert((&write.route, &write.group)) {
            return Ok(None);
        }
        let seq = match write.version {
            Some(version) => {
                let Some(before) = before(tx, write.id, version).await? else {
                    return Ok(None);
                };
                let seq = before.seq;
                ground.before.insert(write.id, before);
                Some(seq)
            }
            None if is_next(tx, write).await? => None,
            None => return Ok(None),
        };
        for step in &write.steps {
            let (job, fits): (&JobId, fn(&Of) -> bool) = match step {
                Step::Enqueue { .. } => continue,
                Step::Replace { job, .. } | Step::Release { job } => {
                    (job, |of| of.is_fresh && !of.is_merged)
                }
                Step::Cancel { job, .. } => (job, |of| of.state == State::Queued),
                Step::Forget { job } => (job, |of| !of.state.is_pending()),
            };
            let Some(of) = job_of(tx, *job, seq).await?.filter(fits) else {
                return Ok(None);
            };
            ground.jobs.insert(*job, of.seq);
        }
        let Some(members) = members(tx, write).await? else {
            return Ok(None);
        };
        let new = write.steps.iter().any(shows_new);
        let shows = match members.1.is_empty() || new {
            true => None,
            false => match newest_card(tx, seq).await? {
                Some(of) if of.is_fresh => Some(of.seq),
                _ => return Ok(None),
            },
        };
        ground.members.push(members);
        ground.shows.push(shows);
    }
    Ok(Some(ground))
}

fn shows_new(step: &Step) -> bool {
    matches!(step, Step::Enqueue { role, .. } if *role == IncidentRole::Card)
}

async fn before(
    tx: &mut Tx<'_>,
    id: IncidentId,
    version: i64,
) -> Result<Option<Before>, sqlx::Error> {
    let row =
        sqlx::query("select seq, state, digest, tag from incident where id = ?1 and version = ?2")
            .bind(id.0.as_slice())
            .bind(version)
            .fetch_optional(tx.conn().await?)
            .await?;
    Ok(row.and_then(|row| {
        Some(Before {
            seq: row.get(0),
            state: IncidentState::from_name(row.get(1))?,
            digest: row.get(2),
            tag: row.get(3),
        })
    }))
}

/// Is a new incident still the next of its group?
async fn is_next(tx: &mut Tx<'_>, write: &IncidentWrite) -> Result<bool, sqlx::Error> {
    let newest: Option<Vec<u8>> = sqlx::query_scalar(
        "select id from incident where route = ?1 and group_key = ?2 order by seq desc limit 1",
    )
    .bind(&write.route)
    .bind(&write.group)
    .fetch_optional(tx.conn().await?)
    .await?;
    let taken: bool = sqlx::query_scalar("select exists (select 1 from incident where id = ?1)")
        .bind(write.id.0.as_slice())
        .fetch_one(tx.conn().await?)
        .await?;
    let after = write.after.as_ref().map(|after| after.0.as_slice());
    Ok(!taken && newest.as_deref() == after)
}

/// A job of an incident, as a step needs to know it.
struct Of {
    seq: i64,
    state: State,
    /// Queued, and no attempt was made: nobody has seen what it says.
    is_fresh: bool,
    is_merged: bool,
    /// Its deadline is over, and no sweep has seen that yet.
    is_overdue: bool,
}

impl Of {
    fn read(row: &SqliteRow) -> Option<Of> {
        Some(Of {
            seq: row.get(0),
            state: State::from_name(row.get(1))?,
            is_fresh: row.get(2),
            is_merged: row.get(3),
            is_overdue: row.get(4),
        })
    }
}

async fn job_of(
    tx: &mut Tx<'_>,
    id: JobId,
    incident: Option<i64>,
) -> Result<Option<Of>, sqlx::Error> {
    let row = sqlx::query(
        "select seq, state, state = 'queued' and attempt = 0 and unknown_ms is null,
                exists (select 1 from dependency where child = job.seq and role = 'merged'),
                coalesce(deadline_ms <= ?3, 0)
           from job where id = ?1 and incident = ?2",
    )
    .bind(id.0.as_slice())
    .bind(incident)
    .bind(tx.now.wall_ms)
    .fetch_optional(tx.conn().await?)
    .await?;
    Ok(row.as_ref().and_then(Of::read))
}

/// The job that shows a digest now.
async fn newest_card(tx: &mut Tx<'_>, digest: Option<i64>) -> Result<Option<Of>, sqlx::Error> {
    let row = sqlx::query(
        "select seq, state, state = 'queued' and attempt = 0 and unknown_ms is null, 0, 0
           from job where seq = (select max(job) from incident_job where incident = ?1 and role = 'card')",
    )
    .bind(digest)
    .fetch_optional(tx.conn().await?)
    .await?;
    Ok(row.as_ref().and_then(Of::read))
}

/// The members of a digest and their jobs that merge. `None`: one is not any more what it was.
async fn members(tx: &mut Tx<'_>, write: &IncidentWrite) -> Result<Option<Members>, sqlx::Error> {
    let (mut members, mut jobs) = (Vec::new(), Vec::new());
    for member in &write.members {
        let Some(before) = before(tx, member.id, member.version).await? else {
            return Ok(None);
        };
        if let Some(job) = member.job {
            match job_of(tx, job, Some(before.seq)).await? {
                // What is too old to be shown is not shown by others either.
                Some(of) if of.is_fresh && !of.is_merged && !of.is_overdue => jobs.push(of.seq),
                _ => return Ok(None),
            }
        }
        members.push((before.seq, member.tag.clone()));
    }
    Ok(Some((members, jobs)))
}

/// Makes the jobs of all writes; returns them by write.
async fn enqueue(tx: &mut Tx<'_>, writes: &[IncidentWrite]) -> Result<Written, sqlx::Error> {
    let mut jobs: Vec<NewJob> = Vec::new();
    let mut counts = Vec::with_capacity(writes.len());
    let mut bounded_count = 0;
    for write in writes {
        let before = jobs.len();
        for step in &write.steps {
            if let Step::Enqueue { job, bounded, .. } = step {
                jobs.push(NewJob::clone(job));
                bounded_count += usize::from(*bounded);
            }
        }
        counts.push(jobs.len() - before);
    }
    if jobs.is_empty() {
        return Ok(Ok(counts.iter().map(|_| Vec::new()).collect()));
    }
    Ok(
        match accept::for_incidents(tx, &jobs, bounded_count).await? {
            Ok(ids) => {
                let mut ids = ids.into_iter();
                let by_write = counts
                    .iter()
                    .map(|count| ids.by_ref().take(*count).collect());
                Ok(by_write.collect())
            }
            Err(AcceptError::Full) => Err(IncidentError::Full),
            Err(AcceptError::Flawed(flaws)) => Err(IncidentError::Flawed(flaws)),
            Err(AcceptError::Store(error)) => Err(IncidentError::Store(error)),
            // These jobs have no keys.
            Err(AcceptError::KeyTaken { .. }) => Err(IncidentError::Conflict),
        },
    )
}

/// Writes the row of an incident; returns its number.
async fn put(tx: &mut Tx<'_>, write: &IncidentWrite, seq: Option<i64>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "insert into incident (seq, id, version, route, group_key, app, receiver, client, state, severity, title, body,
                               is_digest, wants_digest, opened_ms, changed_ms, ended_ms, due_ms, message_id, alerts, tag)
         values (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?20, ?21)
         on conflict (seq) do update set
            version = version + 1, route = excluded.route, group_key = excluded.group_key, app = excluded.app,
            receiver = excluded.receiver, client = excluded.client, state = excluded.state, severity = excluded.severity,
            title = excluded.title, alerts = excluded.alerts, tag = excluded.tag, body = excluded.body, is_digest = excluded.is_digest,
            wants_digest = excluded.wants_digest, opened_ms = excluded.opened_ms, changed_ms = excluded.changed_ms,
            ended_ms = excluded.ended_ms,
            due_ms = case when member_changes > ?22 then min(coalesce(excluded.due_ms, ?23), ?23) else excluded.due_ms end, message_id = excluded.message_id,
            digest = case when ?19 then null else digest end,
            digest_tag = case when ?19 then null else digest_tag end
         returning seq",
    )
    .bind(seq)
    .bind(write.id.0.as_slice())
    .bind(&write.route)
    .bind(&write.group)
    .bind(&write.app)
    .bind(&write.receiver)
    .bind(&write.client)
    .bind(write.state.name())
    .bind(write.severity)
    .bind(&write.title)
    .bind(&write.body)
    .bind(write.is_digest)
    .bind(write.wants_digest)
    .bind(write.opened_ms)
    .bind(tx.now.wall_ms)
    .bind(write.ended_ms)
    .bind(write.due_ms)
    .bind(&write.message_id)
    .bind(write.leave_digest)
    .bind(write.alerts)
    .bind(&write.tag)
    .bind(write.members_seen)
    .bind(tx.now.wall_ms + storm::TOLD_AGAIN_MS)
    .fetch_one(tx.conn().await?)
    .await
}

/// The new jobs `ids` belong to the incident `seq`. Returns the number of its new card.
async fn own(
    tx: &mut Tx<'_>,
    seq: i64,
    write: &IncidentWrite,
    ids: &[JobId],
) -> Result<Option<i64>, sqlx::Error> {
    let new = write.steps.iter().filter_map(|step| match step {
        Step::Enqueue { role, n, tag, .. } => Some((role, n, tag)),
        _ => None,
    });
    let links: Vec<_> = new
        .zip(ids)
        .map(|((role, n, tag), id)| json!([id.hex(), role, n, tag]))
        .collect();
    if links.is_empty() {
        return Ok(None);
    }
    let links = json!(links).to_string();
    sqlx::query(
        "update job set incident = ?2 where id in (select unhex(value ->> 0) from json_each(?1))",
    )
    .bind(&links)
    .bind(seq)
    .execute(tx.conn().await?)
    .await?;
    sqlx::query(
        "insert into incident_job (incident, job, role, n, tag)
         select ?2, job.seq, value ->> 1, value ->> 2, value ->> 3
           from json_each(?1) join job on job.id = unhex(value ->> 0)",
    )
    .bind(&links)
    .bind(seq)
    .execute(tx.conn().await?)
    .await?;
    if !write.steps.iter().any(shows_new) {
        return Ok(None);
    }
    sqlx::query_scalar("select max(job) from incident_job where incident = ?1 and role = 'card'")
        .bind(seq)
        .fetch_one(tx.conn().await?)
        .await
}

async fn change(tx: &mut Tx<'_>, ground: &Ground, step: &Step) -> Result<(), sqlx::Error> {
    let seq = |job: &JobId| ground.jobs.get(job).copied().unwrap_or_default();
    match step {
        Step::Enqueue { .. } => Ok(()),
        Step::Replace {
            job,
            args,
            expires_ms,
            degraded,
            tag,
        } => {
            // What is said is new, and so is the time that it is given.
            sqlx::query(
                "update job set args = ?2, size = length(cast(?2 as blob)), expires_ms = ?3,
                                deadline_ms = case when blocked > 0 then ?3 else coalesce(?3, max(run_ms, ?4) + ?5) end,
                                rung = coalesce(?6 ->> 'rung', 0), degraded = ?6
                  where seq = ?1 and state = 'queued' and attempt = 0",
            )
            .bind(seq(job))
            .bind(args)
            .bind(expires_ms)
            .bind(tx.now.wall_ms)
            .bind(tx.options.give_up_ms)
            .bind(degraded.as_ref().and_then(|down| serde_json::to_string(down).ok()))
            .execute(tx.conn().await?)
            .await?;
            sqlx::query(
                "update incident_job set tag = ?2
                  where job = ?1 and incident = (select incident from job where seq = ?1)",
            )
            .bind(seq(job))
            .bind(tag)
            .execute(tx.conn().await?)
            .await?;
            tx.changes.touched.push(*job);
            Ok(())
        }
        Step::Release { job } => release(tx, seq(job), *job).await,
        Step::Cancel { job, why } => act::cancel_unwanted(tx, seq(job), why).await,
        Step::Forget { job } => {
            sqlx::query(
                "update incident_job set noticed = 1
                  where job = ?1 and incident = (select incident from job where seq = ?1)",
            )
            .bind(seq(job))
            .execute(tx.conn().await?)
            .await?;
            Ok(())
        }
    }
}

/// A job that waits for its time only stands in its lane now.
async fn release(tx: &mut Tx<'_>, seq: i64, id: JobId) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "update job set run_ms = ?2, stands = case when blocked = 0 then 1 else 0 end,
                        deadline_ms = case when blocked > 0 then expires_ms else coalesce(expires_ms, ?2 + ?3) end
          where seq = ?1 and state = 'queued' and stands = 0 and parked = 0 and run_ms > ?2
         returning *",
    )
    .bind(seq)
    .bind(tx.now.wall_ms)
    .bind(tx.options.give_up_ms)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    tx.changes.touched.push(id);
    if row.get::<i64, _>("stands") == 1 {
        tx.changes.stood.extend(mark::head(&row));
    }
    Ok(())
}

/// The digest `seq` speaks for `members` from now on.
async fn join(tx: &mut Tx<'_>, seq: i64, members: &[(i64, String)]) -> Result<(), sqlx::Error> {
    if members.is_empty() {
        return Ok(());
    }
    let seqs: Vec<i64> = members.iter().map(|(member, _)| *member).collect();
    storm::members_leave(tx, &json!(seqs).to_string(), seq).await?;
    sqlx::query(
        "update incident set digest = ?2, digest_tag = given.tag, wants_digest = 0, waits_ms = null,
                version = version + 1, changed_ms = ?3
           from (select value ->> 0 as seq, value ->> 1 as tag from json_each(?1)) given
          where incident.seq = given.seq",
    )
    .bind(json!(members).to_string())
    .bind(seq)
    .bind(tx.now.wall_ms)
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

/// A member of `digest` does not fire any more, or somebody looks at it. Was it the last, nobody is called for
/// the digest from this moment on, and somebody must look at it.
async fn calm(tx: &mut Tx<'_>, digest: i64) -> Result<(), sqlx::Error> {
    let firing: bool = sqlx::query_scalar(
        "select exists (select 1 from incident where digest = ?1 and state = 'firing')",
    )
    .bind(digest)
    .fetch_one(tx.conn().await?)
    .await?;
    if firing {
        return Ok(());
    }
    let rungs: Vec<i64> = sqlx::query_scalar(
        "select link.job from incident_job link join job on job.seq = link.job
          where link.incident = ?1 and link.noticed = 0 and link.role = 'rung' and job.state = 'queued'",
    )
    .bind(digest)
    .fetch_all(tx.conn().await?)
    .await?;
    for rung in rungs {
        act::cancel_unwanted(tx, rung, "none of the incidents in the digest fires unseen").await?;
    }
    tx.changes.incidents.woken.push(digest);
    Ok(())
}
