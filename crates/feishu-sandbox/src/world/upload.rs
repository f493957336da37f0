//! Bytes under a key: what an app uploaded, or what a person sent along with a message.

use crate::stored::Stored;

/// Bytes somebody uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) key: String,
    /// Empty when a person sent it.
    pub(crate) app_id: String,
    /// `message`, `avatar`; for files `opus`, `mp4`, …; a person may also send a `sticker`.
    pub(crate) kind: String,
    pub(crate) content_type: String,
    /// Empty for an image.
    pub(crate) name: String,
    /// Length of a sound or a film, where it was said.
    pub(crate) duration_ms: Option<u64>,
    pub(crate) at_ms: i64,
    pub(crate) bytes: Stored,
}

impl Upload {
    /// Whether its key is one of images.
    pub(crate) fn is_image(&self) -> bool {
        self.content_type.starts_with("image/")
    }

    /// The headers it is downloaded under. Source: endpoints.md 0 (binary downloads), 3.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", self.content_type.clone()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        if !self.name.is_empty() {
            headers.push(("content-disposition", disposition(&self.name)));
        }
        headers
    }
}

/// A file name for a header: plain where it can be, percent-encoded UTF-8 as well where not.
fn disposition(name: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | ';');
    if name.chars().all(|c| plain(c) || c == ' ') {
        return format!("attachment; filename=\"{name}\"");
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{encoded}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::disposition;

    #[test]
    fn a_file_name_never_breaks_its_header() {
        for (name, expected) in [
            ("a b.txt", "attachment; filename=\"a b.txt\""),
            (
                "a\"\r\n.txt",
                "attachment; filename=\"a%22%0D%0A.txt\"; filename*=UTF-8''a%22%0D%0A.txt",
            ),
            (
                "报.pdf",
                "attachment; filename=\"%E6%8A%A5.pdf\"; filename*=UTF-8''%E6%8A%A5.pdf",
            ),
        ] {
            assert_eq!(disposition(name), expected);
        }
    }
}
