//! Forms with files, whole or in pieces, and what the relay keeps of them.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::House;
use super::jobs::PIXEL;

const BOUNDARY: &str = "----a-boundary-of-a-test";

/// A form being put together.
#[derive(Clone, Debug, Default)]
pub struct Form {
    body: Vec<u8>,
}

impl Form {
    pub fn word(mut self, name: &str, word: &str) -> Form {
        self.head(&format!("name=\"{name}\""));
        self.body.extend(word.as_bytes());
        self.body.extend(b"\r\n");
        self
    }

    pub fn job(self, job: Value) -> Form {
        self.word("job", &job.to_string())
    }

    pub fn file(mut self, name: &str, file_name: &str, bytes: &[u8]) -> Form {
        self.head(&format!("name=\"{name}\"; filename=\"{file_name}\""));
        self.body.extend(bytes);
        self.body.extend(b"\r\n");
        self
    }

    /// A part whose head says this of it.
    pub fn raw(mut self, disposition: &str, bytes: &[u8]) -> Form {
        self.head(disposition);
        self.body.extend(bytes);
        self.body.extend(b"\r\n");
        self
    }

    fn head(&mut self, disposition: &str) {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        self.body.extend(head.as_bytes());
    }

    /// The whole of it, with its end.
    pub fn whole(mut self) -> Vec<u8> {
        self.body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.body
    }

    /// As far as it is put together: no end.
    pub fn broken(self) -> Vec<u8> {
        self.body
    }

    pub fn media() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// Posts it to `/v1/jobs`.
    pub async fn post(self, house: &House) -> (u16, Value) {
        post(house, self.whole()).await
    }
}

/// Posts a body as a form to `/v1/jobs`.
pub async fn post(house: &House, body: Vec<u8>) -> (u16, Value) {
    let (status, text) = house.post_bytes(&Form::media(), body, &[]).await;
    let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, json)
}

/// A form under way: its head is sent, and of its body what was asked for.
pub struct Upload(UnixStream);

impl Upload {
    /// `length`: what the head announces.
    pub async fn begin(house: &House, path: &str, length: usize) -> Upload {
        Upload::begin_as(house, path, "", length).await
    }

    /// The same with a token, if it is not empty.
    pub async fn begin_as(house: &House, path: &str, token: &str, length: usize) -> Upload {
        let token = match token {
            "" => String::new(),
            token => format!("authorization: Bearer {token}\r\n"),
        };
        let mut stream = UnixStream::connect(house.socket()).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}content-type: {}\r\ncontent-length: {length}\r\n\r\n",
            Form::media()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Upload(stream)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// What is answered, head and all.
    pub async fn answer(mut self) -> String {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// What the relay keeps beside its database, by name.
pub fn kept(house: &House) -> Vec<String> {
    let folder: PathBuf = house.dir.path().join("relay.db.uploads");
    let Ok(files) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Waits until the relay keeps as many files.
pub async fn until_kept(house: &House, files: usize) {
    house
        .until("/v1/status", |_| kept(house).len() == files)
        .await;
}

pub fn pixel() -> Vec<u8> {
    STANDARD.decode(PIXEL).unwrap()
}

/// The head of a PNG of that size, as much as Feishu's limits are told by.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
    png.extend(width.to_be_bytes());
    png.extend(height.to_be_bytes());
    png.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
    png
}
