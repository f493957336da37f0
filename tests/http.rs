//! The doors as a client meets them: the real daemon, on free ports, with a database of its own.

mod house;

use std::time::Duration;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use house::{House, SECRET, Told};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A job that stays where it is for the length of a test.
fn job(text: &str) -> Value {
    json!({
        "kind": "send",
        "args": { "to": DEFAULT_CHAT, "text": text },
        "delay": "1h",
    })
}

fn keyed(key: &str, text: &str) -> Value {
    let mut job = job(text);
    job["key"] = json!(key);
    job
}

#[tokio::test]
async fn the_same_key_twice_makes_one_job() {
    let house = House::open("").await;
    let first = house.post("/v1/jobs", &keyed("k", "hello")).await;
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(first.body["state"], "queued");
    assert_eq!(first.body["args"], Value::Null);
    let id = first.text("id");
    assert_eq!(first.header("location"), format!("/v1/jobs/{id}"));

    let again = house.post("/v1/jobs", &keyed("k", "hello")).await;
    assert_eq!((again.status, again.text("id")), (200, id.clone()));
    let by_header = house
        .request("POST", "/v1/jobs")
        .header("idempotency-key", "k")
        .json(&job("hello"));
    let by_header = Told::of(by_header).await;
    assert_eq!((by_header.status, by_header.text("id")), (200, id.clone()));

    let other = house.post("/v1/jobs", &keyed("k", "goodbye")).await;
    assert_eq!(other.status, 409);
    other.points_at("/key");
    assert!(other.text("detail").contains(&id), "{other:?}");
    let list = json!([job("new"), keyed("k", "goodbye")]);
    let in_a_list = house.post("/v1/jobs", &list).await;
    assert_eq!(in_a_list.status, 409);
    in_a_list.points_at("/1/key");
    assert_eq!(house.ids("/v1/jobs").await, [id]);
    house.close().await;
}

#[tokio::test]
async fn every_bad_job_is_pointed_at_and_leaves_nothing_behind() {
    let house = House::open("").await;
    let with = |path: &str, value: Value| {
        let mut job = job("hello");
        *job.pointer_mut(path.rsplit_once('/').unwrap().0)
            .and_then(|parent| parent.as_object_mut())
            .unwrap()
            .entry(path.rsplit_once('/').unwrap().1)
            .or_insert(Value::Null) = value;
        job
    };
    let undelayed = |mut job: Value| {
        job.as_object_mut().unwrap().remove("delay");
        job
    };
    let unknown = "job_00000000000000000000000000000000";
    let cases = [
        (with("/kind", json!("shout")), "/kind"),
        (with("/kind", json!(7)), "/kind"),
        (json!({ "args": {} }), "/kind"),
        (with("/app", json!("nobody")), "/app"),
        (with("/priority", json!("urgent")), "/priority"),
        (with("/delay", json!("soon")), "/delay"),
        (with("/delay", json!(60)), "/delay"),
        (with("/not_before", json!("2030-01-01T00:00:00Z")), "/delay"),
        (
            undelayed(with("/not_before", json!("tomorrow"))),
            "/not_before",
        ),
        (with("/expires_in", json!("1m")), "/expires_in"),
        (
            with("/expires_at", json!("2001-01-01T00:00:00Z")),
            "/expires_at",
        ),
        (with("/labels", json!(["a"])), "/labels"),
        (with("/labels", json!({ "team": 7 })), "/labels/team"),
        (with("/key", json!("")), "/key"),
        (with("/key", json!("k".repeat(201))), "/key"),
        (with("/on_doubt", json!("pray")), "/on_doubt"),
        (with("/lable", json!({})), "/lable"),
        (with("/args", json!("hello")), "/args"),
        (with("/args/to", json!(7)), "/args/to"),
        (with("/args/text", json!(7)), "/args/text"),
        (with("/args/txt", json!("hello")), "/args/txt"),
        (with("/then", json!({})), "/then"),
        (with("/then", json!([{ "kind": "pinn" }])), "/then/0/kind"),
        (
            with("/then", json!([{ "kind": "pin", "key": "k" }])),
            "/then/0/key",
        ),
        (
            json!({ "kind": "pin", "args": { "message": unknown } }),
            "/args/message",
        ),
        (json!("hello"), ""),
        (json!(null), ""),
        (json!([]), ""),
        (json!([job("fine"), 7]), "/1"),
        (
            json!([job("fine"), with("/args/text", json!(7))]),
            "/1/args/text",
        ),
        (json!([[job("fine")]]), "/0"),
        (json!(vec![job("fine"); 10_001]), ""),
    ];
    for (body, pointer) in cases {
        let refused = house.post("/v1/jobs", &body).await;
        assert_eq!(refused.status, 422, "{pointer}: {refused:?}");
        refused.points_at(pointer);
    }
    assert!(house.ids("/v1/jobs").await.is_empty());
    house.close().await;
}

#[tokio::test]
async fn every_bad_body_is_refused_and_leaves_nothing_behind() {
    let house = House::open("").await;
    let fine = job("hello").to_string();
    let twice = fine.replacen('{', "{\"kind\": \"pin\", ", 1);
    let cases: [(&str, &str, u16, &str); 14] = [
        ("application/json", "", 400, "empty"),
        ("application/json", "  \n", 400, "empty"),
        (
            "application/json",
            "{\"kind\": \"send\"",
            400,
            "line 1, column 15",
        ),
        ("application/json", "{\n  kind: 1}", 400, "line 2, column 3"),
        ("application/json", &twice, 400, "\"kind\" stands twice"),
        ("application/json", &"[".repeat(1000), 400, "recursion"),
        ("application/json", "NaN", 400, "line 1"),
        (
            "application/x-www-form-urlencoded",
            "to=oc_1&text=hi",
            400,
            "line 1",
        ),
        ("application/x-ndjson", "{}\n{\n", 400, "line 2"),
        ("multipart/mixed; boundary=x", "--x--", 415, "multipart"),
        ("image/png", &fine, 415, "image/png"),
        ("application/xml", "<job/>", 415, "xml"),
        ("text/html", "<p>", 415, "html"),
        ("application/x-yaml", "kind: send", 415, "yaml"),
    ];
    for (media, body, status, detail) in cases {
        let request = house
            .request("POST", "/v1/jobs")
            .header("content-type", media)
            .body(body.to_owned());
        let refused = Told::of(request).await;
        refused.is_problem(status);
        assert!(refused.text("detail").contains(detail), "{refused:?}");
    }
    let packed = house.request("POST", "/v1/jobs").body(fine.clone());
    let packed = Told::of(packed.header("content-encoding", "gzip")).await;
    packed.is_problem(415);
    let unread = house.request("POST", "/v1/jobs?wiat=1s").body(fine.clone());
    Told::of(unread).await.points_at("?wiat");
    let other_key = house.request("POST", "/v1/jobs").json(&keyed("a", "x"));
    let other_key = Told::of(other_key.header("idempotency-key", "b")).await;
    other_key.points_at("/key");
    let list_key = house.request("POST", "/v1/jobs").json(&json!([job("x")]));
    let list_key = Told::of(list_key.header("idempotency-key", "b")).await;
    list_key.points_at("");
    assert!(house.ids("/v1/jobs").await.is_empty());
    house.close().await;
}

#[tokio::test]
async fn jobs_come_one_in_a_list_or_by_lines_whatever_curl_calls_them() {
    let house = House::open("").await;
    let send = async |media: &str, body: String| {
        let request = house.request("POST", "/v1/jobs");
        Told::of(request.header("content-type", media).body(body)).await
    };
    let form = "application/x-www-form-urlencoded";
    let one = send(form, job("one").to_string()).await;
    assert_eq!(one.status, 202, "{one:?}");
    assert!(one.text("id").starts_with("job_"));

    let list = send(form, json!([job("two"), job("three")]).to_string()).await;
    let lines = format!("{}\n\n{}\n", job("four"), job("five"));
    let by_lines = send(form, lines.clone()).await;
    let said = send("application/x-ndjson", lines).await;
    for many in [&list, &by_lines, &said] {
        assert_eq!(many.status, 202, "{many:?}");
        assert_eq!(many.body["jobs"].as_array().unwrap().len(), 2);
    }
    let single = send("application/x-ndjson", format!("{}\n", job("six"))).await;
    assert_eq!(single.body["jobs"].as_array().unwrap().len(), 1);

    let mut ids = vec![one.text("id")];
    for many in [&list, &by_lines, &said, &single] {
        let jobs = many.body["jobs"].as_array().unwrap();
        ids.extend(
            jobs.iter()
                .map(|job| job["id"].as_str().unwrap().to_owned()),
        );
    }
    ids.reverse();
    assert_eq!(house.ids("/v1/jobs").await, ids);
    house.close().await;
}

#[tokio::test]
async fn a_list_of_which_all_were_there_is_200_and_keeps_its_order() {
    let house = House::open("").await;
    let list = json!([keyed("b", "b"), keyed("a", "a"), keyed("b", "b")]);
    let first = house.post("/v1/jobs", &list).await;
    assert_eq!(first.status, 202, "{first:?}");
    let ids = |told: &Told| -> Vec<Value> {
        let jobs = told.body["jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["id"].clone()).collect()
    };
    assert_eq!(ids(&first)[0], ids(&first)[2]);
    let again = house.post("/v1/jobs", &list).await;
    assert_eq!((again.status, ids(&again)), (200, ids(&first)));
    let longer = json!([keyed("a", "a"), keyed("c", "c")]);
    assert_eq!(house.post("/v1/jobs", &longer).await.status, 202);
    assert_eq!(house.ids("/v1/jobs").await.len(), 3);
    house.close().await;
}

#[tokio::test]
async fn ten_thousand_jobs_come_in_one_request() {
    let house = House::open("").await;
    let many = json!(vec![job("hello"); 10_000]);
    let told = house.post("/v1/jobs", &many).await;
    assert_eq!(told.status, 202);
    let jobs = told.body["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 10_000);
    assert!(jobs.iter().all(|job| job["state"] == "queued"));
    assert_eq!(house.get("/v1/status").await.body["pending"], 10_000);
    house.close().await;
}

#[tokio::test]
async fn a_list_is_filtered_and_goes_on_from_page_to_page() {
    let house = House::open("").await;
    for n in 0..5 {
        let mut job = keyed(&format!("k{n}"), "hello");
        job["labels"] = json!({ "team": if n % 2 == 0 { "db" } else { "web" } });
        assert_eq!(house.post("/v1/jobs", &job).await.status, 202);
    }
    let all = house.ids("/v1/jobs").await;
    assert_eq!(all.len(), 5);
    assert_eq!(house.ids("/v1/jobs?label.team=db").await.len(), 3);
    assert_eq!(
        house.ids("/v1/jobs?key=k1&label.team=web").await,
        [all[3].clone()]
    );
    assert_eq!(house.ids("/v1/jobs?state=queued,done&kind=send").await, all);
    assert!(house.ids("/v1/jobs?state=failed").await.is_empty());
    assert!(house.ids("/v1/jobs?until=1h").await.is_empty());
    assert_eq!(house.ids("/v1/jobs?since=1h&app=ops&client=").await, all);

    let mut seen = Vec::new();
    let mut path = String::from("/v1/jobs?limit=2");
    loop {
        let page = house.get(&path).await;
        let jobs = page.body["jobs"].as_array().unwrap();
        assert!(jobs.len() <= 2 && jobs.iter().all(|job| job["args"].is_null()));
        seen.extend(
            jobs.iter()
                .map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/jobs?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    for (bad, pointer) in [
        ("stat=done", "?stat"),
        ("state=doone", "?state"),
        ("limit=0", "?limit"),
        ("limit=201", "?limit"),
        ("since=then", "?since"),
        ("kind=shout", "?kind"),
    ] {
        let refused = house.get(&format!("/v1/jobs?{bad}")).await;
        assert_eq!(refused.status, 422, "{bad}");
        refused.points_at(pointer);
    }
    house.close().await;
}

#[tokio::test]
async fn a_job_is_canceled_once_and_a_strange_id_is_404() {
    let house = House::open("").await;
    let id = house.post("/v1/jobs", &job("hello")).await.text("id");
    let asked = house.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(
        (asked.status, &asked.body["args"]["text"]),
        (200, &json!("hello"))
    );

    let path = |verb: &str| format!("/v1/jobs/{id}/{verb}");
    let odd = house.post(&path("cancel"), &json!({ "force": true })).await;
    odd.points_at("/force");
    let canceled = Told::of(house.request("POST", &path("cancel"))).await;
    assert_eq!(
        (canceled.status, canceled.text("state")),
        (200, "canceled".into())
    );
    assert_eq!(canceled.body["actions"][0]["by"], "local");
    let settled = house
        .post(&path("settle"), &json!({ "state": "done" }))
        .await;
    settled.is_problem(409);
    house.get(&path("progress")).await.is_problem(409);
    let unsaid = house.post(&path("settle"), &json!({})).await;
    unsaid.points_at("/state");

    for strange in [
        "job_00000000000000000000000000000000",
        "om_1",
        "bm-1",
        "7",
        "%FF",
    ] {
        let told = house.get(&format!("/v1/jobs/{strange}")).await;
        assert!(matches!(told.status, 400 | 404), "{strange}: {told:?}");
        told.is_problem(told.status);
        let act = house.request("POST", &format!("/v1/jobs/{strange}/cancel"));
        assert!(matches!(Told::of(act).await.status, 400 | 404), "{strange}");
    }
    house.close().await;
}

#[tokio::test]
async fn strange_paths_and_methods_are_problems_and_every_answer_is_dressed() {
    let house = House::open("").await;
    for path in ["/nothing", "/v1", "/v1/jobs/", "/open-api/im/v1/messages"] {
        house.get(path).await.is_problem(404);
    }
    let feishu = house.get("/open-apis/im/v1/messages").await;
    let code = feishu.body["code"].as_i64();
    assert_eq!((feishu.status, code), (400, Some(99_991_661)), "{feishu:?}");
    let wrong = Told::of(house.request("DELETE", "/v1/jobs")).await;
    wrong.is_problem(405);
    assert!(wrong.header("allow").contains("POST"), "{wrong:?}");
    Told::of(house.request("PUT", "/v1/status"))
        .await
        .is_problem(405);

    let named = house
        .request("GET", "/healthz")
        .header("x-request-id", "mine-1");
    let named = Told::of(named).await;
    assert_eq!(
        (named.status, named.header("x-request-id")),
        (200, "mine-1".into())
    );
    assert_eq!(named.header("x-content-type-options"), "nosniff");
    assert_eq!(named.header("cache-control"), "no-store");
    assert_eq!(house.get("/readyz").await.status, 200);
    assert_eq!(house.get("/").await.status, 200);
    let status = house.get("/v1/status").await;
    assert_eq!(status.status, 200, "{status:?}");
    assert_eq!(status.body["apps"][0]["app"], "ops");
    assert_eq!(status.body["pending"], 0);
    house.close().await;
}

#[tokio::test]
async fn a_full_relay_says_so_and_stores_nothing() {
    let house = House::open("[queue]\nmax_pending = 2\n").await;
    let two = house.post("/v1/jobs", &json!([job("a"), job("b")])).await;
    assert_eq!(two.status, 202, "{two:?}");
    let full = house.post("/v1/jobs", &job("c")).await;
    full.is_problem(503);
    assert!(!full.header("retry-after").is_empty());
    assert_eq!(house.ids("/v1/jobs").await.len(), 2);
    assert_eq!(house.get("/readyz").await.status, 200);
    house.close().await;
}

const CLIENTS: &str = r#"
[[clients]]
name = "alerts"
token = "alerts-token"
scopes = ["enqueue"]
labels = { source = "alerts" }
kinds = ["send"]
[[clients]]
name = "graphs"
token = ["old-token", "graphs-token"]
scopes = ["enqueue", "read"]
[[clients]]
name = "boss"
token = "boss-token"
scopes = ["operate", "read"]
"#;

#[tokio::test]
async fn a_client_may_do_what_its_scopes_say() {
    let house = House::open(CLIENTS).await;
    let call = async |method: &str, path: &str, token: &str, body: &Value| {
        let request = house.request(method, path).bearer_auth(token);
        Told::of(request.json(body)).await
    };
    for path in ["/v1/jobs", "/v1/status", "/", "/nothing"] {
        let nobody = house.get(path).await;
        nobody.is_problem(401);
        assert_eq!(nobody.header("www-authenticate"), "Bearer");
    }
    house.post("/v1/jobs", &job("x")).await.is_problem(401);
    call("GET", "/v1/jobs", SECRET, &json!(null))
        .await
        .is_problem(401);
    assert_eq!(house.get("/healthz").await.status, 200);
    assert_eq!(house.get("/readyz").await.status, 200);

    let mine = call("POST", "/v1/jobs", "alerts-token", &job("x")).await;
    assert_eq!((mine.status, mine.text("client")), (202, "alerts".into()));
    assert_eq!(mine.body["labels"]["source"], "alerts");
    call("GET", "/v1/jobs", "alerts-token", &json!(null))
        .await
        .is_problem(403);
    call("POST", "/v1/jobs", "boss-token", &job("x"))
        .await
        .is_problem(403);
    let pin = json!({ "kind": "pin", "args": { "message": "om_1" } });
    call("POST", "/v1/jobs", "alerts-token", &pin)
        .await
        .points_at("/kind");

    let path = |verb: &str| format!("/v1/jobs/{}/{verb}", mine.text("id"));
    let empty = json!({});
    call("POST", &path("cancel"), "graphs-token", &empty)
        .await
        .is_problem(403);
    call("POST", &path("retry"), "alerts-token", &empty)
        .await
        .is_problem(403);
    let settle = json!({ "state": "failed" });
    call("POST", &path("settle"), "alerts-token", &settle)
        .await
        .is_problem(403);
    let own = call("POST", &path("cancel"), "alerts-token", &empty).await;
    assert_eq!(
        (own.status, own.text("state")),
        (200, "canceled".into()),
        "{own:?}"
    );
    assert_eq!(own.body["actions"][0]["by"], "alerts");

    let other = call("POST", "/v1/jobs", "old-token", &job("y")).await;
    assert_eq!(other.text("client"), "graphs");
    let path = format!("/v1/jobs/{}/recall", other.text("id"));
    let taken = call("POST", &path, "boss-token", &empty).await;
    assert_eq!(
        (taken.status, taken.text("state")),
        (200, "canceled".into()),
        "{taken:?}"
    );
    house.close().await;
}

#[tokio::test]
async fn a_key_belongs_to_its_client() {
    let house = House::open(CLIENTS).await;
    let mut ids = Vec::new();
    for token in ["alerts-token", "graphs-token"] {
        let request = house.request("POST", "/v1/jobs").bearer_auth(token);
        let told = Told::of(request.json(&keyed("k", "hello"))).await;
        assert_eq!(told.status, 202, "{told:?}");
        ids.push(told.text("id"));
    }
    assert_ne!(ids[0], ids[1]);
    house.close().await;
}

#[tokio::test]
async fn a_browser_page_of_another_site_gets_nowhere() {
    let house = House::open("").await;
    let with = async |method: &str, name: &str, value: &str| {
        let request = house.request(method, "/v1/jobs").header(name, value);
        Told::of(request.json(&job("x"))).await.status
    };
    assert_eq!(with("POST", "origin", "http://evil.example").await, 403);
    assert_eq!(with("POST", "origin", "null").await, 403);
    assert_eq!(with("POST", "sec-fetch-site", "cross-site").await, 403);
    assert_eq!(with("GET", "sec-fetch-site", "same-site").await, 403);
    assert_eq!(with("OPTIONS", "origin", "http://evil.example").await, 403);
    assert_eq!(with("GET", "host", "evil.example").await, 403);
    assert_eq!(with("GET", "host", "localhost:1").await, 200);
    assert_eq!(with("POST", "origin", &house.url).await, 202);
    assert_eq!(house.ids("/v1/jobs").await.len(), 1);
    house.close().await;
}

#[tokio::test]
async fn a_unix_socket_needs_no_token() {
    let house = House::open(CLIENTS).await;
    let client = house.over_unix();
    let request = client.post("http://localhost/v1/jobs").json(&job("x"));
    let told = Told::of(request).await;
    assert_eq!(
        (told.status, told.text("client")),
        (202, String::new()),
        "{told:?}"
    );
    let listed = Told::of(client.get("http://localhost/v1/jobs")).await;
    assert_eq!(listed.body["jobs"].as_array().unwrap().len(), 1);
    let socket = house.socket();
    assert!(socket.exists());
    house.close().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_refusal_is_heard() {
    let house = House::open("[server_more]\nmax_body = \"64 KiB\"\n").await;
    let large = " ".repeat(4 << 20);
    for _ in 0..8 {
        let request = house.request("POST", "/v1/jobs").body(large.clone());
        Told::of(request).await.is_problem(413);
        let over_unix = house.over_unix().post("http://localhost/v1/jobs");
        Told::of(over_unix.body(large.clone()))
            .await
            .is_problem(413);
    }
    // Without a length the bound is met while reading.
    let mut stream = house.connect().await;
    let head = "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    for _ in 0..64 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = house::head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(house.ids("/v1/jobs").await.is_empty());
    house.close().await;
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let house = House::open("[server_more]\nmax_body = \"64 KiB\"\n").await;
    let mut stream = house.connect().await;
    let head = "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                content-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = house::head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    house.close().await;
}

#[tokio::test]
async fn nobody_holds_up_a_stop() {
    let house = House::open("").await;
    let id = house.post("/v1/jobs", &job("hello")).await.text("id");
    let mut half_header = house.connect().await;
    half_header
        .write_all(b"GET / HTTP/1.1\r\nHo")
        .await
        .unwrap();
    let mut slow_body = house.connect().await;
    let head = "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                content-length: 100\r\n\r\n";
    slow_body.write_all(head.as_bytes()).await.unwrap();
    // The relay asks for the body: it is being read.
    let asked = house::head(&mut slow_body).await;
    assert!(asked.starts_with("HTTP/1.1 100"), "{asked}");
    slow_body.write_all(b"{\"kind\"").await.unwrap();
    let mut idle = house.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    house::head(&mut idle).await;
    let mut waiting = house.connect().await;
    let first = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let then = format!("GET /v1/jobs/{id}?wait=5m HTTP/1.1\r\nhost: localhost\r\n\r\n");
    waiting
        .write_all(format!("{first}{then}").as_bytes())
        .await
        .unwrap();
    // The second came with the first, so it is being served once the first is answered and the
    // relay's one thread has answered somebody else.
    house::head(&mut waiting).await;
    house.get("/healthz").await;

    let stopped = tokio::time::timeout(Duration::from_secs(30), house.close()).await;
    assert!(stopped.is_ok(), "the stop hung");
    let mut told = String::new();
    slow_body.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    told.clear();
    waiting.read_to_string(&mut told).await.unwrap();
    assert!(
        told.contains("HTTP/1.1 200") && told.contains(&id),
        "{told}"
    );
}

#[tokio::test]
async fn a_wait_ends_with_the_job() {
    let house = House::open("").await;
    let mut now = job("hello");
    now.as_object_mut().unwrap().remove("delay");
    let sent = house.post("/v1/jobs?wait=1m", &now).await;
    assert_eq!(
        (sent.status, sent.text("state")),
        (202, "done".into()),
        "{sent:?}"
    );
    let message = sent.body["receipt"]["message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let by_message = house.get(&format!("/v1/jobs/{message}")).await;
    assert_eq!(by_message.text("id"), sent.text("id"));

    let later = house.post("/v1/jobs", &job("later")).await.text("id");
    let path = format!("/v1/jobs/{later}?wait=1m");
    let cancel = async {
        let path = format!("/v1/jobs/{later}/cancel");
        Told::of(house.request("POST", &path)).await
    };
    let (waited, canceled) = tokio::join!(house.get(&path), cancel);
    assert_eq!(
        (waited.status, waited.text("state")),
        (200, "canceled".into())
    );
    assert_eq!(canceled.status, 200);

    now["then"] = json!([{ "kind": "pin" }]);
    let parent = house.post("/v1/jobs", &now).await;
    let path = format!("/v1/jobs/{}?wait=1m&wait_for=all", parent.text("id"));
    let parent = house.get(&path).await;
    assert_eq!(parent.text("state"), "done", "{parent:?}");
    let child = parent.body["children"][0].as_str().unwrap().to_owned();
    let child = house.get(&format!("/v1/jobs/{child}")).await;
    assert_eq!(child.text("state"), "done", "{child:?}");
    house.close().await;
}

#[tokio::test]
async fn a_batch_tells_how_far_it_is() {
    let house = House::open("").await;
    let batch = json!({
        "kind": "batch_send",
        "args": { "open_ids": [DEFAULT_USERS[0], DEFAULT_USERS[1]], "text": "hello" },
    });
    let sent = house.post("/v1/jobs?wait=1m", &batch).await;
    assert_eq!(sent.text("state"), "done", "{sent:?}");
    let path = |query: &str| format!("/v1/jobs/{}/progress{query}", sent.text("id"));
    let known = house.get(&path("")).await;
    assert_eq!(known.status, 200, "{known:?}");
    assert_eq!(known.body["parts"][0]["count"], 2);
    // Feishu counts for a while; only a fresh question hears of the end so soon.
    house.move_sandbox("1m").await;
    let fresh = house.get(&path("?fresh=true")).await;
    let counts = &fresh.body["batch_message_send_progress"];
    assert_eq!(counts["valid_user_ids_count"], 2, "{fresh:?}");
    let batch_id = fresh.body["parts"][0]["batch_message_id"].as_str().unwrap();
    let by_batch = house.get(&format!("/v1/jobs/{batch_id}")).await;
    assert_eq!(by_batch.text("id"), sent.text("id"));
    house.get(&path("?fresh=soon")).await.points_at("?fresh");
    house.close().await;
}
