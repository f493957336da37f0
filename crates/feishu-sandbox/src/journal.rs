//! The state file: one JSON row a line, the last row about a thing wins.
//!
//! A row is written by one `write` before the call is answered, so what was answered outlives
//! `kill -9` of the sandbox. A torn last line is what a kill leaves, and is left out. On start the
//! file is written anew without its history and put in place by a rename.
//! Bytes of uploads stand in a folder beside it (`FILE.files`), written before their row.
//! Not kept: windows (they are seconds old at most) and faults (a test sets its own).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::ledger::{Counts, Effect};
use crate::seed::Seed;
use crate::stored::Stored;
use crate::table::ENDPOINTS;
use crate::world::{
    Batch, Click, Ephemeral, Message, Preview, Spent, Token, Touched, Upload, UuidUse, World,
};

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Row {
    Seed(Box<Seed>),
    Clock(Clock),
    Message(Box<Message>),
    Batch(Box<Batch>),
    Upload {
        key: String,
        app_id: String,
        kind: String,
        content_type: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
        #[serde(default)]
        at_ms: i64,
        #[serde(flatten)]
        bytes: Bytes,
    },
    Token(Token),
    Uuid(UuidUse),
    Click(Click),
    Ephemeral(Box<Ephemeral>),
    Preview(Preview),
    Spent(Spent),
    Effect(Box<Effect>),
    Calls {
        call: String,
        counts: Counts,
    },
}

/// Where an upload's bytes are.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bytes {
    /// In the row itself, as files of before 0.2 have them.
    Base64(String),
    /// In a file of so many bytes under the upload's key.
    Beside(u64),
    /// Nowhere: so many are made up.
    Made(u64),
}

/// The open file, and the folder of uploads beside it.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Mutex<File>,
    uploads: PathBuf,
}

impl Journal {
    /// Opens or makes the file at `path` and answers the world it holds.
    ///
    /// A given `seed` overrules the file's people, chats and limits; what happened stays.
    ///
    /// # Errors
    /// The file can not be read, written or renamed, or a line that is not the last is no row.
    pub(crate) fn open(path: &Path, seed: Option<Seed>) -> io::Result<(Self, World)> {
        let rows = read_rows(path)?;
        let stored = rows.iter().find_map(|row| match row {
            Row::Seed(seed) => Some((**seed).clone()),
            _ => None,
        });
        let mut world = World::new(seed.or(stored).unwrap_or_default());
        let uploads = beside(path, ".files");
        for row in rows {
            restore(&mut world, row, &uploads)?;
        }
        let keys: Vec<String> = world.uploads.keys().cloned().collect();
        for key in keys {
            set_beside(&uploads, &mut world, &key)?;
        }
        world.recount_buzzes();
        world.take_touched();
        let file = Mutex::new(write_anew(path, &world)?);
        Ok((Self { file, uploads }, world))
    }

    /// Moves what was uploaded out of memory into files beside the state file.
    pub(crate) fn set_beside(&self, world: &mut World, touched: &[Touched]) -> io::Result<()> {
        for each in touched {
            if let Touched::Upload(key) = each {
                set_beside(&self.uploads, world, key)?;
            }
        }
        Ok(())
    }

    /// Appends a row for everything touched, in one write.
    pub(crate) fn append(&self, world: &World, touched: &[Touched]) -> io::Result<()> {
        let mut lines = Vec::new();
        for row in touched.iter().filter_map(|each| row_of(world, each)) {
            put_line(&mut lines, &row)?;
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&lines)
    }
}

/// `path` with `tail` behind its name.
fn beside(path: &Path, tail: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(tail);
    PathBuf::from(beside)
}

/// Writes an upload's bytes into a file of `folder`, whole or not at all.
fn set_beside(folder: &Path, world: &mut World, key: &str) -> io::Result<()> {
    let Some(upload) = world.uploads.get_mut(key) else {
        return Ok(());
    };
    let Stored::Memory(bytes) = &upload.bytes else {
        return Ok(());
    };
    std::fs::create_dir_all(folder)?;
    let (path, new) = (folder.join(key), folder.join(format!("{key}.new")));
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, &path)?;
    let bytes = upload.bytes.bytes();
    upload.bytes = Stored::File { path, bytes };
    Ok(())
}

fn read_rows(path: &Path) -> io::Result<Vec<Row>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut rows = Vec::new();
    let mut lines = BufReader::new(file).split(b'\n').enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let line = line?;
        match serde_json::from_slice(&line) {
            Ok(row) => rows.push(row),
            Err(_) if lines.peek().is_none() => {}
            Err(error) => {
                let says = format!("{}: line {}: {error}", path.display(), at + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, says));
            }
        }
    }
    Ok(rows)
}

/// Writes the whole world beside `path`, puts it in place, and keeps it open for appending.
fn write_anew(path: &Path, world: &World) -> io::Result<File> {
    let beside = beside(path, ".new");
    let mut writer = BufWriter::new(File::create(&beside)?);
    let mut line = Vec::new();
    for row in everything(world)
        .iter()
        .filter_map(|each| row_of(world, each))
    {
        line.clear();
        put_line(&mut line, &row)?;
        writer.write_all(&line)?;
    }
    writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    std::fs::rename(&beside, path)?;
    OpenOptions::new().append(true).open(path)
}

fn put_line(lines: &mut Vec<u8>, row: &Row) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, row)?;
    lines.push(b'\n');
    Ok(())
}

/// Marks for all there is, messages in their order.
fn everything(world: &World) -> Vec<Touched> {
    let mut messages: Vec<&Message> = world.messages.values().collect();
    messages.sort_unstable_by_key(|message| message.seq);
    let mut tokens: Vec<&Token> = world.tokens.values().collect();
    tokens.sort_unstable_by_key(|token| token.expires_ms);
    let mut all = vec![Touched::Seed, Touched::Clock, Touched::Spent];
    all.extend(world.uploads.keys().cloned().map(Touched::Upload));
    all.extend(
        messages
            .into_iter()
            .map(|each| Touched::Message(each.message_id.clone())),
    );
    all.extend(world.batches.keys().cloned().map(Touched::Batch));
    all.extend(
        tokens
            .into_iter()
            .map(|each| Touched::Token(each.token.clone())),
    );
    all.extend(world.uuids.keys().cloned().map(Touched::Uuid));
    all.extend(world.clicks.keys().cloned().map(Touched::Click));
    all.extend(world.ephemerals.keys().cloned().map(Touched::Ephemeral));
    all.extend(world.previews.keys().cloned().map(Touched::Preview));
    all.extend(
        world
            .ledger
            .effects
            .iter()
            .map(|effect| Touched::Effect(effect.seq)),
    );
    all.extend((0..ENDPOINTS.len()).map(Touched::Calls));
    all
}

fn row_of(world: &World, touched: &Touched) -> Option<Row> {
    Some(match touched {
        Touched::Seed => Row::Seed(Box::new(world.seed.clone())),
        Touched::Clock => Row::Clock(world.clock),
        Touched::Message(id) => Row::Message(Box::new(world.messages.get(id)?.clone())),
        Touched::Batch(id) => Row::Batch(Box::new(world.batches.get(id)?.clone())),
        Touched::Upload(key) => upload_row(world.uploads.get(key)?)?,
        Touched::Token(token) => Row::Token(world.tokens.get(token)?.clone()),
        Touched::Uuid(key) => Row::Uuid(world.uuids.get(key)?.clone()),
        Touched::Click(token) => Row::Click(world.clicks.get(token)?.clone()),
        Touched::Ephemeral(id) => Row::Ephemeral(Box::new(world.ephemerals.get(id)?.clone())),
        Touched::Preview(token) => Row::Preview(world.previews.get(token)?.clone()),
        Touched::Spent => Row::Spent(world.spent.clone()),
        Touched::Effect(seq) => {
            let effects = &world.ledger.effects;
            let at = effects
                .binary_search_by_key(seq, |effect| effect.seq)
                .ok()?;
            Row::Effect(Box::new(effects[at].clone()))
        }
        Touched::Calls(at) => {
            let (row, counts) = (ENDPOINTS.get(*at)?, world.ledger.counts.get(*at)?);
            Row::Calls {
                call: row.call(),
                counts: *counts,
            }
        }
    })
}

/// The row of an upload; none for bytes that could not be set beside the file.
fn upload_row(upload: &Upload) -> Option<Row> {
    let bytes = match upload.bytes {
        Stored::Memory(_) => return None,
        Stored::File { bytes, .. } => Bytes::Beside(bytes),
        Stored::Made(bytes) => Bytes::Made(bytes),
    };
    Some(Row::Upload {
        key: upload.key.clone(),
        app_id: upload.app_id.clone(),
        kind: upload.kind.clone(),
        content_type: upload.content_type.clone(),
        name: upload.name.clone(),
        duration_ms: upload.duration_ms,
        at_ms: upload.at_ms,
        bytes,
    })
}

/// The bytes a row speaks of.
fn stored(key: &str, bytes: Bytes, folder: &Path) -> io::Result<Stored> {
    let wrong = |says: String| io::Error::new(io::ErrorKind::InvalidData, says);
    match bytes {
        Bytes::Base64(text) => {
            let bytes = STANDARD.decode(text);
            let bytes = bytes.map_err(|error| wrong(format!("upload {key}: {error}")))?;
            Ok(Stored::Memory(bytes.into()))
        }
        Bytes::Made(bytes) => Ok(Stored::Made(bytes)),
        Bytes::Beside(bytes) => {
            let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let path = folder.join(key);
            let there = key.chars().all(name)
                && std::fs::metadata(&path).is_ok_and(|file| file.len() == bytes);
            if !there {
                let says = format!("{} is not there with its {bytes} bytes", path.display());
                return Err(wrong(says));
            }
            Ok(Stored::File { path, bytes })
        }
    }
}

fn restore(world: &mut World, row: Row, uploads: &Path) -> io::Result<()> {
    match row {
        Row::Seed(_) => {}
        Row::Clock(clock) => world.clock = clock,
        Row::Message(message) => world.put_message(*message),
        Row::Batch(batch) => {
            world.batches.insert(batch.batch_message_id.clone(), *batch);
        }
        Row::Upload {
            key,
            app_id,
            kind,
            content_type,
            name,
            duration_ms,
            at_ms,
            bytes,
        } => {
            let upload = Upload {
                bytes: stored(&key, bytes, uploads)?,
                key: key.clone(),
                app_id,
                kind,
                content_type,
                name,
                duration_ms,
                at_ms,
            };
            world.uploads.insert(key, upload);
        }
        Row::Token(token) => {
            world
                .newest_token
                .insert(token.app_id.clone(), token.token.clone());
            world.tokens.insert(token.token.clone(), token);
        }
        Row::Uuid(used) => {
            world.uuids.insert(used.key.clone(), used);
        }
        Row::Click(click) => {
            world.clicks.insert(click.token.clone(), click);
        }
        Row::Ephemeral(each) => world.put_ephemeral(*each),
        Row::Preview(each) => {
            world.previews.insert(each.token.clone(), each);
        }
        Row::Spent(spent) => world.spent = spent,
        Row::Effect(effect) => world.ledger.effects.push(*effect),
        Row::Calls { call, counts } => {
            if let Some(at) = ENDPOINTS.iter().position(|row| row.call() == call) {
                world.ledger.counts[at] = counts;
            }
        }
    }
    Ok(())
}
