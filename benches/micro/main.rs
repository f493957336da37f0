//! `cargo bench --bench micro --features bench`: how long the single steps of a job take, one by one.
//!
//! Criterion times them and says what changed since the last run. How they are read: docs/PERFORMANCE.md.
//! Not here: the relay as a whole (`benches/relay`), beside what others use (`benches/peers`).

mod batch;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use feishu_relay::bench::{Judging, Picking, Windows, jobs};
use feishu_relay::job::{Door, Priority};

/// As the relay has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes of a job as it is posted; as in `benches/relay`.
const JOB_BYTES: usize = 600;

fn judge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("judge");
    for (name, judging) in Judging::all() {
        group.bench_function(name, |bencher| bencher.iter(|| judging.judge()));
    }
}

/// One call through all its windows: asked, taken, answered.
fn pace(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pace");
    let mut app = Windows::of_an_app(1000);
    group.bench_function("app_full", |bencher| bencher.iter(|| app.call()));
    for chats in [1, 1000, 100_000] {
        let mut windows = Windows::of_chats(chats);
        group.bench_function(format!("chats_{chats}"), |bencher| {
            bencher.iter(|| windows.call());
        });
    }
}

/// One job through the lanes: it ends, its lane's next one is read, the next job is picked.
fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for lanes in [1, 1000, 100_000] {
        let mut picking = Picking::over(lanes);
        group.bench_function(format!("lanes_{lanes}"), |bencher| {
            bencher.iter(|| assert_eq!(picking.step(), 1));
        });
    }
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let (body, door) = (body(0), door());
    assert_eq!(jobs(&body, &door).len(), 1, "the job is a good one");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("job_600_bytes", |bencher| {
        bencher.iter(|| jobs(black_box(&body), &door));
    });
}

/// A job of `JOB_BYTES` for one of a thousand chats.
fn body(n: usize) -> Vec<u8> {
    let head = format!(
        "{{\"kind\":\"send\",\"args\":{{\"to\":\"oc_be0c{:028}\",\"text\":\"",
        n % 1000
    );
    let tail = "\"}}";
    let fill = "x".repeat(JOB_BYTES.saturating_sub(head.len() + tail.len()));
    format!("{head}{fill}{tail}").into_bytes()
}

/// What a producer without restrictions meets.
fn door() -> Door {
    Door {
        apps: vec![String::from("ops")],
        bots: Vec::new(),
        allowed_apps: None,
        allowed_kinds: None,
        client: String::new(),
        priority: Priority::Normal,
        expires_in_ms: None,
        labels: Default::default(),
        now_ms: 1_767_225_600_000,
        arrived: Vec::new(),
    }
}

criterion_group!(steps, judge, pace, pick, parse, batch::batch);
criterion_main!(steps);
