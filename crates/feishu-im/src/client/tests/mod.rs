//! The client against a server that misbehaves on command, over loopback.

mod cost;
mod hooks;
mod outcomes;
mod server;
mod tokens;

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::classify::Verdict;
use server::Server;

/// Time that moves by hand.
#[derive(Debug, Default)]
struct HandClock(AtomicI64);

impl HandClock {
    fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Long where an answer comes, so that a slow machine does not matter.
const LONG: Duration = Duration::from_secs(20);
/// Short where the test is about time running out.
const SHORT: Duration = Duration::from_millis(150);

const SECRET: &str = "hush-hush";

fn options(base_url: &str, timeout: Duration) -> ClientOptions {
    ClientOptions {
        base_url: base_url.to_owned(),
        app_id: "cli_a1b2c3d4e5f60718".to_owned(),
        app_secret: SECRET.into(),
        timeout,
        body_idle: timeout,
        proxy: None,
        clock: Arc::new(HandClock::default()),
    }
}

fn client(server: &Server, timeout: Duration) -> Client {
    Client::new(options(&server.url, timeout)).expect("the options are right")
}

fn get() -> Request {
    op::GetMessage {
        message_id: "om_1",
        user_card_content: false,
    }
    .request()
}

fn recall() -> Request {
    op::Recall { message_id: "om_1" }.request()
}

fn pin() -> Request {
    op::Pin {
        message_id: "om_private",
    }
    .request()
}

fn upload(file: crate::request::FileSource) -> Request {
    let op = op::UploadImage {
        image_type: op::ImageType::Message,
        file_name: "a \"b\".png",
        image: &file,
    };
    op.request()
}

fn verdict(exchange: &Exchange) -> Verdict {
    classify(exchange)
}
