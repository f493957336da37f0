//! Is the writer free for the next request? Asked beside its requests, so that nothing is written for it.

use tokio::sync::oneshot;

use super::Store;

/// Whoever asks; answered as soon as the writer is free.
pub(super) type Asked = oneshot::Sender<()>;

impl Store {
    /// Comes back once the writer has ended what it is writing, well or not; `false`: it is closed.
    ///
    /// A disk that is full is answered as well: that is no reason for a restart.
    pub async fn is_alive(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.shared.asks.send(reply).await.is_ok() && answer.await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use crate::clock::Clock;
    use crate::store::{Options, Store, open};

    #[tokio::test]
    async fn a_writer_that_hangs_does_not_answer_and_one_that_fails_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let options = Options {
            path: path.clone(),
            max_pending: 10,
            give_up_ms: 1000,
            retention_ms: 86_400_000,
            content_retention_ms: 86_400_000,
            apps: vec!["ops".into()],
            budgets: Vec::new(),
            months: Vec::new(),
        };
        let (store, closer) = Store::open(options, Clock::system()).await.unwrap();
        assert!(store.is_alive().await);
        // Somebody else holds the file: the writer waits for it, then fails.
        let mut other = open::connect_writer(&path).await.unwrap();
        sqlx::query("begin immediate")
            .execute(&mut other)
            .await
            .unwrap();
        let sweep = tokio::spawn({
            let store = store.clone();
            async move { store.sweep().await }
        });
        let soon = Duration::from_millis(200);
        while timeout(soon, store.is_alive()).await.is_ok() {
            assert!(!sweep.is_finished(), "it answered all the time");
        }
        assert!(sweep.await.unwrap().is_err());
        assert!(store.is_alive().await);
        sqlx::query("rollback").execute(&mut other).await.unwrap();
        closer.close().await;
        assert!(!store.is_alive().await);
    }
}
