//! What each way of failing is called.

use tokio::net::TcpSocket;

use super::server::{Act, Server, json};
use super::*;
use crate::classify::{BucketKind, Class, PauseScope};
use crate::request::FileSource;

/// One attempt without a token, so that the attempt itself is what fails.
async fn attempt(client: &Client, request: &Request) -> Fault {
    client
        .0
        .perform(request, None)
        .await
        .0
        .expect_err("no answer can be read")
}

fn requests() -> [Request; 4] {
    [
        get(),
        recall(),
        pin(),
        upload(FileSource::Bytes(Bytes::from_static(b"image"))),
    ]
}

#[track_caller]
fn not_sent(fault: &Fault) {
    assert!(
        matches!(
            fault,
            Fault::NotSent {
                kind: NotSentKind::Connect,
                ..
            }
        ),
        "{fault}"
    );
    discreet(fault);
}

#[track_caller]
fn unknown(fault: &Fault, expected: UnknownKind, status: Option<u16>) {
    let Fault::Unknown { kind, http, .. } = fault else {
        panic!("{fault}")
    };
    assert_eq!((*kind, *http), (expected, status), "{fault}");
    discreet(fault);
}

#[track_caller]
fn discreet(fault: &Fault) {
    let text = format!("{fault} {fault:?}");
    for private in ["127.0.0.1", "om_", "/open-apis", "http://", SECRET] {
        assert!(!text.contains(private), "{text}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let client = Client::new(options(&format!("http://{free}"), LONG)).unwrap();
    for request in requests() {
        not_sent(&attempt(&client, &request).await);
    }
    let exchange = client.call(&pin()).await;
    assert!(
        matches!(
            exchange.answer,
            Err(Fault::NotSent {
                kind: NotSentKind::Token,
                ..
            })
        ),
        "{exchange:?}"
    );
    assert_eq!(verdict(&exchange).class, Class::NotSent);
}

#[tokio::test]
async fn time_running_out_while_connecting_is_not_sent() {
    // A listener that accepts nothing, its queue full: further connections neither come about nor fail.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let addr = full.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = timeout(SHORT, tokio::net::TcpStream::connect(addr)).await {
        queue.push(stream.unwrap());
    }
    for connect in [SHORT / 2, LONG] {
        let client =
            Client::with_connect_timeout(options(&format!("http://{addr}"), SHORT), connect)
                .unwrap();
        for request in requests() {
            not_sent(&attempt(&client, &request).await);
        }
    }
}

#[tokio::test]
async fn a_request_that_was_read_and_not_answered_is_unknown() {
    let acts: [(fn() -> Act, UnknownKind); 3] = [
        (|| Act::Close, UnknownKind::Broken),
        (|| Act::Reset, UnknownKind::Broken),
        (|| Act::Hang(String::new()), UnknownKind::Timeout),
    ];
    for (act, kind) in acts {
        let server = Server::start(move |_, _| act()).await;
        let client = client(
            &server,
            if kind == UnknownKind::Timeout {
                SHORT
            } else {
                LONG
            },
        );
        for request in requests() {
            unknown(&attempt(&client, &request).await, kind, None);
        }
        assert_eq!(
            server.seen("").len(),
            requests().len(),
            "each request was read once"
        );
    }
}

#[tokio::test]
async fn a_request_lost_on_a_used_connection_is_unknown_and_not_repeated() {
    let server = Server::start(|_, nth| {
        if nth == 0 {
            json(r#"{"code":0}"#)
        } else {
            Act::Close
        }
    })
    .await;
    let client = client(&server, LONG);
    for request in [get(), recall(), pin()] {
        client.0.perform(&request, None).await.0.unwrap();
        unknown(&attempt(&client, &request).await, UnknownKind::Broken, None);
    }
    assert_eq!(server.seen("").len(), 6);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_unknown() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let large = format!(r#"{{"code":0,"msg":"{}"}}"#, "x".repeat(ANSWER_BYTES_MAX));
    let acts: [(Act, UnknownKind, u16); 9] = [
        (
            Act::Raw(format!("{head}{{\"code\":0")),
            UnknownKind::Broken,
            200,
        ),
        (
            Act::Hang(format!("{head}{{\"code\":0")),
            UnknownKind::Timeout,
            200,
        ),
        (json("<html>"), UnknownKind::Garbled, 200),
        (json(""), UnknownKind::Garbled, 200),
        (json("{}"), UnknownKind::Garbled, 200),
        (json(r#"{"code":"0"}"#), UnknownKind::Garbled, 200),
        (json(large), UnknownKind::Garbled, 200),
        (
            Act::Answer(502, "", "<html>".to_owned()),
            UnknownKind::ServerError,
            502,
        ),
        (
            Act::Raw(head.replace("200", "400")),
            UnknownKind::Broken,
            400,
        ),
    ];
    for (act, kind, http) in acts {
        let time = if kind == UnknownKind::Timeout {
            SHORT
        } else {
            LONG
        };
        let act = std::sync::Mutex::new(Some(act));
        let server =
            Server::start(move |_, _| act.lock().unwrap().take().expect("asked once")).await;
        unknown(
            &attempt(&client(&server, time), &pin()).await,
            kind,
            Some(http),
        );
    }
}

/// An answer and what is made of it.
async fn judged(status: u16, headers: &'static str, body: &'static str) -> (Exchange, Verdict) {
    let server =
        Server::with_token(move |_, _| Act::Answer(status, headers, body.to_owned())).await;
    let exchange = client(&server, LONG).call(&pin()).await;
    let verdict = verdict(&exchange);
    (exchange, verdict)
}

#[tokio::test]
async fn statuses_without_a_code_are_judged_by_themselves() {
    let expected = [
        (429, Class::Limited, None),
        (401, Class::Token, None),
        (302, Class::Admin, Some(PauseScope::AppApi)),
        (403, Class::Admin, Some(PauseScope::AppApi)),
        (404, Class::Admin, Some(PauseScope::AppApi)),
        (405, Class::Admin, Some(PauseScope::AppApi)),
        (400, Class::Unclear, None),
        (408, Class::Ambiguous, None),
        (503, Class::Ambiguous, None),
        (200, Class::Ambiguous, None),
    ];
    for (status, class, pause) in expected {
        let (_, verdict) = judged(status, "Location: /elsewhere\r\n", "no").await;
        assert_eq!((verdict.class, verdict.pause), (class, pause), "{status}");
    }
}

#[tokio::test]
async fn a_429_is_a_limit_even_if_its_body_breaks_off() {
    let cut = "HTTP/1.1 429 X\r\nx-ogw-ratelimit-reset: 3\r\nContent-Length: 100\r\n\r\n{";
    let server = Server::with_token(move |_, _| Act::Raw(cut.to_owned())).await;
    let verdict = verdict(&client(&server, LONG).call(&pin()).await);
    assert_eq!(
        (verdict.class, verdict.wait_ms),
        (Class::Limited, Some(3000))
    );
}

#[tokio::test]
async fn limits_say_which_bucket_and_how_long() {
    let reset = "x-ogw-ratelimit-limit: 50\r\nx-ogw-ratelimit-reset: 3\r\nX-Tt-Logid: log-1\r\n";
    let body = r#"{"code":99991400,"msg":"request trigger frequency limit"}"#;
    let cases = [
        (429, reset, body, BucketKind::Api, 3000),
        (429, reset, "<html>", BucketKind::Api, 3000),
        (400, reset, body, BucketKind::Api, 3000),
        (429, "Retry-After: 2\r\n", "", BucketKind::Api, 2000),
        (429, "", "", BucketKind::Api, 1000),
        (
            429,
            "x-ogw-ratelimit-reset: -1\r\n",
            "",
            BucketKind::Api,
            1000,
        ),
        (
            400,
            "",
            r#"{"code":230020,"msg":"ext=chat rate limit"}"#,
            BucketKind::Receiver,
            500,
        ),
        (
            400,
            "",
            r#"{"code":230047,"msg":""}"#,
            BucketKind::Message,
            500,
        ),
    ];
    for (status, headers, body, bucket, wait_ms) in cases {
        let (exchange, verdict) = judged(status, headers, body).await;
        assert_eq!(verdict.class, Class::Limited, "{status} {body}");
        assert_eq!(
            (verdict.bucket, verdict.wait_ms),
            (Some(bucket), Some(wait_ms)),
            "{status} {body}"
        );
        assert_eq!(
            exchange.log_id.as_deref(),
            (headers == reset).then_some("log-1")
        );
    }
    let (_, month) = judged(429, reset, r#"{"code":99991403,"msg":""}"#).await;
    assert_eq!(
        (month.class, month.pause),
        (Class::Admin, Some(PauseScope::Tenant))
    );
}

#[tokio::test]
async fn a_whole_answer_keeps_all_it_said() {
    let body = r#"{"code":0,"msg":"success","data":{"pin": {"message_id":"om_1"}},"x":1}"#;
    let (exchange, verdict) = judged(200, "X-Request-Id: r-1\r\n", body).await;
    assert_eq!(verdict.class, Class::Done);
    assert_eq!(exchange.log_id.as_deref(), Some("r-1"));
    let reply = exchange.answer.unwrap();
    assert_eq!(
        (reply.http, reply.code, &*reply.msg, &*reply.body),
        (200, 0, "success", body.as_bytes())
    );
    assert_eq!(
        reply.data.as_ref().unwrap().get(),
        r#"{"pin": {"message_id":"om_1"}}"#
    );
    let pinned: crate::answers::Pinned = reply.data().unwrap();
    assert_eq!(pinned.pin.unwrap().message_id, "om_1");
    assert!(!format!("{reply:?}").contains("om_1"));
    let (exchange, _) = judged(
        400,
        "",
        r#"{"code":230002,"msg":"no","error":{"log_id":"inner"}}"#,
    )
    .await;
    assert_eq!(exchange.log_id.as_deref(), Some("inner"));
}

#[tokio::test]
async fn requests_arrive_as_they_were_made() {
    let server = Server::with_token(|_, _| json(r#"{"code":0}"#)).await;
    let client = client(&server, LONG);
    for request in requests() {
        client.call(&request).await.answer.unwrap();
    }
    let message = "/im/v1/messages/om_1";
    for call in ["GET", "DELETE"] {
        let seen = &server.seen(&format!("{call} /open-apis{message}"))[0];
        assert!(
            seen.body.is_empty() && !seen.headers.contains_key("transfer-encoding"),
            "{seen:?}"
        );
        assert_eq!(seen.headers["authorization"], "Bearer t-1");
    }
    let seen = &server.seen("POST /open-apis/im/v1/pins")[0];
    assert_eq!(seen.body, br#"{"message_id":"om_private"}"#);
    assert_eq!(
        seen.headers["content-type"],
        "application/json; charset=utf-8"
    );
}

#[tokio::test]
async fn a_file_is_sent_from_memory_and_from_disk_alike() {
    let server =
        Server::with_token(|_, _| json(r#"{"code":0,"data":{"image_key":"img_1"}}"#)).await;
    let client = client(&server, LONG);
    let bytes: Vec<u8> = (0..200_000_u32)
        .map(|number| number.to_le_bytes()[0])
        .collect();
    let path = std::env::temp_dir().join(format!("feishu-im-{}", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    for file in [
        FileSource::Bytes(bytes.clone().into()),
        FileSource::Path(path.clone()),
    ] {
        let reply = client.call(&upload(file)).await.answer.unwrap();
        let uploaded: crate::answers::UploadedImage = reply.data().unwrap();
        assert_eq!(uploaded.image_key, "img_1");
    }
    std::fs::remove_file(&path).unwrap();
    for seen in server.seen("/im/v1/images") {
        let boundary = seen.headers["content-type"]
            .split_once("boundary=")
            .unwrap()
            .1;
        let mut expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"image_type\"\r\n\r\nmessage\r\n--{boundary}\r\n\
             Content-Disposition: form-data; name=\"image\"; filename=\"a %22b%22.png\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        expected.extend_from_slice(&bytes);
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(seen.body == expected, "the form has another shape");
    }
    let exchange = client.call(&upload(FileSource::Path(path))).await;
    assert!(
        matches!(
            exchange.answer,
            Err(Fault::NotSent {
                kind: NotSentKind::File,
                ..
            })
        ),
        "{exchange:?}"
    );
}

#[tokio::test]
async fn an_upload_that_stops_moving_is_given_up() {
    // Accepts and never reads: the kernel's buffers fill and the body stops.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut options = options(&url, LONG);
    options.body_idle = SHORT;
    let client = Client::new(options).unwrap();
    let request = upload(FileSource::Bytes(vec![0; 64 << 20].into()));
    let attempt = tokio::spawn(async move { attempt(&client, &request).await });
    let held = listener.accept().await.unwrap();
    let fault = timeout(LONG / 2, attempt)
        .await
        .expect("long before the time-out")
        .unwrap();
    unknown(&fault, UnknownKind::Timeout, None);
    drop(held);
}

#[tokio::test]
async fn an_id_that_fits_no_path_is_the_callers_fault() {
    let server = Server::with_token(|_, _| json(r#"{"code":0}"#)).await;
    let exchange = client(&server, LONG)
        .call(&op::Recall { message_id: ".." }.request())
        .await;
    assert_eq!(verdict(&exchange).class, Class::Caller);
    assert!(server.seen("").is_empty());
}

#[test]
fn options_that_cannot_work_are_refused_and_none_shows_its_secret() {
    for url in [
        "",
        "open.feishu.cn",
        "ftp://open.feishu.cn",
        "http://a/?b",
        "http://a/#b",
    ] {
        assert!(
            matches!(Client::new(options(url, LONG)), Err(ClientError::BaseUrl)),
            "{url}"
        );
    }
    let mut proxied = options("http://127.0.0.1:1", LONG);
    proxied.proxy = Some("http://[".to_owned());
    assert!(!format!("{proxied:?}").contains(SECRET));
    assert!(matches!(Client::new(proxied), Err(ClientError::Proxy)));
}
