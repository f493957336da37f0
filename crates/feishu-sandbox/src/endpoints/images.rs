//! Uploading an image: what it is by its first bytes, how large, how many pixels.
//!
//! Source: endpoints.md 3, limits.md 3.

use imagesize::ImageType;
use serde_json::json;

use super::{files, new_id};
use crate::call::{Call, Handled, success};
use crate::codes::Refusal;
use crate::world::Upload;

/// Bytes of an image, in KB.
const IMAGE_KB_MAX: usize = 10_000;
/// Pixels of a side: of a GIF, of an avatar, of the rest.
const GIF_SIDE_MAX: usize = 2_000;
const AVATAR_SIDE_MAX: usize = 4_096;
const IMAGE_SIDE_MAX: usize = 12_000;

/// Takes an image and answers its key.
pub(crate) fn upload(call: &mut Call<'_>) -> Handled {
    let form = files::form(call)?;
    let kind = files::field(form, "image_type");
    let kind = kind.ok_or_else(|| files::wrong("image_type is required"))?;
    if kind != "message" && kind != "avatar" {
        return Err(files::wrong("image_type is message or avatar"));
    }
    let image = form.iter().find(|part| part.name == "image");
    let image = image.ok_or_else(|| files::wrong("image is required"))?;
    let bytes = image.bytes.clone();
    let content_type = check(&bytes, &kind, call.world.switches().kb)?;
    let upload = Upload {
        key: new_id("img_v3_"),
        app_id: call.app_id.clone(),
        kind,
        content_type: content_type.to_owned(),
        name: String::new(),
        duration_ms: None,
        at_ms: call.now_ms,
        bytes: bytes.into(),
    };
    let key = files::keep(call, upload);
    Ok(success(json!({ "image_key": key })))
}

/// Answers the content type the bytes have.
fn check(bytes: &[u8], kind: &str, kb: usize) -> Result<&'static str, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::code(234_010));
    }
    if bytes.len() > IMAGE_KB_MAX * kb {
        return Err(Refusal::code(234_006));
    }
    let unknown = || Refusal::code(234_011);
    let format = imagesize::image_type(bytes).map_err(|_| unknown())?;
    let content_type = match format {
        ImageType::Jpeg => "image/jpeg",
        ImageType::Png => "image/png",
        ImageType::Webp => "image/webp",
        ImageType::Gif => "image/gif",
        ImageType::Bmp => "image/bmp",
        ImageType::Ico => "image/x-icon",
        ImageType::Tiff => "image/tiff",
        ImageType::Heif(_) => "image/heic",
        _ => return Err(unknown()),
    };
    let size = imagesize::blob_size(bytes).map_err(|_| unknown())?;
    let side_max = match format {
        ImageType::Gif => GIF_SIDE_MAX,
        _ if kind == "avatar" => AVATAR_SIDE_MAX,
        _ => IMAGE_SIDE_MAX,
    };
    if size.width > side_max || size.height > side_max {
        return Err(Refusal::code(234_039));
    }
    Ok(content_type)
}
