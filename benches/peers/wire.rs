//! The load of the peers: as many words of their protocols as one durable put needs, and nothing dearer.
//!
//! Redis: `XADD jobs * job …`. PostgreSQL: a prepared `insert`, each a transaction of its own. One in flight on each
//! connection, all on one thread, as with the relay's load.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::common::process::{BenchError, file};
use crate::load::{CHATS, job, micros, percentiles};
use crate::peers::{Load, Peer};

/// The user and the database that a fresh PostgreSQL has here.
pub(super) const NAME: &str = "postgres";
/// PostgreSQL's protocol 3.0; source: postgresql.org/docs/15/protocol-message-formats.html.
const PROTOCOL: i32 = 196_608;
/// No answer of a put is longer than this.
const ANSWER_MAX: usize = 1 << 20;

/// Puts on all connections until the time is over; what the first moments bring is not counted.
pub(super) fn flood(load: &Load) -> Result<Value, BenchError> {
    let alone = Builder::new_current_thread().enable_all().build();
    alone.map_err(file("a runtime"))?.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..load.connections {
            connections.push(Connection::open(load.peer, load.to).await?);
        }
        let length = Duration::from_millis(load.for_ms);
        let from = Instant::now() + Duration::from_millis(load.warm_ms);
        let until = from + length;
        let mut tasks = JoinSet::new();
        for (n, mut connection) in (0..).zip(connections) {
            let step = load.connections;
            tasks.spawn(async move {
                let mut took_us = Vec::new();
                for count in 0_u32.. {
                    let began = Instant::now();
                    if began >= until {
                        break;
                    }
                    let chat = count.wrapping_mul(step).wrapping_add(n) % CHATS;
                    connection.put(&job(chat, "load")).await?;
                    if began >= from {
                        took_us.push(micros(began.elapsed()));
                    }
                }
                Ok::<_, BenchError>(took_us)
            });
        }
        let mut took_us = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            took_us.append(&mut ended.map_err(|error| BenchError::Answer(error.to_string()))??);
        }
        Ok(json!({
            "per_second": took_us.len() as f64 / length.as_secs_f64(),
            "ms": percentiles(&mut took_us),
        }))
    })
}

/// Does it answer? A PostgreSQL gets its table.
pub(super) fn prepare(peer: Peer, to: SocketAddr) -> Result<(), BenchError> {
    let alone = Builder::new_current_thread().enable_all().build();
    alone.map_err(file("a runtime"))?.block_on(async {
        let mut connection = Connection::dial(peer, to).await?;
        match peer {
            Peer::Redis => {
                connection.send(b"*1\r\n$4\r\nPING\r\n").await?;
                connection.redis_answer().await
            }
            Peer::Postgres => {
                let create = "create table job (id bigint generated always as identity primary key, \
                              job text not null)\0";
                connection.send(&message(b'Q', create.as_bytes())).await?;
                connection.postgres_answer().await
            }
        }
    })
}

struct Connection {
    peer: Peer,
    stream: BufReader<TcpStream>,
    answer: Vec<u8>,
}

impl Connection {
    /// Ready for puts.
    async fn open(peer: Peer, to: SocketAddr) -> Result<Connection, BenchError> {
        let mut connection = Connection::dial(peer, to).await?;
        if peer == Peer::Postgres {
            // One parameter, of type text (oid 25).
            let mut parse = Vec::from(b"put\0insert into job (job) values ($1)\0");
            parse.extend(1_i16.to_be_bytes());
            parse.extend(25_i32.to_be_bytes());
            let mut words = message(b'P', &parse);
            words.extend(message(b'S', b""));
            connection.send(&words).await?;
            connection.postgres_answer().await?;
        }
        Ok(connection)
    }

    async fn dial(peer: Peer, to: SocketAddr) -> Result<Connection, BenchError> {
        let stream = TcpStream::connect(to).await.map_err(file(to.to_string()))?;
        stream.set_nodelay(true).map_err(file(to.to_string()))?;
        let mut connection = Connection {
            peer,
            stream: BufReader::new(stream),
            answer: Vec::new(),
        };
        if peer == Peer::Postgres {
            let names = format!("user\0{NAME}\0database\0{NAME}\0\0");
            let mut hello = Vec::from(length(names.len() + 8));
            hello.extend(PROTOCOL.to_be_bytes());
            hello.extend(names.as_bytes());
            connection.send(&hello).await?;
            connection.postgres_answer().await?;
        }
        Ok(connection)
    }

    /// Returns once the job is durable.
    async fn put(&mut self, job: &str) -> Result<(), BenchError> {
        match self.peer {
            Peer::Redis => {
                let head = "*5\r\n$4\r\nXADD\r\n$4\r\njobs\r\n$1\r\n*\r\n$3\r\njob\r\n";
                let words = format!("{head}${}\r\n{job}\r\n", job.len());
                self.send(words.as_bytes()).await?;
                self.redis_answer().await
            }
            Peer::Postgres => {
                // No portal's name; every format is text; one value; results as text.
                let mut bind = Vec::from(b"\0put\0");
                bind.extend(0_i16.to_be_bytes());
                bind.extend(1_i16.to_be_bytes());
                bind.extend(((job.len()) as i32).to_be_bytes());
                bind.extend(job.as_bytes());
                bind.extend(0_i16.to_be_bytes());
                let mut words = message(b'B', &bind);
                words.extend(message(b'E', b"\0\0\0\0\0"));
                words.extend(message(b'S', b""));
                self.send(&words).await?;
                self.postgres_answer().await
            }
        }
    }

    async fn send(&mut self, words: &[u8]) -> Result<(), BenchError> {
        let sent = self.stream.get_mut().write_all(words).await;
        sent.map_err(file("a put"))
    }

    /// One answer of Redis: a simple word, or a string of a given length.
    async fn redis_answer(&mut self) -> Result<(), BenchError> {
        self.answer.clear();
        let read = self.stream.read_until(b'\n', &mut self.answer).await;
        read.map_err(file("Redis's answer"))?;
        let line = String::from_utf8_lossy(&self.answer).trim_end().to_owned();
        match line.split_at_checked(1) {
            Some(("+", _)) => Ok(()),
            Some(("$", length)) => {
                let length: usize = length.parse().map_err(|_| unexpected("Redis", &line))?;
                self.read(length + 2).await
            }
            _ => Err(unexpected("Redis", &line)),
        }
    }

    /// Answers of PostgreSQL until it is ready for the next one.
    async fn postgres_answer(&mut self) -> Result<(), BenchError> {
        let mut fault = None;
        loop {
            let kind = self.stream.read_u8().await.map_err(file("an answer"))?;
            let length = self.stream.read_i32().await.map_err(file("an answer"))?;
            self.read(usize::try_from(length - 4).unwrap_or(usize::MAX))
                .await?;
            match kind {
                b'E' => fault = Some(unexpected("PostgreSQL", &self.answer_text())),
                // Anything but zero is a wish for a password.
                b'R' if self.answer != [0; 4] => {
                    return Err(unexpected("PostgreSQL", "asks for a password"));
                }
                b'Z' => return fault.map_or(Ok(()), Err),
                _ => {}
            }
            // Before it knows whom it speaks to it ends with an error.
            if kind == b'E' && self.answer.starts_with(b"SFATAL") {
                return fault.map_or(Ok(()), Err);
            }
        }
    }

    async fn read(&mut self, length: usize) -> Result<(), BenchError> {
        if length > ANSWER_MAX {
            return Err(unexpected("a peer", "a very long answer"));
        }
        self.answer.resize(length, 0);
        let read = self.stream.read_exact(&mut self.answer).await;
        read.map(drop).map_err(file("an answer"))
    }

    fn answer_text(&self) -> String {
        String::from_utf8_lossy(&self.answer).replace('\0', " ")
    }
}

/// A message of PostgreSQL's protocol.
fn message(kind: u8, inside: &[u8]) -> Vec<u8> {
    let mut words = vec![kind];
    words.extend(length(inside.len() + 4));
    words.extend(inside);
    words
}

fn length(of: usize) -> [u8; 4] {
    (of as i32).to_be_bytes()
}

fn unexpected(who: &str, said: &str) -> BenchError {
    BenchError::Answer(format!("{who} said: {said}"))
}
