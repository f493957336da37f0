//! Feeds systemd's watchdog while work goes on, and only then.
//!
//! Alive is a daemon whose dispatcher turns and whose writer takes the next request. A full disk, or
//! a Feishu that is away, is trouble but no hang: both still answer, and a restart would mend nothing.
//! A writer that never comes back, or a runtime that stands still, is not fed, and systemd restarts it.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// How often it is looked at within the time after which systemd gives up.
const LOOKS: u32 = 4;

/// Feeds the watchdog that systemd asked for, if it did, until `stop`.
///
/// `turns` counts what must go on by itself; `answers` comes back once the writer is free, `false` when
/// it never will be.
pub async fn run<F>(
    turns: impl Fn() -> u64 + Send,
    answers: impl Fn() -> F + Send,
    stop: CancellationToken,
) where
    F: Future<Output = bool> + Send,
{
    if let Some(limit) = sd_notify::watchdog_enabled() {
        feed(limit, turns, answers, || tell(limit), stop).await;
    }
}

fn tell(limit: Duration) {
    if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
        tracing::warn!(%error, "systemd could not be told that all is well; it waits {} s", limit.as_secs());
    }
}

async fn feed<F>(
    limit: Duration,
    turns: impl Fn() -> u64,
    answers: impl Fn() -> F,
    tell: impl Fn(),
    stop: CancellationToken,
) where
    F: Future<Output = bool>,
{
    let mut seen = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(limit / LOOKS) => {}
            () = stop.cancelled() => return,
        }
        let free = tokio::select! {
            free = answers() => free,
            () = stop.cancelled() => return,
        };
        if free && moved(&mut seen, turns()) {
            tell();
        }
    }
}

/// Did the count go on since it was last seen?
fn moved(seen: &mut u64, turns: u64) -> bool {
    std::mem::replace(seen, turns) != turns
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    /// Often enough for a test, with room for a slow machine.
    const LIMIT: Duration = Duration::from_millis(40);
    const LONG: Duration = Duration::from_millis(400);

    #[test]
    fn a_count_that_stands_still_is_no_progress() {
        let mut seen = 0;
        let told: Vec<bool> = [0, 1, 1, 5, 5].map(|turns| moved(&mut seen, turns)).into();
        assert_eq!(told, [false, true, false, true, false]);
    }

    /// Was it fed at all, after the first time?
    async fn fed(turning: bool, answering: bool) -> bool {
        let (tell, mut told) = mpsc::unbounded_channel();
        let turns = AtomicU64::new(1);
        let asked = AtomicU64::new(0);
        let feeding = feed(
            LIMIT,
            || turns.fetch_add(u64::from(turning), Ordering::Relaxed),
            || async {
                if !answering && asked.fetch_add(1, Ordering::Relaxed) > 0 {
                    std::future::pending::<()>().await;
                }
                true
            },
            || assert!(tell.send(()).is_ok()),
            CancellationToken::new(),
        );
        let watching = async {
            told.recv().await;
            timeout(LONG, told.recv()).await.is_ok()
        };
        tokio::select! {
            () = feeding => unreachable!("nobody stopped it"),
            again = watching => again,
        }
    }

    #[tokio::test]
    async fn only_a_loop_that_turns_and_a_writer_that_answers_are_fed() {
        assert!(fed(true, true).await);
        assert!(!fed(false, true).await, "the loop stands still");
        assert!(!fed(true, false).await, "the writer does not answer");
    }
}
