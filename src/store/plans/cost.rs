//! What a batch costs: errands to SQLite's thread, statements, and pages in the log.
//!
//! An errand is a hop between threads and back; a page is what the disk takes at the commit. A bound that is
//! broken by design is raised here, beside the reason; one that has become too large is taken down.

use std::sync::Arc;

use super::road::{Yard, done, job, send, set_free, statements};

/// Bytes of a page in the log, with its head.
const FRAME: u64 = 4096 + 24;

/// What one batch cost.
struct Cost {
    errands: usize,
    statements: usize,
    pages: u64,
    said: Vec<String>,
}

struct Scale {
    yard: Yard,
    log_bytes: u64,
}

impl Scale {
    /// A store with a thousand jobs queued in lanes of their own, so that tables and indexes have a depth.
    async fn new() -> Scale {
        let yard = Yard::open().await;
        for some in 0..10 {
            let jobs = (0..100).map(|n| job(&send(some * 100 + n, 600)));
            yard.store.accept(jobs.collect()).await.unwrap();
        }
        let mut scale = Scale { yard, log_bytes: 0 };
        scale.cost();
        scale
    }

    /// What it cost since the last question.
    fn cost(&mut self) -> Cost {
        let log = self.yard.folder.path().join("relay.db-wal");
        let bytes = std::fs::metadata(log).unwrap().len();
        let said = self.yard.ear.heard();
        let cost = Cost {
            errands: said.len(),
            statements: statements(&said).count(),
            pages: bytes.saturating_sub(self.log_bytes) / FRAME,
            said,
        };
        self.log_bytes = bytes;
        cost
    }

    /// At most so many errands, statements and pages.
    fn holds(&mut self, what: &str, errands: usize, statements: usize, pages: u64) {
        let cost = self.cost();
        let said = cost.said.join("\n");
        assert!(
            cost.errands <= errands && cost.statements <= statements && cost.pages <= pages,
            "{what}: {} errands, {} statements, {} pages\n{said}",
            cost.errands,
            cost.statements,
            cost.pages
        );
    }
}

#[tokio::test]
async fn a_batch_costs_no_more_than_it_did() {
    let mut scale = Scale::new().await;
    let store = scale.yard.store.clone();
    // A job that must wait.
    store.accept(vec![job(&send(2000, 600))]).await.unwrap();
    scale.holds("accept 1, queued", 1, 5, 8);
    // One that may begin, and its end.
    set_free(&store, true).await;
    scale.cost();
    store.accept(vec![job(&send(2001, 600))]).await.unwrap();
    scale.holds("accept 1, born marked", 1, 5, 6);
    let left = store.left().await.unwrap();
    scale.cost();
    store
        .finish(Arc::new([done(&left[0].marked)]))
        .await
        .unwrap();
    scale.holds("finish 1", 2, 6, 9);
    set_free(&store, false).await;
    scale.cost();
    // Whatever waits when the writer comes goes into one batch.
    let requests = (0..64).map(|n| store.accept(vec![job(&send(3000 + n, 600))]));
    let ids: Vec<_> = futures_util::future::join_all(requests).await;
    scale.holds("accept 64", 1, 5, 36);
    let ids: Vec<_> = ids.into_iter().map(|one| one.unwrap()[0].id).collect();
    let seqs: Vec<i64> = store
        .jobs(&ids)
        .await
        .unwrap()
        .iter()
        .map(|job| job.seq)
        .collect();
    scale.cost();
    let marked = scale.yard.mark(&seqs).await;
    scale.holds("mark 64", 2, 5, 32);
    store
        .finish(marked.iter().map(done).collect())
        .await
        .unwrap();
    scale.holds("finish 64", 2, 6, 32);
    store.sweep().await.unwrap();
    scale.holds("a sweep with nothing to do", 2, 20, 0);
    scale.yard.close().await;
}
