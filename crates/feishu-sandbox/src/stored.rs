//! Bytes that are kept: in memory, in a file beside the state file, or made up as they leave.
//!
//! A large file is never held whole for the sake of answering it: it leaves in pieces.

use std::io;
use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Bytes of one piece read from a file.
const PIECE_BYTES: usize = 64 * 1024;
/// Length of the pattern made-up bytes repeat: a prime, so that a shifted piece shows.
const PATTERN: usize = 251;

/// One piece of made-up bytes: whole repetitions of 0, 1, …, 250.
static MADE: LazyLock<Bytes> = LazyLock::new(|| {
    let pattern: Vec<u8> = (0..u8::MAX).take(PATTERN).collect();
    Bytes::from(pattern.repeat(PIECE_BYTES / PATTERN))
});

/// Where some bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    Memory(Bytes),
    File {
        path: PathBuf,
        bytes: u64,
    },
    /// So many bytes of a pattern: what a person sent who has no real file.
    Made(u64),
}

impl From<Bytes> for Stored {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

impl Stored {
    /// How many there are.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::File { bytes, .. } | Self::Made(bytes) => *bytes,
        }
    }

    /// The first `limit` of them, in pieces.
    pub(crate) fn pieces(self, limit: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let left = limit.min(self.bytes());
        stream::try_unfold((Source::Kept(self), left), |(source, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let (mut piece, source) = source.next().await?;
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            piece.truncate(wanted);
            let taken = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            Ok(Some((piece, (source, left - taken))))
        })
    }
}

/// What is left of some bytes.
enum Source {
    Kept(Stored),
    Open(File),
}

impl Source {
    async fn next(self) -> io::Result<(Bytes, Self)> {
        let mut file = match self {
            Self::Kept(Stored::Memory(bytes)) => {
                return Ok((bytes.clone(), Self::Kept(Stored::Memory(Bytes::new()))));
            }
            Self::Kept(Stored::Made(bytes)) => {
                return Ok((MADE.clone(), Self::Kept(Stored::Made(bytes))));
            }
            Self::Kept(Stored::File { path, .. }) => File::open(path).await?,
            Self::Open(file) => file,
        };
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        if file.read_buf(&mut piece).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((piece.freeze(), Self::Open(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

    async fn read(stored: Stored, limit: u64) -> Vec<u8> {
        let pieces: Vec<Bytes> = stored.pieces(limit).try_collect().await.expect("readable");
        pieces.concat()
    }

    #[tokio::test]
    async fn bytes_leave_whole_or_as_far_as_asked_wherever_they_are() {
        let words = Bytes::from_static(b"kept in memory");
        assert_eq!(read(words.clone().into(), 1_000).await, words);
        assert_eq!(read(words.into(), 4).await, b"kept");
        let made = read(Stored::Made(200_000), u64::MAX).await;
        assert_eq!(made.len(), 200_000);
        assert!(
            made.iter()
                .enumerate()
                .all(|(at, byte)| usize::from(*byte) == at % PATTERN)
        );
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, &made).unwrap();
        let stored = Stored::File {
            path,
            bytes: 200_000,
        };
        assert_eq!(read(stored.clone(), u64::MAX).await, made);
        assert_eq!(read(stored, 100_000).await, &made[..100_000]);
    }
}
