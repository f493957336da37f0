//! `jobs`: what became of jobs, and the operator's word on them.

mod act;
mod doubt;
pub(in crate::cli) mod filter;
mod list;
mod settle;
mod show;
mod stream;
mod watch;

use super::exit::Ended;

/// What to do with jobs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Jobs {
    List(Box<list::List>),
    Show(show::Show),
    Watch(Box<watch::Watch>),
    /// Try again what failed, expired, was canceled or is in doubt
    Retry(Box<act::Retry>),
    /// Give up what is not sent yet
    Cancel(Box<act::Act>),
    /// Take back what was sent, and do not send what was not
    Recall(Box<act::Recall>),
    Settle(settle::Settle),
}

impl Jobs {
    /// Does it.
    pub(super) async fn run(self) -> Ended {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Watch(watch) => watch.run().await,
            Self::Retry(retry) => retry.run().await,
            Self::Cancel(act) => act.run("cancel", None).await,
            Self::Recall(recall) => recall.run().await,
            Self::Settle(settle) => settle.run().await,
        }
    }
}
