//! A sandbox for one test, and the words to talk to it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::missing_panics_doc,
    reason = "each test file uses its own part of these helpers"
)]

use feishu_sandbox::{
    DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_CHAT, Options, Sandbox, Seed, start,
};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

pub const SEND: &str = "/open-apis/im/v1/messages?receive_id_type=chat_id";
pub const TOKEN: &str = "/open-apis/auth/v3/tenant_access_token/internal";

/// A running sandbox, a client and a token of the default app.
pub struct Room {
    pub sandbox: Sandbox,
    pub client: Client,
    pub token: String,
}

/// An answer: status, headers, body.
#[derive(Debug)]
pub struct Told {
    pub http: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Told {
    pub fn code(&self) -> i64 {
        self.body["code"].as_i64().expect("an answer has a code")
    }

    pub fn msg(&self) -> &str {
        self.body["msg"].as_str().expect("an answer has a msg")
    }

    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// Asserts a refusal.
    #[track_caller]
    pub fn is(&self, http: u16, code: i64) -> &Self {
        assert_eq!((self.http, self.code()), (http, code), "{}", self.body);
        self
    }

    /// Asserts success and answers `data`.
    #[track_caller]
    pub fn ok(&self) -> &Value {
        self.is(200, 0).data()
    }

    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(self.msg().contains(words), "{:?} in {}", words, self.body);
        self
    }
}

pub async fn told(response: Response) -> Told {
    let http = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = response.bytes().await.expect("a whole body");
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Told {
        http,
        headers,
        body,
    }
}

impl Room {
    pub async fn new() -> Self {
        Self::with("{}").await
    }

    /// A sandbox whose chats and people take any number of messages in a second.
    pub async fn unbound() -> Self {
        Self::with(r#"{"limits":{"chat_second":0,"user_second":0}}"#).await
    }

    /// A sandbox of this seed, far from its limits unless the seed names them.
    pub async fn with(seed: &str) -> Self {
        Self::open(Options {
            listen: ([127, 0, 0, 1], 0).into(),
            state: None,
            seed: Some(Seed::from_json(seed).expect("a good seed")),
        })
        .await
    }

    pub async fn open(options: Options) -> Self {
        let sandbox = start(options).await.expect("the sandbox starts");
        let client = Client::builder().no_proxy().build().expect("a client");
        let mut room = Self {
            sandbox,
            client,
            token: String::new(),
        };
        if let Some(token) = room.token_of(DEFAULT_APP_ID, DEFAULT_APP_SECRET).await {
            room.token = token;
        }
        room
    }

    pub async fn token_of(&self, app_id: &str, secret: &str) -> Option<String> {
        let body = json!({ "app_id": app_id, "app_secret": secret });
        let told = told(
            self.raw("POST", TOKEN)
                .json(&body)
                .send()
                .await
                .expect("sent"),
        )
        .await;
        told.body["tenant_access_token"].as_str().map(str::to_owned)
    }

    /// A request without a token.
    pub fn raw(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client
            .request(method, format!("{}{path}", self.sandbox.url()))
    }

    /// A request with the default app's token.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.raw(method, path).bearer_auth(&self.token)
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> Told {
        self.call_as(&self.token, method, path, body).await
    }

    pub async fn call_as(&self, token: &str, method: &str, path: &str, body: Value) -> Told {
        let request = self.raw(method, path).bearer_auth(token);
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        told(request.send().await.expect("an answer")).await
    }

    pub async fn get(&self, path: &str) -> Told {
        self.call("GET", path, Value::Null).await
    }

    /// Sends a text to a chat.
    pub async fn say(&self, chat: &str, text: &str) -> Told {
        self.call("POST", SEND, message(chat, "text", json!({ "text": text })))
            .await
    }

    /// Sends a text to the default chat and answers its id.
    pub async fn said(&self, text: &str) -> String {
        id(&self.say(DEFAULT_CHAT, text).await)
    }

    pub async fn control(&self, path: &str, body: Value) -> Told {
        let request = self.raw("POST", &format!("/_sandbox/{path}")).json(&body);
        told(request.send().await.expect("an answer")).await
    }

    pub async fn ledger(&self) -> Value {
        let response = self
            .raw("GET", "/_sandbox/ledger")
            .send()
            .await
            .expect("an answer");
        told(response).await.body
    }

    pub async fn effects(&self, effect: &str) -> Vec<Value> {
        let ledger = self.ledger().await;
        let all = ledger["effects"].as_array().expect("a list").clone();
        all.into_iter()
            .filter(|each| each["effect"] == effect)
            .collect()
    }

    pub async fn counts(&self, call: &str) -> Value {
        let ledger = self.ledger().await;
        let calls = ledger["calls"].as_array().expect("a list");
        calls
            .iter()
            .find(|each| each["call"] == call)
            .expect("a known call")
            .clone()
    }

    pub async fn advance(&self, span: &str) -> i64 {
        let told = self.control("clock", json!({ "advance": span })).await;
        assert_eq!(told.http, 200, "{}", told.body);
        told.body["now"].as_i64().expect("a time")
    }

    pub async fn faults(&self, list: Value) {
        let told = self.control("faults", list).await;
        assert_eq!(told.http, 200, "{}", told.body);
    }

    pub async fn act(&self, act: Value) -> Value {
        let told = self.control("act", act).await;
        assert_eq!(told.http, 200, "{}", told.body);
        told.body
    }

    /// Moves the clock to the start of a minute and lets it stand there: windows begin now and
    /// end when the test says so, however slow the machine is.
    pub async fn align(&self) {
        self.control("clock", json!({ "freeze": true })).await;
        let now = self.ledger().await["now"].as_i64().expect("a time");
        self.advance(&format!("{}ms", 60_000 - now % 60_000)).await;
    }
}

/// A body for send.
pub fn message(to: &str, msg_type: &str, content: Value) -> Value {
    json!({ "receive_id": to, "msg_type": msg_type, "content": content.to_string() })
}

/// The message id of a success.
#[track_caller]
pub fn id(told: &Told) -> String {
    told.ok()["message_id"]
        .as_str()
        .expect("a message id")
        .to_owned()
}
