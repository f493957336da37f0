//! What a connection is doing: is it answering, is anything written, does the client read.
//!
//! hyper keeps this to itself, and without it a client that never reads would keep its place for
//! ever, and a stop could not tell a long answer from a dead one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read by whoever may end the connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    answering: AtomicUsize,
    written: AtomicU64,
    blocked: AtomicBool,
}

/// A request is being answered while this lives.
#[derive(Debug)]
pub(super) struct Answering(Arc<Activity>);

impl Activity {
    /// Begins an answer.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Is there something to write, of which nothing left since `written` was `before`?
    pub(super) fn is_stuck_since(&self, before: u64) -> bool {
        self.blocked.load(Ordering::Relaxed) && self.written() == before
    }

    /// Is nothing being answered and nothing waiting to be written?
    pub(super) fn is_idle(&self) -> bool {
        self.answering.load(Ordering::Relaxed) == 0 && !self.blocked.load(Ordering::Relaxed)
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        self.blocked.store(result.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = result {
            self.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that notes what is written to it.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    /// Notes in `activity` what is written to `stream`.
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Watched<S> {
        Watched { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.activity.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_connection_is_idle_only_when_nothing_is_being_answered() {
        let activity = Arc::new(Activity::default());
        assert!(activity.is_idle());
        let answering = activity.answering();
        assert!(!activity.is_idle());
        drop(answering);
        assert!(activity.is_idle());
    }

    #[tokio::test]
    async fn a_client_is_stuck_while_it_reads_nothing_of_what_waits_for_it() {
        let activity = Arc::new(Activity::default());
        let (mut client, server) = tokio::io::duplex(4);
        let mut server = Watched::new(server, Arc::clone(&activity));
        let seen = activity.written();
        assert!(!activity.is_stuck_since(seen));
        let writing = server.write_all(b"01234567");
        tokio::pin!(writing);
        assert!(futures_util::poll!(writing.as_mut()).is_pending());
        assert_eq!(activity.written(), 4);
        assert!(!activity.is_stuck_since(seen));
        assert!(activity.is_stuck_since(4) && !activity.is_idle());
        client.read_exact(&mut [0; 4]).await.unwrap();
        writing.await.unwrap();
        assert!(!activity.is_stuck_since(4) && activity.is_idle());
    }
}
