//! A form as the job that it asks for.
//!
//! Either one part `job` holds it as JSON, or each word of it is a part of its own: those around the
//! args by their names (`kind`, `key`, `labels` as JSON, `label.NAME`, …), every other one as one of the args.
//! Files go to their places: of an upload to `data`, of a message to `image`, `file`, `audio` or
//! `media`, `cover` into `media`. Faults are named by their place in that job.
//! Not here: how a form is read (`multipart`), what a job must look like (`job`).

use serde_json::{Map, Value, json};

use crate::http::json::{self, Shape};
use crate::http::multipart::{FilePart, Form, pointer};
use crate::http::problem::Problem;
use crate::http::submit::unreadable;
use crate::job::{Flaw, Kind};

/// Parts that are files, also where they have no file name.
pub(super) const FILES: [&str; 6] = ["data", "image", "file", "audio", "media", "cover"];

/// The part that holds a whole job.
const JOB: &str = "job";

/// What stands around the args: as words, and as JSON.
const AROUND: [&str; 11] = [
    "kind",
    "app",
    "key",
    "priority",
    "not_before",
    "delay",
    "expires_at",
    "expires_in",
    "lane",
    "on_doubt",
    "on_refused",
];
const AROUND_JSON: [&str; 3] = ["labels", "then", "track"];

/// One label.
const LABEL: &str = "label.";

/// The one among the args that is a number.
const DURATION: &str = "duration";

/// The job, its files in their places.
///
/// # Errors
/// 400: the part `job` is not JSON. 422: parts that do not go together.
pub(super) fn job(form: &Form) -> Result<Value, Problem> {
    let mut flaws = Vec::new();
    let mut job = match form.words.iter().find(|(name, _)| name == JOB) {
        Some((_, text)) => {
            for (name, _) in form.words.iter().filter(|(name, _)| name != JOB) {
                flaws.push(flaw(name, "stands beside \"job\", which says everything"));
            }
            whole(text)?
        }
        None => by_words(form, &mut flaws),
    };
    for file in &form.files {
        place(&mut job, file, form.files.len(), &mut flaws);
    }
    match flaws.is_empty() {
        true => Ok(Value::Object(job)),
        false => Err(Problem::flawed(flaws)),
    }
}

fn flaw(name: &str, detail: impl Into<String>) -> Flaw {
    Flaw {
        pointer: pointer(name),
        detail: detail.into(),
    }
}

fn whole(text: &str) -> Result<Map<String, Value>, Problem> {
    let mut one = None;
    let shape = json::jobs(text.as_bytes(), false, |_, job| one = Some(job));
    match (shape.map_err(unreadable)?, one) {
        (Shape::One, Some(Value::Object(job))) => Ok(job),
        _ => {
            let detail = "must be one job: an object with \"kind\" and \"args\"";
            Err(Problem::flawed(vec![flaw(JOB, detail)]))
        }
    }
}

fn by_words(form: &Form, flaws: &mut Vec<Flaw>) -> Map<String, Value> {
    let (mut job, mut args, mut labels) = (Map::new(), Map::new(), Map::new());
    for (name, word) in &form.words {
        let (into, key, value) = if AROUND.contains(&name.as_str()) {
            (&mut job, name.as_str(), json!(word))
        } else if AROUND_JSON.contains(&name.as_str()) {
            match serde_json::from_str(word) {
                Ok(value) => (&mut job, name.as_str(), value),
                Err(_) => {
                    flaws.push(flaw(name, "is not JSON"));
                    continue;
                }
            }
        } else if let Some(label) = name.strip_prefix(LABEL) {
            (&mut labels, label, json!(word))
        } else if name == DURATION {
            let number = word.parse::<i64>();
            let value = number.map_or_else(|_| json!(word), |number| json!(number));
            (&mut args, name.as_str(), value)
        } else {
            (&mut args, name.as_str(), json!(word))
        };
        if into.insert(key.to_owned(), value).is_some() {
            flaws.push(flaw(name, "stands twice"));
        }
    }
    if !labels.is_empty() && job.insert("labels".into(), labels.into()).is_some() {
        flaws.push(flaw(
            "labels",
            "stands beside single labels; give one of them",
        ));
    }
    job.insert("args".into(), args.into());
    job
}

/// Puts a file where the job expects its bytes; one with no place there is a fault.
fn place(job: &mut Map<String, Value>, file: &FilePart, files: usize, flaws: &mut Vec<Flaw>) {
    let kind = job.get("kind").and_then(Value::as_str);
    let kind = kind.and_then(Kind::from_name);
    let is_upload = kind.is_some_and(Kind::brings_bytes);
    let args = job.entry("args").or_insert_with(|| json!({}));
    let Value::Object(args) = args else {
        return; // said by whoever reads the job
    };
    if is_upload {
        match files {
            1 => fill(args, file, flaws),
            _ => flaws.push(flaw(
                &file.name,
                "is one of several files; an upload has one",
            )),
        }
        return;
    }
    let slot = match file.name.as_str() {
        "cover" => object(args, "media").and_then(|media| object(media, "cover")),
        name @ ("image" | "file" | "audio" | "media") => object(args, name),
        _ => {
            let detail =
                "has no place in this job; a message takes image, file, audio, media and cover";
            return flaws.push(flaw(&file.name, detail));
        }
    };
    match slot {
        Some(slot) => fill(slot, file, flaws),
        None => flaws.push(flaw(&file.name, "stands beside another one in the args")),
    }
}

fn object<'a>(map: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = map.entry(name).or_insert_with(|| json!({}));
    slot.as_object_mut()
}

/// The bytes are told by their hash; the file's own name counts unless another is given.
fn fill(slot: &mut Map<String, Value>, file: &FilePart, flaws: &mut Vec<Flaw>) {
    let data = file.arrived().data();
    if slot.insert("data".into(), data.into()).is_some() {
        flaws.push(flaw(
            &file.name,
            "stands beside other bytes for the same place",
        ));
    }
    if let Some(name) = file.file_name.as_deref().filter(|name| !name.is_empty()) {
        slot.entry("file_name").or_insert_with(|| json!(name));
    }
}
