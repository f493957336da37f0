//! A program that speaks to Feishu, with the relay's address in place of Feishu's.

use std::net::TcpListener;

use feishu_sandbox::DEFAULT_APP_ID;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{House, PATIENCE};

pub const TENANT_TOKEN: &str = "/open-apis/auth/v3/tenant_access_token/internal";
pub const APP_TOKEN: &str = "/open-apis/auth/v3/app_access_token/internal";

/// The program: it keeps its token, as SDKs do.
#[derive(Clone)]
pub struct Sdk {
    http: reqwest::Client,
    base: String,
    pub token: String,
}

/// An answer.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub headers: HeaderMap,
    /// As it came.
    pub text: String,
    pub body: Value,
}

impl Said {
    pub async fn of(request: reqwest::RequestBuilder) -> Said {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Said {
            status,
            headers,
            text,
            body,
        }
    }

    pub fn code(&self) -> i64 {
        let code = self.body["code"].as_i64();
        code.unwrap_or_else(|| panic!("no code in {self:?}"))
    }

    /// A header, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// It is a refusal in Feishu's shape.
    pub fn refuses(&self, status: u16, code: i64) {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
        assert!(self.body["msg"].is_string(), "{self:?}");
        let media = self.header("content-type");
        assert!(media.starts_with("application/json"), "{self:?}");
    }
}

impl House {
    /// The relay listens on a port of its own too, from its next start on.
    pub fn on_a_port(&mut self) -> String {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        let (from, to) = (
            "listen = \"unix:",
            format!("listen = [\"{address}\", \"unix:"),
        );
        let config = self.config().replacen(from, &to, 1);
        let config = config.replacen("relay.sock\"\n", "relay.sock\"]\n", 1);
        assert_ne!(config, self.config());
        self.set_config(config);
        format!("http://{address}")
    }

    /// A program on the relay's socket, with a token.
    pub async fn sdk(&self) -> Sdk {
        let mut sdk = Sdk {
            http: http().unix_socket(self.socket()).build().unwrap(),
            base: String::from("http://localhost"),
            token: String::new(),
        };
        sdk.log_in("any secret").await;
        sdk
    }

    /// A program on the relay's port, which has no token yet.
    pub fn sdk_at(&self, base: &str) -> Sdk {
        Sdk {
            http: http().build().unwrap(),
            base: base.to_owned(),
            token: String::new(),
        }
    }
}

/// No connection is kept: the relay at its other end may be killed meanwhile.
fn http() -> reqwest::ClientBuilder {
    let http = reqwest::Client::builder().no_proxy();
    http.pool_max_idle_per_host(0).timeout(PATIENCE)
}

impl Sdk {
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.request(method.parse().unwrap(), url)
    }

    pub async fn asks_for_token(&self, path: &str, app_id: &str, secret: &str) -> Said {
        let body = json!({"app_id": app_id, "app_secret": secret});
        Said::of(self.request("POST", path).json(&body)).await
    }

    /// Gets a token, which it uses from now on.
    pub async fn log_in(&mut self, secret: &str) {
        let said = self
            .asks_for_token(TENANT_TOKEN, DEFAULT_APP_ID, secret)
            .await;
        assert_eq!((said.status, said.code()), (200, 0), "{said:?}");
        self.token = said.body["tenant_access_token"]
            .as_str()
            .unwrap()
            .to_owned();
    }

    /// What a call under its token is answered.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Said {
        self.with(method, path, body, &[]).await
    }

    /// The same, with headers.
    pub async fn with(
        &self,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Said {
        let mut request = self.request(method, path).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match body {
            Value::Null => Said::of(request).await,
            body => Said::of(request.json(&body)).await,
        }
    }

    /// Why its token is not taken; 0: it is.
    pub async fn refused(&self) -> i64 {
        let said = self
            .call("GET", "/open-apis/im/v1/messages/om_none", Value::Null)
            .await;
        match said.body["code"].as_i64() {
            Some(code @ (99_991_661 | 99_991_663 | 99_991_668)) => {
                said.refuses(400, code);
                code
            }
            _ => 0,
        }
    }
}

pub const MESSAGES: &str = "/open-apis/im/v1/messages";
pub const TO_CHAT: &str = "/open-apis/im/v1/messages?receive_id_type=chat_id";
pub const PINS: &str = "/open-apis/im/v1/pins";

/// A message as an SDK posts it.
pub fn text(chat: &str, text: &str) -> Value {
    let content = json!({ "text": text }).to_string();
    json!({"receive_id": chat, "msg_type": "text", "content": content})
}

impl Said {
    /// It is code 0, with what Feishu answered or with a promise; the id in it.
    pub fn id(&self) -> String {
        assert_eq!((self.status, self.code()), (200, 0), "{self:?}");
        let data = &self.body["data"];
        let places = [
            &data["message_id"],
            &data["message"]["message_id"],
            &data["image_key"],
            &data["file_key"],
            &data["reaction_id"],
        ];
        let id = places.into_iter().find_map(Value::as_str);
        id.unwrap_or_else(|| panic!("no id in {self:?}")).to_owned()
    }

    /// It is a promise; its id, empty where the call makes none.
    pub fn promise(&self, state: &str) -> String {
        assert_eq!(self.header("x-relay-state"), state, "{self:?}");
        if self.body["data"] == json!({}) {
            assert_eq!((self.status, self.code()), (200, 0), "{self:?}");
            return String::new();
        }
        let id = self.id();
        assert!(id.starts_with("job_"), "{self:?}");
        id
    }

    /// It is Feishu's own.
    pub fn is_feishus(&self) -> &Said {
        assert_eq!(self.header("x-relay-state"), "", "{self:?}");
        assert_ne!(self.header("x-tt-logid"), "", "{self:?}");
        self
    }
}
