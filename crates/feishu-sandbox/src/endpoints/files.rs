//! Uploading a file, and fetching images and files back. Source: endpoints.md 3, limits.md 3.

use serde_json::json;

use super::new_id;
use crate::call::{Answered, Call, Handled, Part, success};
use crate::codes::Refusal;
use crate::ledger::Effect;
use crate::world::{Touched, Upload};

/// Bytes of a file, in KB.
const FILE_KB_MAX: usize = 30_000;
const KINDS: [&str; 7] = ["opus", "mp4", "pdf", "doc", "xls", "ppt", "stream"];

/// Takes a file and answers its key.
pub(crate) fn upload(call: &mut Call<'_>) -> Handled {
    let form = form(call)?;
    let kind = field(form, "file_type").ok_or_else(|| wrong("file_type is required"))?;
    if !KINDS.contains(&kind.as_str()) {
        return Err(wrong(
            "file_type is opus, mp4, pdf, doc, xls, ppt or stream",
        ));
    }
    let name = field(form, "file_name").unwrap_or_default();
    if !has_suffix(&name) {
        return Err(wrong("file_name with a suffix is required"));
    }
    let duration_ms = match field(form, "duration").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some((text.parse::<u64>()).map_err(|_| wrong("duration is a number of ms"))?),
    };
    let file = form.iter().find(|part| part.name == "file");
    let bytes = file.ok_or_else(|| wrong("file is required"))?.bytes.clone();
    if bytes.is_empty() {
        return Err(Refusal::code(234_010));
    }
    if bytes.len() > FILE_KB_MAX * call.world.switches().kb {
        return Err(Refusal::code(234_006));
    }
    let upload = Upload {
        key: new_id("file_v3_"),
        app_id: call.app_id.clone(),
        kind,
        content_type: "application/octet-stream".to_owned(),
        name,
        duration_ms,
        at_ms: call.now_ms,
        bytes: bytes.into(),
    };
    let key = keep(call, upload);
    Ok(success(json!({ "file_key": key })))
}

/// The parts of the form.
pub(super) fn form<'a>(call: &Call<'a>) -> Result<&'a [Part], Refusal> {
    let form = call.arrived.form.as_deref();
    form.ok_or_else(|| wrong("the body is no form"))
}

/// The text of a part.
pub(super) fn field(form: &[Part], name: &str) -> Option<String> {
    let part = form.iter().find(|part| part.name == name)?;
    Some(String::from_utf8_lossy(&part.bytes).into_owned())
}

pub(super) fn wrong(says: &str) -> Refusal {
    Refusal::code(234_001).because(says)
}

fn has_suffix(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(stem, suffix)| !stem.is_empty() && !suffix.is_empty())
}

/// Keeps an upload and answers its key.
pub(super) fn keep(call: &mut Call<'_>, upload: Upload) -> String {
    let key = upload.key.clone();
    call.world.uploads.insert(key.clone(), upload);
    call.world.touch(Touched::Upload(key.clone()));
    let effect = Effect {
        key: Some(key.clone()),
        ..call.new_effect("upload")
    };
    call.world.effect(effect);
    key
}

/// Answers the bytes of an own image that was uploaded for messages.
pub(crate) fn download_image(call: &mut Call<'_>) -> Handled {
    let upload = own(call, call.param("image_key"), true)?;
    if upload.kind != "message" {
        return Err(wrong("only images for messages can be fetched"));
    }
    Ok(answer(upload))
}

/// Answers the bytes of an own file.
pub(crate) fn download_file(call: &mut Call<'_>) -> Handled {
    let upload = own(call, call.param("file_key"), false)?;
    Ok(answer(upload))
}

/// The upload, which nobody but its app may fetch.
fn own<'a>(call: &'a Call<'_>, key: &str, image: bool) -> Result<&'a Upload, Refusal> {
    let upload = call.world.upload(key);
    let upload = upload
        .filter(|upload| upload.is_image() == image)
        .ok_or_else(|| Refusal::code(234_005))?;
    if upload.app_id != call.app_id {
        return Err(Refusal::code(234_008));
    }
    Ok(upload)
}

/// The bytes as they leave.
pub(super) fn answer(upload: &Upload) -> Answered {
    Answered::File {
        headers: upload.headers(),
        bytes: upload.bytes.clone(),
    }
}
