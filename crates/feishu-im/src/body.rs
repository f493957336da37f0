//! The body of a request, and the evidence it leaves of having been taken.
//!
//! Promises: untouched evidence that could be withdrawn proves that nothing executable left, now or later. HTTP/1
//! polls a body, and asks an empty one whether it is at its end, only when it takes the request for writing; HTTP/2
//! does the same before the stream opens. The test in `client` holds this against another version of the stack.
//! Not here: what an unproven end means (`exchange`).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

const UNTOUCHED: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Bytes handed over at once, so that progress shows.
const CHUNK_BYTES: usize = 64 << 10;

/// What became of a body.
#[derive(Clone, Debug)]
pub(crate) struct Evidence(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    flow: Mutex<Flow>,
}

/// How far a body is.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// When the last piece was taken, if the body comes in several.
    last: Option<Instant>,
    ended: bool,
}

/// The body of one attempt.
#[derive(Debug)]
pub(crate) struct Outgoing {
    parts: VecDeque<Part>,
    left: u64,
    streamed: bool,
    evidence: Evidence,
}

#[derive(Debug)]
pub(crate) enum Part {
    Bytes(Bytes),
    File { file: File, left: u64 },
}

impl Part {
    fn left(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File { left, .. } => *left,
        }
    }
}

impl Evidence {
    fn new() -> Evidence {
        let flow = Mutex::new(Flow {
            last: None,
            ended: false,
        });
        Evidence(Arc::new(Shared {
            state: AtomicU8::new(UNTOUCHED),
            flow,
        }))
    }

    /// Marks the body as taken; `false` if it was withdrawn before.
    fn take(&self) -> bool {
        let state = &self.0.state;
        state.compare_exchange(UNTOUCHED, TAKEN, Ordering::SeqCst, Ordering::SeqCst)
            != Err(WITHDRAWN)
    }

    /// Takes the body back; `true` proves that the request did not leave and will not.
    pub(crate) fn withdraw(&self) -> bool {
        let state = &self.0.state;
        state.compare_exchange(UNTOUCHED, WITHDRAWN, Ordering::SeqCst, Ordering::SeqCst)
            != Err(TAKEN)
    }

    fn is_withdrawn(&self) -> bool {
        self.0.state.load(Ordering::SeqCst) == WITHDRAWN
    }

    fn moved(&self, ended: bool) {
        let mut flow = self.0.flow.lock().unwrap_or_else(PoisonError::into_inner);
        *flow = Flow {
            last: Some(Instant::now()),
            ended,
        };
    }

    /// Until when the head of the answer is waited for, as things stand now: `timeout` after the start, or, for a
    /// body in pieces, `body_idle` after the last piece taken and `timeout` after the end of the body.
    pub(crate) fn deadline(
        &self,
        started: Instant,
        timeout: Duration,
        body_idle: Duration,
    ) -> Instant {
        let flow = *self.0.flow.lock().unwrap_or_else(PoisonError::into_inner);
        match flow.last {
            None => started + timeout,
            Some(last) if flow.ended => last + timeout,
            Some(last) => last + body_idle,
        }
    }
}

impl Outgoing {
    /// A body of these parts, in order, and its evidence.
    pub(crate) fn new(parts: Vec<Part>) -> (Outgoing, Evidence) {
        let evidence = Evidence::new();
        let parts: VecDeque<Part> = parts.into_iter().filter(|part| part.left() > 0).collect();
        let left = parts.iter().map(Part::left).sum();
        let body = Outgoing {
            streamed: parts.len() > 1,
            parts,
            left,
            evidence: evidence.clone(),
        };
        (body, evidence)
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let piece = match self.parts.front_mut() {
            None => return Poll::Ready(Ok(None)),
            Some(Part::Bytes(bytes)) => bytes.split_to(bytes.len().min(CHUNK_BYTES)),
            Some(Part::File { file, left }) => {
                let piece = ready!(read(file, *left, cx))?;
                *left -= piece.len() as u64;
                piece
            }
        };
        if self.parts.front().is_some_and(|part| part.left() == 0) {
            self.parts.pop_front();
        }
        self.left -= piece.len() as u64;
        if self.streamed {
            self.evidence.moved(self.left == 0);
        }
        Poll::Ready(Ok(Some(piece)))
    }
}

/// The next piece of a file that must still have `left` bytes.
fn read(file: &mut File, left: u64, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let size = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
    let mut room = vec![0; size];
    let mut buffer = ReadBuf::new(&mut room);
    ready!(Pin::new(file).poll_read(cx, &mut buffer))?;
    let filled = buffer.filled().len();
    if filled == 0 {
        return Poll::Ready(Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file became shorter",
        )));
    }
    room.truncate(filled);
    Poll::Ready(Ok(room.into()))
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.evidence.take() {
            return Poll::Ready(Some(Err(io::Error::other("withdrawn"))));
        }
        let piece = ready!(self.next(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        // An empty body is never polled, so being asked for its end is the moment it is taken. A withdrawn one says
        // "not yet" and then fails, so that no whole request can come of it.
        if self.left == 0 {
            self.evidence.take()
        } else {
            false
        }
    }

    fn size_hint(&self) -> SizeHint {
        let missing = u64::from(self.left == 0 && self.evidence.is_withdrawn());
        SizeHint::with_exact(self.left + missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body;

    fn poll(body: &mut Outgoing) -> Option<io::Result<Frame<Bytes>>> {
        match Pin::new(body).poll_frame(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(frame) => frame,
            Poll::Pending => panic!("bytes in memory are always ready"),
        }
    }

    #[test]
    fn a_body_that_was_taken_cannot_be_withdrawn() {
        let (mut body, evidence) = Outgoing::new(vec![Part::Bytes(Bytes::from_static(b"{}"))]);
        assert!(!body.is_end_stream() && body.size_hint().exact() == Some(2));
        assert!(matches!(poll(&mut body), Some(Ok(_))));
        assert!(!evidence.withdraw());
        let (empty, evidence) = Outgoing::new(Vec::new());
        assert!(empty.is_end_stream() && empty.size_hint().exact() == Some(0));
        assert!(!evidence.withdraw());
    }

    #[test]
    fn a_body_that_was_withdrawn_makes_no_whole_request_any_more() {
        for parts in [Vec::new(), vec![Part::Bytes(Bytes::from_static(b"{}"))]] {
            let (mut body, evidence) = Outgoing::new(parts);
            assert!(evidence.withdraw() && evidence.withdraw());
            assert!(!body.is_end_stream() && body.size_hint().exact() > Some(0));
            assert!(matches!(poll(&mut body), Some(Err(_))));
        }
    }

    #[test]
    fn a_body_in_pieces_earns_time_as_it_moves() {
        let (mut body, evidence) = Outgoing::new(vec![
            Part::Bytes(vec![0; 2 * CHUNK_BYTES].into()),
            Part::Bytes("x".into()),
        ]);
        let (started, timeout, idle) = (
            Instant::now(),
            Duration::from_secs(1000),
            Duration::from_secs(10),
        );
        assert_eq!(evidence.deadline(started, timeout, idle), started + timeout);
        poll(&mut body);
        assert!(evidence.deadline(started, timeout, idle) < started + timeout);
        poll(&mut body);
        poll(&mut body);
        assert!(evidence.deadline(started, timeout, idle) >= started + timeout);
        let (mut whole, evidence) = Outgoing::new(vec![Part::Bytes("x".into())]);
        poll(&mut whole);
        assert_eq!(evidence.deadline(started, timeout, idle), started + timeout);
    }
}
