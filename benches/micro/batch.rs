//! One batch of the store's writer: so many jobs become durable, are marked, and are finished.
//!
//! Each is one transaction with its commit on the disk. The jobs of an enqueue come in requests of their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use feishu_relay::bench::jobs;
use feishu_relay::clock::Clock;
use feishu_relay::job::{AppId, Attempt, Head, Marked, NewJob, Outcome, Permit, Steer};
use feishu_relay::store::{
    Budget, Closer, Counted, End, Finish, MonthOf, Options, Store, StoreError, UnknownMove,
};
use futures_util::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// As long as nothing else is configured.
const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Enqueue,
    Mark,
    Finish,
}

pub(crate) fn batch(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be had");
    let mut group = criterion.benchmark_group("batch");
    // Every one is a commit, and most of that the disk's: fewer say as much.
    group.sample_size(20);
    for n in [1, 64, 512] {
        for (name, part) in [
            ("enqueue", Part::Enqueue),
            ("mark", Part::Mark),
            ("finish", Part::Finish),
        ] {
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(format!("{name}_{n}"), |bencher| {
                let mut house = House::open(&runtime);
                bencher.iter_custom(|rounds| {
                    let timed = (0..rounds).map(|_| house.round(&runtime, n, part));
                    timed.sum()
                });
                runtime.block_on(house.closer.close());
            });
        }
    }
}

/// A store that is told what stands in its lanes.
struct House {
    store: Store,
    closer: Closer,
    stood: mpsc::UnboundedReceiver<Vec<Head>>,
    _folder: tempfile::TempDir,
}

impl House {
    fn open(runtime: &Runtime) -> House {
        let folder = folder();
        let options = Options {
            path: folder.path().join("relay.db"),
            max_pending: u64::MAX,
            give_up_ms: 72 * HOUR_MS,
            retention_ms: 720 * HOUR_MS,
            content_retention_ms: 720 * HOUR_MS,
            apps: vec![String::from("ops")],
            budgets: vec![Budget {
                urgent_sms: 0,
                urgent_phone: 0,
            }],
            months: vec![MonthOf {
                tenant: String::from("ops"),
                quota: 0,
            }],
        };
        let (told, stood) = mpsc::unbounded_channel();
        let opened = runtime.block_on(async {
            let (store, closer) = Store::open(options, Clock::system()).await?;
            store.attach(Arc::new(Nobody(told))).await?;
            Ok::<_, StoreError>((store, closer))
        });
        let (store, closer) = opened.expect("the store opens");
        House {
            store,
            closer,
            stood,
            _folder: folder,
        }
    }

    /// `n` jobs from their acceptance to their end; answers how long the one part took.
    fn round(&mut self, runtime: &Runtime, n: usize, part: Part) -> Duration {
        runtime.block_on(async {
            let news: Vec<NewJob> = (0..n).map(new).collect();
            let (accepted, enqueued) = timed(join_all(
                news.into_iter().map(|job| self.store.accept(vec![job])),
            ))
            .await;
            for one in accepted {
                one.expect("it is accepted");
            }
            let mut seqs = Vec::new();
            while seqs.len() < n {
                let heads = self.stood.recv().await.expect("the store tells");
                seqs.extend(heads.iter().map(|head| head.seq));
            }
            let (marked, took) = timed(self.store.mark(seqs)).await;
            let marked = marked.expect("they are marked");
            assert_eq!(marked.len(), n, "all of them are due");
            let results: Arc<[Finish]> = marked.iter().map(done).collect();
            let (finished, ended) = timed(self.store.finish(results)).await;
            finished.expect("they are finished");
            match part {
                Part::Enqueue => enqueued,
                Part::Mark => took,
                Part::Finish => ended,
            }
        })
    }
}

async fn timed<T>(what: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (what.await, began.elapsed())
}

fn new(n: usize) -> NewJob {
    let mut jobs = jobs(&crate::body(n), &crate::door());
    let mut job = jobs.pop().expect("the job is a good one");
    job.start_ms = None;
    job
}

/// Sent at the first attempt.
fn done(marked: &Marked) -> Finish {
    Finish {
        head: marked.head.clone(),
        attempt: marked.attempt,
        part: None,
        end: End::Done {
            receipt: Some(String::from("{}")),
            message_id: Some(format!("om_{:032}", marked.head.seq)),
        },
        record: Attempt {
            at_ms: marked.mark.wall_ms,
            ms: Some(20),
            outcome: Outcome::Done,
            http: Some(200),
            code: Some(0),
            log_id: None,
            part: None,
            rung: None,
        },
        spent: marked.spent,
        unknown: UnknownMove::Keep,
        verify: false,
        resent: false,
        degraded: None,
        counted: Some(Counted {
            again: false,
            lost: false,
        }),
        progress: None,
        readers: Vec::new(),
        answer: None,
    }
}

/// A dispatcher that grants nothing, so that what is accepted stands in its lane.
struct Nobody(mpsc::UnboundedSender<Vec<Head>>);

impl Permit for Nobody {
    fn grant(&self, _: &Head) -> bool {
        false
    }
    fn withdraw(&self, _: &[Head]) {}
    fn born(&self, _: Vec<Marked>) {}
    fn stood(&self, heads: Vec<Head>) {
        let _ = self.0.send(heads);
    }
    fn steered(&self, _: Vec<Steer>) {}
    fn left(&self, _: Vec<(AppId, Box<str>)>) {}
}

/// On the disk that the relay's benches measure.
fn folder() -> tempfile::TempDir {
    let parent = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/bench"));
    std::fs::create_dir_all(&parent).expect("a folder can be made");
    tempfile::tempdir_in(parent).expect("a folder can be made")
}
