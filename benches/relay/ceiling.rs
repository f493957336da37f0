//! The ceiling: the least that a durable queue over HTTP can be with these libraries.
//!
//! axum → one writer → one `json_each` statement per batch → commit (WAL, FULL) → answer. No timer makes
//! groups. Keys grow with time, the index holds open rows only, a checkpoint comes every 8000 pages. It knows
//! no lanes, no limits, no keys of producers, and sends nothing: what the relay adds is what it is compared for.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::common::process::{BenchError, file};

/// Rows in one transaction, at most; the relay's bound.
const BATCH: usize = 512;

struct Row {
    id: Uuid,
    lane: String,
    job: String,
    done: oneshot::Sender<()>,
}

/// Serves until it is killed; says where it listens in one line.
pub(crate) async fn serve(folder: &Path) -> Result<(), BenchError> {
    let conn = open(&folder.join("ceiling.db")).await.map_err(database)?;
    let (rows, inbox) = mpsc::channel(4096);
    tokio::spawn(async move {
        if let Err(error) = write(conn, inbox).await.map_err(database) {
            crate::complain(&error);
        }
    });
    let router = Router::new()
        .route("/v1/jobs", post(accept))
        .with_state(Arc::new(rows));
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(file("the ceiling's port"))?;
    let address = listener.local_addr().map_err(file("the ceiling's port"))?;
    crate::say(&json!({"address": address}));
    axum::serve(listener, router)
        .await
        .map_err(file("the ceiling"))
}

async fn accept(
    State(rows): State<Arc<mpsc::Sender<Row>>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let job: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let lane = job["args"]["to"].as_str().unwrap_or_default().to_owned();
    let (done, told) = oneshot::channel();
    let id = Uuid::now_v7();
    let row = Row {
        id,
        lane,
        job: job["args"].to_string(),
        done,
    };
    let handed = rows.send(row).await.is_ok();
    match handed && told.await.is_ok() {
        true => Ok((
            StatusCode::ACCEPTED,
            Json(json!({"id": id.simple().to_string()})),
        )),
        false => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn database(error: sqlx::Error) -> BenchError {
    BenchError::Answer(format!("the ceiling's database: {error}"))
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
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
    for statement in [
        "create table job (id blob primary key, lane text not null, state text not null, run_ms integer not null,
                           job text not null) strict",
        "create index job_due on job (run_ms) where state = 'queued'",
    ] {
        sqlx::query(statement).execute(&mut conn).await?;
    }
    Ok(conn)
}

async fn write(
    mut conn: SqliteConnection,
    mut inbox: mpsc::Receiver<Row>,
) -> Result<(), sqlx::Error> {
    while let Some(first) = inbox.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(row) = inbox.try_recv()
        {
            batch.push(row);
        }
        sqlx::query("begin immediate").execute(&mut conn).await?;
        sqlx::query(
            "insert into job (id, lane, state, run_ms, job)
             select unhex(value ->> 0), value ->> 1, 'queued', value ->> 2, value ->> 3 from json_each(?1)",
        )
        .bind(text(&batch))
        .execute(&mut conn)
        .await?;
        sqlx::query("commit").execute(&mut conn).await?;
        for row in batch {
            let _ = row.done.send(());
        }
    }
    Ok(())
}

/// The rows as one JSON text.
fn text(batch: &[Row]) -> String {
    let now_ms = std::time::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_millis();
    let mut text = String::from("[");
    for (place, row) in batch.iter().enumerate() {
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
