//! The bytes that a job carries: in base64, or arrived before it with the same request.
//!
//! What Feishu would refuse by size, format or dimensions is refused here, before anything is kept.
//! Not here: where the bytes are (`store`), how they come in (`http`).

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use feishu_im::limits;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::job::fields::Fields;
use crate::job::picture::Looks;

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

const ARRIVED: &str = "sha256:";

/// The args of an upload, and its bytes.
pub(in crate::job) struct Own {
    pub(in crate::job) args: String,
    pub(in crate::job) upload: Upload,
}

impl Own {
    /// Keeps the other checks going where the bytes were at fault.
    pub(super) fn stand_in() -> Own {
        Own {
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
        args: args.to_string(),
        upload,
    })
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

fn hex(sha256: &[u8; 32]) -> String {
    sha256.iter().map(|byte| format!("{byte:02x}")).collect()
}
