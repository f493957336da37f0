//! Who posts: producers that write down every acknowledgement, and an operator now and then.
//!
//! A request with keys whose answer was lost is posted again, word for word, until it is answered. One without
//! keys is not: nobody knows whether it was taken.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::check::{Acted, Asked};
use super::house::{TortureError, client, list};
use super::plan::{Act, Job, Request, What};

/// After a refused connection, unless the relay is up sooner.
const PAUSE: Duration = Duration::from_millis(20);

/// What producers look at: how many requests are released, and whether the relay runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stage {
    pub(crate) released: usize,
    pub(crate) up: bool,
}

/// What all of them write down.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Numbers what happens at the producers' side.
    order: AtomicU64,
    /// Jobs acknowledged so far.
    pub(crate) acks: AtomicU64,
    asked: Mutex<Vec<Asked>>,
    acts: Mutex<Vec<Acted>>,
    /// One act at a time, so that each knows the state that it found.
    desk: tokio::sync::Mutex<()>,
}

impl Records {
    fn next(&self) -> u64 {
        self.order.fetch_add(1, Ordering::SeqCst)
    }

    /// Everything that was asked for.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Everything that an operator did.
    pub(crate) fn acts(&self) -> Vec<Acted> {
        self.acts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes a request down. `answer`: the jobs of the acknowledgement, in order.
    fn note(&self, request: &Request, posted: u64, answer: Option<&[Value]>) {
        let answered = answer.map(|_| self.next());
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = 0;
        let mut put = |job: &Job, parent: Option<&Job>, id: Option<&str>| {
            asked.push(Asked {
                job: Job {
                    then: Vec::new(),
                    ..job.clone()
                },
                parent: parent.map(|parent| parent.marker.clone()),
                request: posted,
                place,
                posted,
                answered,
                id: id.map(str::to_owned),
            });
            place += 1;
        };
        for (n, job) in request.jobs.iter().enumerate() {
            let told = answer.and_then(|jobs| jobs.get(n));
            put(job, None, told.and_then(|told| told["id"].as_str()));
            for (n, child) in job.then.iter().enumerate() {
                let id = told.and_then(|told| told["children"][n].as_str());
                put(child, Some(job), id);
            }
        }
        drop(asked);
        let jobs = answer.map_or(0, <[Value]>::len);
        self.acks
            .fetch_add(u64::try_from(jobs).unwrap_or(0), Ordering::SeqCst);
    }
}

/// Posts `requests` in order, each when the stage releases it; returns when all are answered or given up.
///
/// # Errors
/// `Answer`: the relay refused a request.
pub(crate) async fn produce(
    requests: Vec<Request>,
    socket: PathBuf,
    mut stage: watch::Receiver<Stage>,
    records: Arc<Records>,
) -> Result<(), TortureError> {
    let relay = client(&socket)?;
    for (n, request) in requests.iter().enumerate() {
        if stage.wait_for(|stage| stage.released > n).await.is_err() {
            return Ok(());
        }
        let bodies: Vec<Value> = request.jobs.iter().map(Job::body).collect();
        let body = match &bodies[..] {
            [one] => one.clone(),
            _ => Value::Array(bodies),
        };
        let posted = records.next();
        loop {
            if stage.wait_for(|stage| stage.up).await.is_err() {
                return Ok(());
            }
            match post(&relay, "/v1/jobs", &body).await {
                Heard::Answer(200..=202, answer) => {
                    let jobs = match &answer["jobs"] {
                        Value::Array(jobs) => jobs.clone(),
                        _ => vec![answer],
                    };
                    records.note(request, posted, Some(&jobs));
                    break;
                }
                Heard::Answer(503, _) => {}
                Heard::Answer(status, answer) => {
                    return Err(TortureError::Answer(format!(
                        "{body} was refused: {status} {answer}"
                    )));
                }
                Heard::NotSent => {
                    // It was killed, and nobody has said so yet.
                    let _ = tokio::time::timeout(PAUSE, stage.changed()).await;
                }
                Heard::Lost if request.keyed => {}
                Heard::Lost => {
                    records.note(request, posted, None);
                    break;
                }
            }
        }
    }
    Ok(())
}

enum Heard {
    Answer(u16, Value),
    /// No connection: nothing was sent.
    NotSent,
    /// Sent, perhaps, and no answer.
    Lost,
}

async fn post(relay: &reqwest::Client, path: &str, body: &Value) -> Heard {
    let sent = relay
        .post(format!("http://localhost{path}"))
        .json(body)
        .send()
        .await;
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Heard::NotSent,
        Err(_) => return Heard::Lost,
    };
    let status = answer.status().as_u16();
    match answer.json().await {
        Ok(value) => Heard::Answer(status, value),
        Err(_) => Heard::Lost,
    }
}

/// Does `act` to a job that he finds; nothing when there is none, or the relay is away.
pub(crate) async fn operate(act: Act, relay: reqwest::Client, records: Arc<Records>) {
    let _alone = records.desk.lock().await;
    let Some((id, before)) = find(act, &relay, &records).await else {
        return;
    };
    let body = match act.what {
        What::SettleFailed => json!({"state": "failed"}),
        What::Cancel | What::Recall | What::Retry => json!({}),
    };
    let path = format!("/v1/jobs/{id}/{}", act.what.name());
    let taken = match post(&relay, &path, &body).await {
        Heard::Answer(status, _) => status < 300,
        Heard::NotSent => false,
        Heard::Lost => true,
    };
    if taken {
        let mut acts = records.acts.lock().unwrap_or_else(PoisonError::into_inner);
        acts.push(Acted {
            id,
            what: act.what,
            before,
        });
    }
}

async fn find(act: Act, relay: &reqwest::Client, records: &Records) -> Option<(String, String)> {
    let filter = match act.what {
        What::Cancel => "state=queued,in_doubt",
        What::Retry => "state=failed,expired,canceled,in_doubt",
        What::SettleFailed => "state=in_doubt",
        What::Recall => {
            let asked = records.asked();
            let makes = |one: &&Asked| one.parent.is_none() && one.id.is_some();
            let made: Vec<&Asked> = asked.iter().filter(makes).collect();
            let one = made.get(act.pick % made.len().max(1))?;
            return Some((one.id.clone()?, String::new()));
        }
    };
    let jobs = list(relay, filter).await.ok()?;
    // Half of the time one of those that wait with an unknown outcome: that is where an act can lie.
    let unknown = |job: &&Value| {
        let attempts = job["attempts"].as_array();
        job["state"] == "queued"
            && attempts.is_some_and(|list| list.iter().any(|one| one["outcome"] == "unknown"))
    };
    let doubtful: Vec<&Value> = jobs.iter().filter(unknown).collect();
    let job = match act.pick.is_multiple_of(2) && !doubtful.is_empty() {
        true => doubtful[act.pick / 2 % doubtful.len()],
        false => jobs.get(act.pick % jobs.len().max(1))?,
    };
    let word = |name: &str| job[name].as_str().map(str::to_owned);
    Some((word("id")?, word("state")?))
}
