//! SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process. SIGHUP asks for
//! a reload.
//!
//! Ending at once is safe for what is stored, so nobody has to wait for a stop that takes long.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Trouble};

/// What a shell calls a process that a signal ended: 128 and SIGINT.
const INTERRUPTED: i32 = 130;

/// A token that is canceled by the first signal to stop.
///
/// # Errors
/// The system gives no signal handlers; a clean stop could never be asked for.
pub(super) fn stop() -> Result<CancellationToken, Trouble> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(deaf)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        next(&mut interrupt, &mut terminate).await;
        asked.cancel();
        next(&mut interrupt, &mut terminate).await;
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}

/// One message for each SIGHUP; those that come while one waits are one with it.
///
/// From here on SIGHUP ends nothing, whatever becomes of the receiver.
///
/// # Errors
/// As `stop`.
pub(super) fn reloads() -> Result<mpsc::Receiver<()>, Trouble> {
    let mut hangup = signal(SignalKind::hangup()).map_err(deaf)?;
    let (asked, reloads) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            if let Err(TrySendError::Closed(())) = asked.try_send(()) {
                break;
            }
        }
    });
    Ok(reloads)
}

fn deaf(error: std::io::Error) -> Trouble {
    Trouble::new(Exit::Failed, format!("cannot wait for signals: {error}"))
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
