//! Accepts requests: all of one or nothing of it, with keys, children and named jobs resolved.
//!
//! Keys are looked up before anything is written; the one writer makes that safe.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use sqlx::Row;

use crate::job::{
    AppId, Flaw, Head, JobId, Kind, LaneRule, Makes, Marked, MarkedPart, Needs, NewJob, OnRefused,
    Role, Spent, State,
};
use crate::store::dependents::Made;
use crate::store::holders::{Holder, Holders, Place, holders};
use crate::store::insert::{self, NewRow, alone};
use crate::store::mark;
use crate::store::receivers;
use crate::store::writer::Tx;
use crate::store::{
    AcceptError, Accepted, Cause, Failure, StoreError, dependents, fold, fresh, openapis, upload,
};

/// A stored job that a request names.
#[derive(Debug)]
struct Known {
    seq: i64,
    app: AppId,
    kind: Kind,
    state: State,
    receiver: Option<String>,
    made: Made,
}

/// What is known of what a request names.
#[derive(Default)]
struct Names {
    jobs: HashMap<JobId, Known>,
    /// To whom the messages of these ids went.
    receivers: HashMap<(AppId, String), String>,
}

/// What one request adds.
#[derive(Default)]
struct Plan {
    rows: Vec<NewRow>,
    dependencies: Vec<(i64, i64, &'static str)>,
    parts: Vec<(i64, i64, String, i64)>,
    uploads: Vec<String>,
    named: Vec<i64>,
    keys: Vec<(Place, Holder)>,
    uuids: Vec<(openapis::Space, JobId)>,
    accepted: Vec<Accepted>,
    flaws: Vec<Flaw>,
    /// Nobody asks what its jobs are like.
    untold: bool,
}

impl Plan {
    /// Jobs that count towards `max_pending`.
    fn producers(&self) -> i64 {
        self.rows.iter().filter(|row| !row.own).count() as i64
    }
}

/// Accepts each request by itself; those refused leave nothing behind.
pub(super) async fn apply(
    tx: &mut Tx<'_>,
    requests: &[&[NewJob]],
) -> Result<Vec<Result<Vec<Accepted>, AcceptError>>, sqlx::Error> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut holders = holders(tx, requests).await?;
    let mut firsts = openapis::firsts(tx, requests).await?;
    let known = Names {
        jobs: known(tx, requests).await?,
        receivers: receivers::of(tx, requests).await?,
    };
    let mut plans = Vec::with_capacity(requests.len());
    let mut pending = tx.memory.pending();
    for jobs in requests {
        let plan = plan(tx, jobs, (&holders, &firsts), &known);
        let plan = plan.and_then(|plan| {
            let new = plan.producers();
            fits(tx, plan, pending, new)
        });
        if let Ok(plan) = &plan {
            holders.extend(plan.keys.iter().cloned());
            firsts.extend(plan.uuids.iter().cloned());
            pending += plan.producers();
        }
        plans.push(plan);
    }
    write(tx, &mut plans).await?;
    Ok(plans
        .into_iter()
        .map(|plan| plan.map(|plan| plan.accepted))
        .collect())
}

/// Accepts jobs of incidents, all or none; `bounded` of them count against a full queue.
pub(super) async fn for_incidents(
    tx: &mut Tx<'_>,
    jobs: &[NewJob],
    bounded: usize,
) -> Result<Result<Vec<JobId>, AcceptError>, sqlx::Error> {
    let requests = [jobs];
    let known = Names {
        jobs: known(tx, &requests).await?,
        receivers: receivers::of(tx, &requests).await?,
    };
    let none = (&Holders::new(), &openapis::Firsts::new());
    let plan = plan(tx, jobs, none, &known);
    match plan.and_then(|plan| fits(tx, plan, tx.memory.pending(), bounded as i64)) {
        Ok(mut plan) => {
            plan.untold = true;
            let ids = plan.accepted.iter().map(|one| one.id).collect();
            write(tx, &mut [Ok(plan)]).await?;
            Ok(Ok(ids))
        }
        Err(error) => Ok(Err(error)),
    }
}

fn fits(tx: &Tx<'_>, plan: Plan, pending: i64, new: i64) -> Result<Plan, AcceptError> {
    if !plan.flaws.is_empty() {
        return Err(AcceptError::Flawed(plan.flaws));
    }
    let max = i64::try_from(tx.options.max_pending).unwrap_or(i64::MAX);
    if new > 0 && pending.saturating_add(new) > max {
        return Err(AcceptError::Full);
    }
    Ok(plan)
}

fn referenced(job: &NewJob, ids: &mut Vec<JobId>) {
    ids.extend(job.references.iter().filter_map(|reference| reference.job));
    job.then.iter().for_each(|child| referenced(child, ids));
}

async fn known(
    tx: &mut Tx<'_>,
    requests: &[&[NewJob]],
) -> Result<HashMap<JobId, Known>, sqlx::Error> {
    let mut ids = Vec::new();
    requests
        .iter()
        .flat_map(|jobs| jobs.iter())
        .for_each(|job| referenced(job, &mut ids));
    let mut known = HashMap::new();
    if ids.is_empty() {
        return Ok(known);
    }
    let ids: Vec<String> = ids.into_iter().map(JobId::hex).collect();
    let rows = sqlx::query(
        "select id, seq, app, kind, state, message_id,
                coalesce(receipt ->> 'image_key', receipt ->> 'file_key', receipt ->> 'reaction_id'),
                (select json_group_array(batch_message_id) from part where job = seq and batch_message_id is not null),
                receiver
           from job
          where id in (select unhex(value) from json_each(?1))",
    )
    .bind(json!(ids).to_string())
    .fetch_all(tx.conn().await?)
    .await?;
    for row in rows {
        let parsed = (|| {
            let id = JobId(row.get::<Vec<u8>, _>(0).try_into().ok()?);
            let kind = Kind::from_name(row.get(3))?;
            let state = State::from_name(row.get(4))?;
            let batches = serde_json::from_str(row.get(7)).unwrap_or_default();
            Some((
                id,
                Known {
                    seq: row.get(1),
                    app: AppId(row.get(2)),
                    kind,
                    state,
                    receiver: row.get(8),
                    made: Made {
                        id,
                        makes: kind.makes(),
                        message_id: row.get(5),
                        key: row.get(6),
                        batches,
                    },
                },
            ))
        })();
        known.extend(parsed);
    }
    Ok(known)
}

/// The job that a job being planned hangs on.
#[derive(Clone, Copy)]
struct Above {
    seq: i64,
    row: usize,
}

fn plan(
    tx: &mut Tx<'_>,
    jobs: &[NewJob],
    (holders, firsts): (&Holders, &openapis::Firsts),
    known: &Names,
) -> Result<Plan, AcceptError> {
    let mut plan = Plan::default();
    for (index, job) in jobs.iter().enumerate() {
        let Some(app) = tx.app_id(&job.app) else {
            plan.flaws.push(Flaw {
                pointer: String::from("/app"),
                detail: format!("unknown app {:?}", job.app),
            });
            continue;
        };
        let space = openapis::space(app, job);
        if let Some(first) = space.as_ref().and_then(|space| firsts.get(space)) {
            plan.accepted.push(Accepted {
                id: *first,
                repeated: true,
                fresh: None,
            });
            continue;
        }
        if let Some(key) = &job.key {
            let place = (app, job.client.clone(), key.text.clone());
            let holder = holders.get(&place).copied().or_else(|| {
                plan.keys
                    .iter()
                    .find(|(one, _)| *one == place)
                    .map(|(_, holder)| *holder)
            });
            match holder {
                Some((id, hash)) if hash == key.hash => {
                    plan.accepted.push(Accepted {
                        id,
                        repeated: true,
                        fresh: None,
                    });
                    continue;
                }
                Some((holder, _)) => return Err(AcceptError::KeyTaken { index, holder }),
                None => {}
            }
        }
        let id = place(tx, &mut plan, job, app, None, known);
        plan.uuids.extend(space.map(|space| (space, id)));
        if let Some(key) = &job.key {
            plan.keys
                .push(((app, job.client.clone(), key.text.clone()), (id, key.hash)));
        }
        plan.accepted.push(Accepted {
            id,
            repeated: false,
            fresh: None,
        });
    }
    Ok(plan)
}

/// Puts one job and all below it into the plan.
fn place(
    tx: &mut Tx<'_>,
    plan: &mut Plan,
    job: &NewJob,
    app: AppId,
    above: Option<Above>,
    known: &Names,
) -> JobId {
    let id = tx.next_id();
    let seq = tx.next_seq();
    let mut taken = Taken::default();
    let args = first(tx, plan, job, (app, seq), &mut taken, known);
    for reference in &job.references {
        let from = above.filter(|_| reference.job.is_none());
        match (from, reference.job.and_then(|id| known.jobs.get(&id))) {
            (Some(from), _) => {
                plan.rows[from.row].dependents += 1;
                let above = plan.rows[from.row].head.receiver.as_deref();
                taken.receiver = above.map(str::to_owned);
                taken.waits_for(from.seq, seq, reference.role);
            }
            (None, Some(known)) => take(plan, &mut taken, known, reference, app, seq),
            (None, None) => plan.flaws.push(Flaw {
                pointer: reference.pointer.clone(),
                detail: String::from("no such job"),
            }),
        }
    }
    // A child waits for its parent even when it names another job.
    if let Some(above) = above
        && !taken.open.iter().any(|(parent, _, _)| *parent == above.seq)
    {
        plan.rows[above.row].dependents += 1;
        taken.open.push((above.seq, seq, Role::After.name()));
    }
    if let Some(id) = &job.to
        && let Some(receiver) = known.receivers.get(&(app, id.clone()))
    {
        taken.receiver = Some(receiver.clone());
    }
    let mut row = row(tx, job, id, seq, app, above, &taken);
    let recalled = dependents::recalled(job.kind, &taken.resolved);
    row.parts += recalled.len() as i64;
    plan.parts.extend(
        recalled
            .into_iter()
            .enumerate()
            .map(|(n, args)| (seq, n as i64, args, 1)),
    );
    if let Some(args) = args {
        row.args = args;
    }
    plan.dependencies.append(&mut taken.open);
    plan.parts.extend(
        job.parts
            .iter()
            .enumerate()
            .map(|(n, part)| (seq, n as i64, part.args.clone(), part.count)),
    );
    plan.uploads.extend(job.upload.as_ref().map(upload::name));
    plan.rows.push(row);
    let here = Above {
        seq,
        row: plan.rows.len() - 1,
    };
    for child in &job.then {
        place(tx, plan, child, app, Some(here), known);
    }
    id
}

/// Puts the uploads of a job's own bytes before it. Returns its args with their ids in their places.
fn first(
    tx: &mut Tx<'_>,
    plan: &mut Plan,
    job: &NewJob,
    (app, seq): (AppId, i64),
    taken: &mut Taken,
    known: &Names,
) -> Option<String> {
    if job.first.is_empty() {
        return None;
    }
    let mut args: Value = serde_json::from_str(&job.args).unwrap_or_default();
    for first in &job.first {
        let id = place(tx, plan, &first.job, app, None, known);
        let Some(row) = plan.rows.last_mut() else {
            continue;
        };
        row.own = true;
        row.parent = Some(seq);
        row.role = "first";
        row.dependents += 1;
        taken.waits_for(row.head.seq, seq, Role::Value);
        if let Some(place) = args.pointer_mut(&first.place) {
            *place = json!(id);
        }
    }
    Some(args.to_string())
}

/// What a job takes from others: what is there already, and what it waits for.
#[derive(Default)]
struct Taken {
    open: Vec<(i64, i64, &'static str)>,
    resolved: serde_json::Map<String, Value>,
    message: Option<String>,
    /// To whom the message went that it acts on.
    receiver: Option<String>,
}

impl Taken {
    /// Once for each role, however often the request names the other job.
    fn waits_for(&mut self, parent: i64, child: i64, role: Role) {
        let one = (parent, child, role.name());
        if !self.open.contains(&one) {
            self.open.push(one);
        }
    }
}

fn take(
    plan: &mut Plan,
    taken: &mut Taken,
    known: &Known,
    reference: &crate::job::Reference,
    app: AppId,
    seq: i64,
) {
    let mut flaw = |detail: String| {
        plan.flaws.push(Flaw {
            pointer: reference.pointer.clone(),
            detail,
        })
    };
    if reference.role != Role::After && known.made.misses(reference.makes) {
        let what = reference.makes.map_or("id", Makes::name);
        return flaw(format!(
            "that job is a {}; it makes no {what}",
            known.kind.name()
        ));
    }
    if known.app != app {
        return flaw(String::from(
            "that job goes through another app; Feishu's ids hold for one app only",
        ));
    }
    match known.state {
        State::Queued | State::Sending | State::InDoubt => {
            plan.named.push(known.seq);
            taken.receiver = known.receiver.clone();
            taken.waits_for(known.seq, seq, reference.role);
        }
        State::Failed | State::Expired | State::Canceled => flaw(format!(
            "that job ended as {}; retry it first",
            known.state.name()
        )),
        State::Done if reference.role == Role::After => {}
        State::Done => match known.made.of(reference.role.name()) {
            Some(part) => {
                let message = part.get("message").and_then(Value::as_str);
                if let Some(message) = message {
                    taken.message = Some(message.to_owned());
                    taken.receiver = known.receiver.clone();
                }
                taken.resolved.extend(part);
            }
            None => flaw(String::from("that job is done, but its id is not known")),
        },
    }
}

fn row(
    tx: &Tx<'_>,
    job: &NewJob,
    id: JobId,
    seq: i64,
    app: AppId,
    above: Option<Above>,
    taken: &Taken,
) -> NewRow {
    let now = tx.now.wall_ms;
    let waits = !taken.open.is_empty();
    let due_ms = job.start_ms.unwrap_or(now);
    let acts = matches!(job.kind.needs(), Needs::Message | Needs::Ephemeral)
        && job.kind.lane() != LaneRule::Receiver;
    let message = acts
        .then(|| job.to.clone().or_else(|| taken.message.clone()))
        .flatten();
    let lane = match (&job.lane, job.kind.lane()) {
        (Some(lane), _) => lane.clone().into_boxed_str(),
        (None, LaneRule::Alone) => alone(id),
        (None, LaneRule::MessageReceiver) if taken.receiver.is_some() => {
            taken.receiver.clone().unwrap_or_default().into_boxed_str()
        }
        // Known once the message is; until then it stands nowhere.
        (None, LaneRule::Message | LaneRule::Receiver | LaneRule::MessageReceiver) => {
            message.clone().unwrap_or_default().into_boxed_str()
        }
    };
    // What names nothing and waits for nothing stands by itself; Feishu may refuse it.
    let lane = match lane.is_empty() && !waits {
        true => alone(id),
        false => lane,
    };
    let size = job.args.len()
        + job
            .parts
            .iter()
            .map(|part| part.args.len())
            .max()
            .unwrap_or(0);
    let uploaded = job.upload.as_ref().map_or(0, |upload| {
        usize::try_from(upload.len).unwrap_or(usize::MAX)
    });
    NewRow {
        id,
        client: job.client.clone(),
        own: false,
        parent: above.map(|above| above.seq),
        role: if above.is_some() { "then" } else { "" },
        blocked: taken.open.len() as i64,
        stands: !waits && due_ms <= now,
        delay_ms: job.delay_ms,
        expires_ms: job.expires_ms,
        deadline_ms: job
            .expires_ms
            .or_else(|| (!waits).then(|| due_ms.max(now).saturating_add(tx.options.give_up_ms))),
        key: job.key.as_ref().map(|key| (key.text.clone(), key.hash)),
        uuid: job.uuid,
        labels: json!(job.labels).to_string(),
        args: job.args.clone(),
        resolved: (!taken.resolved.is_empty())
            .then(|| Value::Object(taken.resolved.clone()).to_string()),
        parts: job.parts.len() as i64,
        dependents: 0,
        on_doubt: job.on_doubt.name(),
        on_refused: job.on_refused.name(),
        degraded: job.degraded.clone(),
        track: job.track.clone(),
        mark: None,
        head: Head {
            seq,
            app,
            lane,
            kind: job.kind,
            verify: false,
            priority: job.priority,
            tried: false,
            due_ms,
            since_ms: due_ms,
            receiver: if job.kind.lane() == LaneRule::Receiver {
                job.to.clone().map(String::into_boxed_str)
            } else {
                None
            },
            message: message.map(String::into_boxed_str),
            size: u32::try_from(size + uploaded.min(256 * 1024)).unwrap_or(u32::MAX),
            weight: u32::try_from(job.people).unwrap_or(u32::MAX),
            unknown: None,
        },
    }
}

async fn write(
    tx: &mut Tx<'_>,
    plans: &mut [Result<Plan, AcceptError>],
) -> Result<(), sqlx::Error> {
    refuse_lost_uploads(tx, plans);
    let mut rows = Vec::new();
    let mut dependencies = Vec::new();
    let mut uploads = Vec::new();
    let mut named = Vec::new();
    for plan in plans.iter_mut().flatten() {
        rows.append(&mut plan.rows);
        dependencies.append(&mut plan.dependencies);
        uploads.append(&mut plan.uploads);
        named.append(&mut plan.named);
    }
    let before = tx.changes.born.len();
    begin_free(tx, &mut rows);
    let born = std::mem::take(&mut tx.changes.born);
    // Those of an earlier request of the batch are counted.
    mark::count_calls(tx, &born[before..])?;
    tx.changes.born = born;
    insert::rows(tx, &rows).await?;
    tell_fresh(tx, plans, &rows)?;
    insert::dependencies(tx, &dependencies)?;
    let parts: Vec<(i64, i64, &str, i64)> = plans
        .iter()
        .flatten()
        .flat_map(|plan| {
            plan.parts
                .iter()
                .map(|(job, n, args, count)| (*job, *n, args.as_str(), *count))
        })
        .collect();
    insert::parts(tx, &parts)?;
    upload::count(tx, &uploads).await?;
    insert::count_dependents(tx, &named)?;
    for row in rows
        .into_iter()
        .filter(|row| row.stands && row.mark.is_none())
    {
        tx.changes.stood.push(row.head);
    }
    Ok(())
}

/// Whoever asked hears what the jobs of short requests are like now.
fn tell_fresh(
    tx: &mut Tx<'_>,
    plans: &mut [Result<Plan, AcceptError>],
    rows: &[NewRow],
) -> Result<(), sqlx::Error> {
    let short = |plan: &&mut Plan| !plan.untold && plan.accepted.len() <= fresh::JOBS_MAX;
    let mut asked: HashMap<JobId, &mut Accepted> = plans
        .iter_mut()
        .flatten()
        .filter(short)
        .flat_map(|plan| &mut plan.accepted)
        .filter(|one| !one.repeated)
        .map(|one| (one.id, one))
        .collect();
    let simple = |row: &&NewRow| asked.contains_key(&row.id) && fresh::is_simple(row);
    let rows: Vec<&NewRow> = rows.iter().filter(simple).collect();
    for job in fresh::told(tx, &rows)? {
        if let Some(one) = asked.get_mut(&job.id) {
            one.fresh = Some(Box::new(job));
        }
    }
    Ok(())
}

/// A job whose lane and windows are free is born marked: one commit less before it leaves.
fn begin_free(tx: &mut Tx<'_>, rows: &mut [NewRow]) {
    let Some(permit) = tx.permit else { return };
    // What this very batch pauses the permit does not know yet.
    if !tx.changes.steered.is_empty() {
        return;
    }
    let mark = tx.moment();
    let newest = fold::newest(rows.iter().filter(|row| row.stands).map(|row| &row.head));
    // Who comes behind a job that must wait in the same lane waits too.
    let mut taken: HashSet<(AppId, Box<str>)> = tx
        .changes
        .stood
        .iter()
        .map(|head| (head.app, head.lane.clone()))
        .collect();
    for row in rows
        .iter_mut()
        .filter(|row| row.stands && row.parts == 0 && !row.head.kind.is_urgent())
    {
        // It will be parked: a newer update of this very batch goes.
        if fold::is_older(&newest, &row.head) {
            continue;
        }
        let lane = (row.head.app, row.head.lane.clone());
        if taken.contains(&lane) || !permit.grant(&row.head) {
            taken.insert(lane);
            continue;
        }
        tx.changes.granted.push(row.head.clone());
        row.mark = Some(mark.clone());
        tx.changes.born.push(Marked {
            head: row.head.clone(),
            id: row.id,
            attempt: 1,
            mark: mark.clone(),
            args: row.args.as_str().into(),
            resolved: row.resolved.as_deref().map(Into::into),
            part: None::<MarkedPart>,
            on_doubt: crate::job::OnDoubt::from_name(row.on_doubt)
                .unwrap_or(crate::job::OnDoubt::Hold),
            on_refused: OnRefused::from_name(row.on_refused).unwrap_or(OnRefused::Fail),
            rung: row.degraded.as_ref().map_or(0, |down| down.rung),
            spent: Spent::default(),
            resent: false,
            created_ms: tx.now.wall_ms,
            progress: None,
        });
    }
}

/// An upload whose file went away between its writing and now is refused: the request can be repeated.
fn refuse_lost_uploads(tx: &Tx<'_>, plans: &mut [Result<Plan, AcceptError>]) {
    for plan in plans.iter_mut() {
        let Ok(inner) = plan else { continue };
        if inner
            .uploads
            .iter()
            .any(|name| !upload::path(&tx.options.path, name).exists())
        {
            *plan = Err(AcceptError::Store(StoreError::Unavailable(Failure {
                cause: Cause::Busy,
                text: String::from("the bytes of an upload were just removed; try again"),
            })));
        }
    }
}
