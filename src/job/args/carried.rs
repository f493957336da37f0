//! The bytes that a job carries: in base64, or arrived before it with the same request.
//!
//! What Feishu would refuse by size, format or dimensions is refused here, before anything is kept.
//! Not here: where the bytes are (`store`), how they come in (`http`).

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use feishu_im::{FILE_TYPES, limits};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::job::args::Reader;
use crate::job::fields::Fields;
use crate::job::picture::Looks;
use crate::job::{Kind, Makes, hex};

/// Feishu takes nothing larger.
pub const UPLOAD_BYTES_MAX: u64 = limits::FILE_BYTES_MAX;

/// Bytes that go to Feishu later; kept beside the database under their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// How many.
    pub len: u64,
    /// The bytes; `None`: they arrived before the job and are on disk.
    pub bytes: Option<Bytes>,
}

/// Bytes that are on disk and wait for the job that came with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// How many.
    pub bytes: u64,
    /// What they look like.
    pub looks: Looks,
}

impl Arrived {
    /// What a job's `data` says instead of the bytes; no base64, and only what came with the request counts.
    pub fn data(&self) -> String {
        format!("{ARRIVED}{}", hex(&self.sha256))
    }
}

/// The longest name of a file.
const NAME_BYTES_MAX: usize = 500;

const ARRIVED: &str = "sha256:";

/// An upload that a message's own bytes make, or that a job is.
pub(in crate::job) struct Own {
    pub(in crate::job) kind: Kind,
    pub(in crate::job) args: String,
    pub(in crate::job) upload: Upload,
}

impl Own {
    /// Keeps the other checks going where the bytes were at fault.
    fn stand_in(kind: Kind) -> Own {
        Own {
            kind,
            args: String::new(),
            upload: Upload {
                sha256: [0; 32],
                len: 0,
                bytes: None,
            },
        }
    }
}

/// An image among `fields`. `None`: it has a fault, which stands there.
pub(super) fn image(fields: &mut Fields<'_>, arrived: &[Arrived]) -> Option<Own> {
    let name = fields.text("file_name").unwrap_or("image").to_owned();
    let image_type = fields.text("image_type").unwrap_or("message").to_owned();
    if !matches!(image_type.as_str(), "message" | "avatar") {
        fields.flaw("image_type", "must be one of message, avatar");
    }
    let (upload, looks) = data(fields, arrived, limits::IMAGE_BYTES_MAX, "images")?;
    if let Some(fault) = looks.fault(image_type == "avatar") {
        fields.flaw("data", fault);
        return None;
    }
    let args = json!({
        "sha256": hex(&upload.sha256), "bytes": upload.len, "file_name": name, "image_type": image_type,
    });
    Some(Own {
        kind: Kind::UploadImage,
        args: args.to_string(),
        upload,
    })
}

/// What a file is brought for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// For whoever names it.
    Upload,
    /// To be sent as a file.
    File,
    /// To be sent as an audio.
    Audio,
    /// To be sent as a video.
    Media,
}

impl Sent {
    /// The type that it must have, and its name when it has none. Source: feishu/messages.md, section 2.
    fn must(self) -> Option<(&'static str, &'static str)> {
        match self {
            Sent::Audio => Some(("opus", "audio.opus")),
            Sent::Media => Some(("mp4", "video.mp4")),
            Sent::Upload | Sent::File => None,
        }
    }
}

/// A file among `fields`. `None`: it has a fault, which stands there.
pub(super) fn file(fields: &mut Fields<'_>, arrived: &[Arrived], sent: Sent) -> Option<Own> {
    let before = fields.flaws.len();
    let default = sent.must().map(|(_, name)| name);
    let name = fields.text("file_name");
    let tells_nothing = fields.flaws.len() == before;
    let name = name.or(default.filter(|_| tells_nothing));
    match name {
        None if tells_nothing => fields.flaw("file_name", "is missing: the name, with its suffix"),
        Some(name) if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) => {
            let detail =
                format!("must be at most {NAME_BYTES_MAX} bytes, without control characters");
            fields.flaw("file_name", detail);
        }
        Some(name) if !has_suffix(name) => {
            let detail = "has no suffix; Feishu takes none without, as in report.pdf";
            fields.flaw("file_name", detail);
        }
        _ => {}
    }
    let file_type = file_type(fields, name.unwrap_or_default(), sent);
    let duration = fields.get("duration");
    if duration.is_some_and(|ms| ms.as_i64().is_none_or(|ms| ms < 0)) {
        fields.flaw("duration", "must be a number of milliseconds");
    }
    let (upload, _) = data(fields, arrived, limits::FILE_BYTES_MAX, "files")?;
    if fields.flaws.len() > before {
        return None;
    }
    let mut args = json!({
        "sha256": hex(&upload.sha256), "bytes": upload.len, "file_name": name, "file_type": file_type,
    });
    if let Some(ms) = duration {
        args["duration"] = ms.clone();
    }
    Some(Own {
        kind: Kind::UploadFile,
        args: args.to_string(),
        upload,
    })
}

/// As it is said, else as the name's suffix tells; a type that Feishu would refuse in the message that it
/// is for (230055) is a fault.
fn file_type(fields: &mut Fields<'_>, name: &str, sent: Sent) -> &'static str {
    let said = fields.text("file_type");
    let given = said.and_then(|said| FILE_TYPES.into_iter().find(|one| *one == said));
    if said.is_some() && given.is_none() {
        let detail = format!("must be one of {}", FILE_TYPES.join(", "));
        fields.flaw("file_type", detail);
    }
    let told = by_suffix(name);
    match sent.must() {
        Some((must, _)) => {
            let wrong = |one: &&str| *one != must;
            let detail = format!("Feishu takes only {must} here (230055)");
            if given.is_some_and(|one| wrong(&one)) {
                fields.flaw("file_type", detail);
            } else if given.is_none() && told.is_some_and(|one| wrong(&one)) {
                fields.flaw("file_name", detail);
            }
            must
        }
        None if sent == Sent::File && given == Some("mp4") => {
            let detail = "Feishu sends an mp4 as media only (230055); as a file it is a stream";
            fields.flaw("file_type", detail);
            "stream"
        }
        None => given
            .or(told.filter(|one| sent == Sent::Upload || *one != "mp4"))
            .unwrap_or("stream"),
    }
}

fn has_suffix(name: &str) -> bool {
    let suffix = name.rsplit_once('.');
    suffix.is_some_and(|(stem, suffix)| !stem.is_empty() && !suffix.is_empty())
}

fn by_suffix(name: &str) -> Option<&'static str> {
    let (_, suffix) = name.rsplit_once('.')?;
    match suffix.to_ascii_lowercase().as_str() {
        "opus" => Some("opus"),
        "mp4" => Some("mp4"),
        "pdf" => Some("pdf"),
        "doc" | "docx" => Some("doc"),
        "xls" | "xlsx" => Some("xls"),
        "ppt" | "pptx" => Some("ppt"),
        _ => None,
    }
}

/// What must stand at that place of a content, where one can say.
pub(super) fn made_at(name: &str, pointer: &str) -> Option<Makes> {
    match (name, pointer) {
        ("file" | "audio" | "media" | "sticker", "" | "/file_key") => Some(Makes::File),
        ("media" | "image", "/image_key") => Some(Makes::Image),
        _ => None,
    }
}

impl Reader<'_> {
    /// Takes the bytes out of a message's content: each comes first as an upload, whose id takes the place
    /// that is kept for it here.
    pub(super) fn own(&mut self, content: &mut Map<String, Value>) {
        for (name, sent) in [
            ("file", Sent::File),
            ("audio", Sent::Audio),
            ("media", Sent::Media),
        ] {
            let Some(Value::Object(object)) = self.map.get(name) else {
                continue;
            };
            let cover = object.get("cover").filter(|_| sent == Sent::Media);
            let mut out = object.clone();
            out.remove("cover");
            if !object.contains_key("file_key") {
                self.bytes(name, object, |fields, arrived| {
                    fields.leave(if sent == Sent::Media { &["cover"] } else { &[] });
                    (Kind::UploadFile, file(fields, arrived, sent))
                });
                out = fields_of(json!({"file_key": "file_own"}));
            }
            match cover {
                None => {}
                Some(_) if object.contains_key("image_key") => {
                    let detail = "says the same as \"image_key\"; give one of them";
                    self.fields.inner(format!("/{name}/cover"), detail.into());
                }
                Some(Value::Object(image)) => {
                    self.cover(image);
                    out.insert("image_key".into(), json!("img_own"));
                }
                Some(cover) => drop(out.insert("image_key".into(), cover.clone())),
            }
            content.insert(name.into(), Value::Object(out));
        }
        if let Some(Value::Object(object)) = self.map.get("image")
            && !object.contains_key("image_key")
        {
            self.bytes("image", object, |fields, arrived| {
                (Kind::UploadImage, image(fields, arrived))
            });
            content.insert("image".into(), json!({"image_key": "img_own"}));
        }
    }

    fn cover(&mut self, object: &Map<String, Value>) {
        let at = format!("{}/media/cover", self.at);
        let mut fields = Fields::new(object, &at);
        let own = image(&mut fields, self.arrived);
        self.fields.flaws.extend(fields.finish());
        let own = own.unwrap_or_else(|| Own::stand_in(Kind::UploadImage));
        self.first.push(("/media/image_key".into(), own));
    }

    fn bytes(
        &mut self,
        name: &str,
        object: &Map<String, Value>,
        read: impl Fn(&mut Fields<'_>, &[Arrived]) -> (Kind, Option<Own>),
    ) {
        let at = format!("{}/{name}", self.at);
        let mut fields = Fields::new(object, &at);
        let (kind, own) = read(&mut fields, self.arrived);
        self.fields.flaws.extend(fields.finish());
        let key = match kind {
            Kind::UploadImage => "image_key",
            _ => "file_key",
        };
        let own = own.unwrap_or_else(|| Own::stand_in(kind));
        self.first.push((format!("/{name}/{key}"), own));
    }
}

fn fields_of(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn data(
    fields: &mut Fields<'_>,
    arrived: &[Arrived],
    bytes_max: u64,
    what: &str,
) -> Option<(Upload, Looks)> {
    let Some(data) = fields.text("data") else {
        if !fields
            .flaws
            .iter()
            .any(|flaw| flaw.pointer.ends_with("/data"))
        {
            fields.flaw("data", "is missing: the bytes, in base64");
        }
        return None;
    };
    let (upload, looks) = match arrived.iter().find(|one| one.data() == data) {
        Some(one) => {
            let upload = Upload {
                sha256: one.sha256,
                len: one.bytes,
                bytes: None,
            };
            (upload, one.looks)
        }
        None => {
            let Ok(bytes) = STANDARD.decode(data) else {
                fields.flaw("data", "is not base64");
                return None;
            };
            let looks = Looks::of(&mut Cursor::new(&bytes));
            let upload = Upload {
                sha256: Sha256::digest(&bytes).into(),
                len: bytes.len() as u64,
                bytes: Some(Bytes::from(bytes)),
            };
            (upload, looks)
        }
    };
    if upload.len == 0 {
        fields.flaw("data", "is empty; Feishu takes no empty uploads");
        return None;
    }
    if upload.len > bytes_max {
        let said = format!(
            "holds {} bytes; Feishu takes {what} up to {bytes_max}",
            upload.len
        );
        fields.flaw("data", said);
        return None;
    }
    Some((upload, looks))
}
