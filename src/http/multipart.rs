//! Forms with files (`multipart/form-data`): words into memory, files straight to disk.
//!
//! A file is hashed while it comes and is on disk when this returns; what breaks off, is too large or
//! is dropped on the way leaves nothing behind. In memory are the words, within a bound, and one piece
//! of a file at a time, so a slow sender holds none of the room that whole bodies share.
//! Not here: what a form means (`form`), where files are (`store`).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use futures_util::stream::{self, Stream};
use multer::{Field, Multipart};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::body;
use crate::http::problem::Problem;
use crate::job::{Arrived, Flaw};
use crate::store::{Received, Store};

/// The most that all words of a form may have.
const WORDS_BYTES_MAX: usize = 256 << 10;

/// The most parts of a form.
const PARTS_MAX: usize = 64;

/// The most files of a form: what one message may need is two.
const FILES_MAX: usize = 8;

/// The most that may be taken in without a word or a piece of a file coming of it: heads of parts.
const IDLE_BYTES_MAX: usize = 1 << 20;

/// What came.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Words by name, in order; a name may stand twice.
    pub(super) words: Vec<(String, String)>,
    /// Files, in order.
    pub(super) files: Vec<FilePart>,
}

/// A file of a form.
#[derive(Debug)]
pub(super) struct FilePart {
    /// The name of its part.
    pub(super) name: String,
    /// The name of the file, if it has one.
    pub(super) file_name: Option<String>,
    /// It is on disk, and stays there at least as long as this lives.
    pub(super) received: Received,
}

impl FilePart {
    /// What came, for the job that takes it.
    pub(super) fn arrived(&self) -> Arrived {
        self.received.arrived().clone()
    }
}

/// What is taken of a form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds<'a> {
    /// Bytes of the whole body.
    pub(super) body_bytes: u64,
    /// Bytes of each file.
    pub(super) file_bytes: u64,
    /// Parts that are files even where they name none.
    pub(super) files: &'a [&'a str],
}

/// Is the body a form?
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let named = headers
        .get(CONTENT_TYPE)
        .and_then(|named| named.to_str().ok());
    named.is_some_and(|named| {
        let media = named.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("multipart/form-data")
    })
}

/// Reads `body` to its end.
///
/// # Errors
/// 400: it is no form, or broke off. 408: it came too slowly. 413: it is too large. 415: it is
/// compressed. 422: a file is too large, or words are no text. 503: the disk does not take it, or the
/// relay stops. Nothing of it stays.
pub(super) async fn read(
    store: &Store,
    headers: &HeaderMap,
    body: Body,
    bounds: Bounds<'_>,
    stop: &CancellationToken,
) -> Result<Form, Problem> {
    let encoding = headers.get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Problem::not_taken("compressed bodies are not taken"));
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bounds.body_bytes) {
        return Err(Problem::too_large(bounds.body_bytes));
    }
    let named = headers
        .get(CONTENT_TYPE)
        .and_then(|named| named.to_str().ok());
    let boundary = multer::parse_boundary(named.unwrap_or_default())
        .map_err(|_| Problem::malformed("the content type names no boundary"))?;

    let idle = Arc::<AtomicUsize>::default();
    let pieces = Slowly {
        pieces: Box::pin(pieces(body, bounds.body_bytes, stop.clone())),
        rests: false,
        idle: Arc::clone(&idle),
    };
    let mut reader = Reader {
        store,
        bounds,
        idle,
        words_bytes: 0,
        form: Form::default(),
    };
    let mut parts = Multipart::new(pieces, boundary);
    let mut count = 0;
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        count += 1;
        if count > PARTS_MAX {
            return Err(Problem::malformed(format!(
                "the form has more than {PARTS_MAX} parts"
            )));
        }
        reader.part(part).await?;
    }
    Ok(reader.form)
}

struct Reader<'a> {
    store: &'a Store,
    bounds: Bounds<'a>,
    idle: Arc<AtomicUsize>,
    words_bytes: usize,
    form: Form,
}

impl Reader<'_> {
    async fn part(&mut self, part: Field<'_>) -> Result<(), Problem> {
        self.idle.store(0, Ordering::Relaxed);
        let Some(name) = part.name().map(str::to_owned) else {
            return Err(Problem::malformed("a part of the form has no name"));
        };
        let file_name = file_name(&part);
        match file_name.is_some() || self.bounds.files.contains(&name.as_str()) {
            true => self.file(name, file_name, part).await,
            false => self.words(name, part).await,
        }
    }

    async fn file(
        &mut self,
        name: String,
        file_name: Option<String>,
        mut part: Field<'_>,
    ) -> Result<(), Problem> {
        if self.form.files.len() == FILES_MAX {
            return Err(Problem::malformed(format!(
                "the form has more than {FILES_MAX} files"
            )));
        }
        let mut incoming = self.store.receive().await?;
        while let Some(piece) = part.chunk().await.map_err(broken)? {
            self.idle.store(0, Ordering::Relaxed);
            if incoming.bytes() + piece.len() as u64 > self.bounds.file_bytes {
                let detail = format!("has more than {} bytes", self.bounds.file_bytes);
                return Err(flawed(&name, detail));
            }
            incoming.take(&piece).await?;
        }
        let received = incoming.finish().await?;
        self.form.files.push(FilePart {
            name,
            file_name,
            received,
        });
        Ok(())
    }

    async fn words(&mut self, name: String, mut part: Field<'_>) -> Result<(), Problem> {
        let mut words = Vec::new();
        while let Some(piece) = part.chunk().await.map_err(broken)? {
            self.idle.store(0, Ordering::Relaxed);
            self.words_bytes += piece.len();
            if self.words_bytes > WORDS_BYTES_MAX {
                let detail = format!(
                    "all words of a form may have {WORDS_BYTES_MAX} bytes; a file is sent as one, with a file name"
                );
                return Err(flawed(&name, detail));
            }
            words.extend_from_slice(&piece);
        }
        match String::from_utf8(words) {
            Ok(words) => self.form.words.push((name, words)),
            Err(_) => return Err(flawed(&name, "is no UTF-8 text".to_owned())),
        }
        Ok(())
    }
}

/// A fault of the part of that name.
pub(super) fn flawed(name: &str, detail: String) -> Problem {
    Problem::flawed(vec![Flaw {
        pointer: pointer(name),
        detail,
    }])
}

/// Where the part of that name is.
pub(super) fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The file's name as it is given: plainly, or as RFC 5987 has it where it is not ASCII.
fn file_name(part: &Field<'_>) -> Option<String> {
    let given = part.headers().get(CONTENT_DISPOSITION)?;
    let given = String::from_utf8_lossy(given.as_bytes());
    let extended = given.split(';').find_map(|one| {
        let (name, value) = one.trim().split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("filename*")
            .then_some(value)
    });
    let extended = extended.and_then(|value| {
        let mut words = value.trim().trim_matches('"').splitn(3, '\'');
        let (charset, text) = (words.next()?, words.nth(1)?);
        charset
            .eq_ignore_ascii_case("utf-8")
            .then(|| decoded(text))?
    });
    extended.or_else(|| part.file_name().map(str::to_owned))
}

/// Percent-encoded text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.as_bytes();
    while let Some((first, rest)) = left.split_first() {
        left = match (first, rest) {
            (b'%', [high, low, rest @ ..]) => {
                let digit = |one: u8| char::from(one).to_digit(16);
                let byte = 16 * digit(*high)? + digit(*low)?;
                bytes.push(u8::try_from(byte).ok()?);
                rest
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                rest
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// A refusal on its way through the reader of forms.
#[derive(Debug)]
struct Refused(Problem);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body cannot be read")
    }
}

impl std::error::Error for Refused {}

/// What is answered to a form that cannot be read; nothing of what it holds is quoted.
fn broken(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamReadFailed(why) => match why.downcast::<Refused>() {
            Ok(refused) => refused.0,
            Err(_) => Problem::malformed("the body broke off"),
        },
        multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteStream => {
            Problem::malformed("the form ends before its last boundary; nothing was stored")
        }
        _ => Problem::malformed("the form cannot be read: the head of a part is broken"),
    }
}

fn pieces(
    body: Body,
    bytes_max: u64,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Refused>> + Send {
    let until = Instant::now() + body::WHOLE;
    let stopped = Box::pin(async move { body::stopped(&stop).await });
    stream::try_unfold(
        (body, stopped, 0),
        move |(mut body, mut stopped, read)| async move {
            let piece = body::next(&mut body, until, stopped.as_mut()).await;
            let Some(piece) = piece.map_err(Refused)? else {
                return Ok(None);
            };
            let read = read + piece.len() as u64;
            if read > bytes_max {
                return Err(Refused(Problem::too_large(bytes_max)));
            }
            Ok(Some((piece, (body, stopped, read))))
        },
    )
}

/// Hands on one piece, then rests: the reader of forms takes in all that is there, and of a fast sender
/// that would be the whole body.
struct Slowly<S> {
    pieces: Pin<Box<S>>,
    rests: bool,
    /// Bytes since something came of them.
    idle: Arc<AtomicUsize>,
}

impl<S: Stream<Item = Result<Bytes, Refused>>> Stream for Slowly<S> {
    type Item = Result<Bytes, Refused>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Refused>>> {
        if std::mem::take(&mut self.rests) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = std::task::ready!(self.pieces.as_mut().poll_next(context));
        if let Some(Ok(piece)) = &piece {
            self.rests = true;
            let idle = self.idle.fetch_add(piece.len(), Ordering::Relaxed);
            if idle > IDLE_BYTES_MAX {
                let said = "the form cannot be read: the head of a part is too long";
                return Poll::Ready(Some(Err(Refused(Problem::malformed(said)))));
            }
        }
        Poll::Ready(piece)
    }
}
