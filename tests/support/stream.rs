//! A listener to the relay's events, on a bare connection: it reads no more than it is asked to.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::House;

const PATIENCE: Duration = Duration::from_secs(60);

/// An open stream.
pub struct Stream {
    from: BufReader<UnixStream>,
    text: String,
    /// The id of the last block that had one.
    pub last_id: String,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub event: String,
    pub id: String,
    pub data: Value,
}

impl Event {
    pub fn job(&self) -> &str {
        self.data["id"].as_str().unwrap_or_default()
    }

    pub fn state(&self) -> &str {
        self.data["state"].as_str().unwrap_or_default()
    }
}

impl Stream {
    /// Opens the stream; its head must be answered.
    pub async fn open(house: &House, query: &str) -> Stream {
        Stream::after(house, query, "").await
    }

    /// Goes on behind the event of that id.
    pub async fn after(house: &House, query: &str, id: &str) -> Stream {
        let (status, mut stream) = Stream::ask(house, query, &[("Last-Event-ID", id)]).await;
        assert_eq!(status, 200, "{query}");
        // The first block has only an id: the place from which it goes on.
        let first = stream.block().await.unwrap();
        assert!(first.starts_with(": feishu-relay\n"), "{first}");
        stream
    }

    /// Asks for a stream and reads the head of the answer.
    pub async fn ask(house: &House, query: &str, headers: &[(&str, &str)]) -> (u16, Stream) {
        let mut stream = UnixStream::connect(house.socket()).await.unwrap();
        let mut head = format!("GET /v1/events?{query} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut from = BufReader::new(stream);
        let mut status = 0;
        loop {
            let line = line(&mut from).await.unwrap();
            match line.strip_prefix("HTTP/1.1 ") {
                Some(rest) => status = rest[..3].parse().unwrap(),
                None if line.is_empty() => break,
                None => {}
            }
        }
        let stream = Stream {
            from,
            text: String::new(),
            last_id: String::new(),
        };
        (status, stream)
    }

    /// The next event; `None`: the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        let next = tokio::time::timeout(PATIENCE, self.event()).await;
        next.expect("the relay tells something")
    }

    async fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let found = block.lines().find_map(|line| line.strip_prefix(name));
                found.unwrap_or_default().to_owned()
            };
            if field("data: ").is_empty() {
                continue;
            }
            return Some(Event {
                event: field("event: "),
                id: field("id: "),
                data: serde_json::from_str(&field("data: ")).unwrap(),
            });
        }
    }

    /// Events up to the first that `last` likes, that one included.
    pub async fn until(&mut self, last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap();
            events.push(event);
            if events.last().is_some_and(&last) {
                return events;
            }
        }
    }

    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let id = block.lines().find_map(|line| line.strip_prefix("id: "));
                if let Some(id) = id {
                    self.last_id = id.to_owned();
                }
                return Some(block);
            }
            let size = line(&mut self.from).await?;
            let size = usize::from_str_radix(&size, 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.from.read_exact(&mut chunk).await.ok()?;
            if size == 0 {
                return None;
            }
            self.text
                .push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
    }
}

async fn line(from: &mut BufReader<UnixStream>) -> Option<String> {
    let mut line = String::new();
    let read = from.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
