//! The ceiling: the least that a durable queue over HTTP can be with these libraries.
//!
//! axum → one writer → one `json_each` statement per batch → commit (WAL, FULL) → answer. No timer makes
//! groups. Keys grow with time, the index holds open rows only, a checkpoint comes every 8000 pages. It knows
//! no limits, no keys of producers, no deadlines: what the relay adds is what it is compared for.
//!
//! With lanes it keeps two things that the relay's promises need: whose turn it is in each lane, by an index, and
//! the columns of a mark. Where it also delivers, a batch takes due rows by the index and marks them in the same
//! transaction, what came of a message is written with the next batch, and messages leave once that is committed.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use clap::Args;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Row as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::common::process::{BenchError, file};

/// Requests in one transaction, at most; the relay's bound.
const BATCH: usize = 512;
/// Messages under way at once. More of them make it no faster.
const AT_ONCE: usize = 256;

/// What it is to be.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Shape {
    /// With the lanes' index and the columns of a mark.
    #[arg(long)]
    pub(crate) lanes: bool,
    /// Delivers to this address.
    #[arg(long)]
    pub(crate) to: Option<SocketAddr>,
}

/// What the writer is told.
enum Told {
    /// Rows of one request.
    New(Vec<Row>, oneshot::Sender<()>),
    /// What came of a message.
    Sent(Sent),
}

struct Row {
    id: Uuid,
    lane: String,
    job: String,
}

struct Sent {
    row: i64,
    receipt: String,
}

/// A marked row.
struct Marked {
    row: i64,
    lane: String,
    job: String,
}

/// Serves until it is killed; says where it listens in one line.
pub(crate) async fn serve(folder: &Path, shape: Shape) -> Result<(), BenchError> {
    let conn = open(&folder.join("ceiling.db"), shape.lanes)
        .await
        .map_err(database)?;
    let (told, inbox) = mpsc::channel(4096);
    let post_office = match shape.to {
        Some(to) => Some(PostOffice::open(to, told.clone())?),
        None => None,
    };
    tokio::spawn(async move {
        if let Err(error) = write(conn, shape, post_office, inbox)
            .await
            .map_err(database)
        {
            crate::complain(&error);
        }
    });
    let router = Router::new()
        .route("/v1/jobs", post(accept))
        .with_state(Arc::new(told));
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(file("the ceiling's port"))?;
    let address = listener.local_addr().map_err(file("the ceiling's port"))?;
    crate::say(&json!({"address": address}));
    axum::serve(listener, router)
        .await
        .map_err(file("the ceiling"))
}

/// One job, or a list of them to fill the table with.
async fn accept(
    State(told): State<Arc<mpsc::Sender<Told>>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let body: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let rows: Vec<Row> = match &body {
        Value::Array(jobs) => jobs.iter().map(row).collect(),
        job => vec![row(job)],
    };
    let id = rows.first().map(|row| row.id.simple().to_string());
    let (done, is_done) = oneshot::channel();
    let handed = told.send(Told::New(rows, done)).await.is_ok();
    match handed && is_done.await.is_ok() {
        true => Ok((StatusCode::ACCEPTED, Json(json!({"id": id})))),
        false => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn row(job: &Value) -> Row {
    Row {
        id: Uuid::now_v7(),
        lane: job["args"]["to"].as_str().unwrap_or_default().to_owned(),
        job: job["args"].to_string(),
    }
}

fn database(error: sqlx::Error) -> BenchError {
    BenchError::Answer(format!("the ceiling's database: {error}"))
}

async fn open(path: &Path, lanes: bool) -> Result<SqliteConnection, sqlx::Error> {
    let mut conn = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-8192")
        .pragma("wal_autocheckpoint", "8000")
        .disable_statement_logging()
        .connect()
        .await?;
    let plain = [
        "create table job (id blob primary key, lane text not null, state text not null, run_ms integer not null,
                           job text not null, mark_ms integer, finished_ms integer, receipt text) strict",
        "create index job_due on job (run_ms) where state = 'queued'",
    ];
    let with_lanes = [
        "alter table job add column app integer not null default 1",
        "alter table job add column rank integer not null default 2",
        "alter table job add column attempt integer not null default 0",
        "alter table job add column mark_boot_ms integer",
        "alter table job add column mark_boot_id text",
        "create index job_lane on job (app, rank, lane) where state = 'queued'",
    ];
    let with_lanes = if lanes { &with_lanes[..] } else { &[] };
    for statement in plain.iter().chain(with_lanes) {
        sqlx::query(*statement).execute(&mut conn).await?;
    }
    Ok(conn)
}

async fn write(
    mut conn: SqliteConnection,
    shape: Shape,
    post_office: Option<PostOffice>,
    mut inbox: mpsc::Receiver<Told>,
) -> Result<(), sqlx::Error> {
    let (mut queued, mut under_way) = (0, 0);
    while let Some(first) = inbox.recv().await {
        let (mut rows, mut answers, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        let (mut next, mut requests) = (Some(first), 0);
        while let Some(one) = next.take() {
            match one {
                Told::New(mut new, answer) => {
                    rows.append(&mut new);
                    answers.push(answer);
                }
                Told::Sent(one) => sent.push(one),
            }
            requests += 1;
            if requests < BATCH {
                next = inbox.try_recv().ok();
            }
        }
        queued += rows.len();
        under_way -= sent.len();
        sqlx::query("begin immediate").execute(&mut conn).await?;
        insert(&mut conn, shape.lanes, &rows).await?;
        finish(&mut conn, &sent).await?;
        let room = match post_office {
            Some(_) => queued.min(AT_ONCE - under_way),
            None => 0,
        };
        let marked = mark(&mut conn, shape.lanes, room).await?;
        sqlx::query("commit").execute(&mut conn).await?;
        queued -= marked.len();
        under_way += marked.len();
        for answer in answers {
            let _ = answer.send(());
        }
        if let Some(office) = &post_office {
            for one in marked {
                tokio::spawn(office.clone().send(one));
            }
        }
    }
    Ok(())
}

async fn insert(conn: &mut SqliteConnection, lanes: bool, rows: &[Row]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let statement = if lanes {
        "insert into job (id, lane, state, run_ms, job, app, rank, attempt)
         select unhex(value ->> 0), value ->> 1, 'queued', value ->> 2, value ->> 3, 1, 2, 0 from json_each(?1)"
    } else {
        "insert into job (id, lane, state, run_ms, job)
         select unhex(value ->> 0), value ->> 1, 'queued', value ->> 2, value ->> 3 from json_each(?1)"
    };
    sqlx::query(statement)
        .bind(text(rows))
        .execute(conn)
        .await
        .map(drop)
}

async fn finish(conn: &mut SqliteConnection, sent: &[Sent]) -> Result<(), sqlx::Error> {
    if sent.is_empty() {
        return Ok(());
    }
    let mut list = String::from("[");
    for (place, one) in sent.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(list, "{comma}[{},{}]", one.row, quoted(&one.receipt));
    }
    list.push(']');
    sqlx::query(
        "update job set state = 'done', finished_ms = ?2, receipt = given.value ->> 1
           from json_each(?1) given where job.rowid = given.value ->> 0",
    )
    .bind(list)
    .bind(now_ms())
    .execute(conn)
    .await
    .map(drop)
}

/// Takes the due rows that were there first, at most `room`.
async fn mark(
    conn: &mut SqliteConnection,
    lanes: bool,
    room: usize,
) -> Result<Vec<Marked>, sqlx::Error> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let statement = if lanes {
        "update job set state = 'sending', attempt = attempt + 1, mark_ms = ?1, mark_boot_ms = ?1, mark_boot_id = 'boot'
          where rowid in (select rowid from job where state = 'queued' and run_ms <= ?1 order by run_ms limit ?2)
         returning rowid, lane, job"
    } else {
        "update job set state = 'sending', mark_ms = ?1
          where rowid in (select rowid from job where state = 'queued' and run_ms <= ?1 order by run_ms limit ?2)
         returning rowid, lane, job"
    };
    let rows = sqlx::query(statement)
        .bind(now_ms())
        .bind(i64::try_from(room).unwrap_or(0))
        .fetch_all(conn)
        .await?;
    let marked = rows.iter().map(|row| Marked {
        row: row.get(0),
        lane: row.get(1),
        job: row.get(2),
    });
    Ok(marked.collect())
}

/// Where messages leave.
#[derive(Clone)]
struct PostOffice {
    client: reqwest::Client,
    address: String,
    told: mpsc::Sender<Told>,
}

impl PostOffice {
    fn open(to: SocketAddr, told: mpsc::Sender<Told>) -> Result<PostOffice, BenchError> {
        let client = reqwest::Client::builder().no_proxy().build();
        Ok(PostOffice {
            client: client.map_err(|error| BenchError::Answer(error.to_string()))?,
            address: format!("http://{to}/open-apis/im/v1/messages?receive_id_type=chat_id"),
            told,
        })
    }

    /// Sends one message; its row is done with whatever Feishu answers.
    async fn send(self, marked: Marked) {
        let args: Value = serde_json::from_str(&marked.job).unwrap_or_default();
        let body = json!({
            "receive_id": marked.lane,
            "msg_type": "text",
            "content": json!({"text": args["text"]}).to_string(),
        });
        let receipt = match self.call(&body).await {
            Ok(answer) => answer["data"].to_string(),
            Err(error) => error.to_string(),
        };
        let row = marked.row;
        let _ = self.told.send(Told::Sent(Sent { row, receipt })).await;
    }

    async fn call(&self, body: &Value) -> Result<Value, reqwest::Error> {
        let call = self.client.post(&self.address).bearer_auth("t-bench");
        call.json(body).send().await?.json().await
    }
}

fn now_ms() -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}

/// The rows as one JSON text.
fn text(rows: &[Row]) -> String {
    let now_ms = now_ms();
    let mut text = String::from("[");
    for (place, row) in rows.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let (id, lane, job) = (row.id.simple(), quoted(&row.lane), quoted(&row.job));
        let _ = write!(text, "{comma}[\"{id}\",{lane},{now_ms},{job}]");
    }
    text.push(']');
    text
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
