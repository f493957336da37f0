//! What can be told of an image without taking it apart: its format and its size.
//!
//! Reads heads only, however long the image is. What it cannot tell it leaves to Feishu.

use std::io::{BufRead, Seek, SeekFrom};

use feishu_im::limits;

/// What the bytes of an upload look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// An image of a format that Feishu takes.
    Image {
        /// A GIF has limits of its own.
        gif: bool,
        /// Width and height, where the head says them.
        size: Option<(usize, usize)>,
    },
    /// Something else.
    Other,
}

impl Looks {
    /// Of what `bytes` holds, from its beginning.
    pub fn of(bytes: &mut (impl BufRead + Seek)) -> Looks {
        let mut head = [0; 12];
        let read = bytes
            .seek(SeekFrom::Start(0))
            .and_then(|_| fill(bytes, &mut head));
        let head = match read {
            Ok(read) => &head[..read],
            Err(_) => return Looks::Other,
        };
        if !is_image(head) {
            return Looks::Other;
        }
        let size = bytes
            .seek(SeekFrom::Start(0))
            .ok()
            .and_then(|_| imagesize::reader_size(bytes).ok());
        Looks::Image {
            gif: head.starts_with(b"GIF8"),
            size: size.map(|size| (size.width, size.height)),
        }
    }

    /// Why Feishu would not take it as an image; `None`: nothing speaks against it.
    pub(super) fn fault(self, avatar: bool) -> Option<String> {
        let (gif, size) = match self {
            Looks::Image { gif, size } => (gif, size),
            Looks::Other => {
                return Some(String::from(
                    "is no image of a format that Feishu takes (JPEG, PNG, WEBP, GIF, BMP, ICO, TIFF, HEIC)",
                ));
            }
        };
        let side = limits::IMAGE_SIDE_MAX;
        let (side, what) = match (gif, avatar) {
            (true, _) => (limits::GIF_SIDE_MAX, "GIFs"),
            (false, true) => (limits::AVATAR_SIDE_MAX, "avatars"),
            (false, false) => (side, "images"),
        };
        let (width, height) = size.filter(|(width, height)| *width > side || *height > side)?;
        Some(format!(
            "is {width}×{height}; Feishu takes {what} up to {side}×{side}"
        ))
    }
}

fn fill(bytes: &mut impl BufRead, head: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < head.len() {
        match bytes.read(&mut head[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Told by the first bytes. Source of the formats: feishu/endpoints.md, section 3.
fn is_image(bytes: &[u8]) -> bool {
    let heads: [&[u8]; 7] = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF8",
        b"BM",
        b"\x00\x00\x01\x00",
        b"II*\x00",
        b"MM\x00*",
    ];
    heads.iter().any(|head| bytes.starts_with(head))
        || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"))
        || (bytes.get(4..8) == Some(b"ftyp")
            && matches!(
                bytes.get(8..12),
                Some(b"heic" | b"heix" | b"mif1" | b"msf1")
            ))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn gif(width: u16, height: u16) -> Vec<u8> {
        let mut gif = b"GIF89a".to_vec();
        gif.extend(width.to_le_bytes());
        gif.extend(height.to_le_bytes());
        gif.extend([0; 16]);
        gif
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
        png.extend(width.to_be_bytes());
        png.extend(height.to_be_bytes());
        png.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
        png
    }

    fn check(bytes: Vec<u8>, avatar: bool, expected: Option<&str>) {
        let fault = Looks::of(&mut Cursor::new(bytes)).fault(avatar);
        match (fault, expected) {
            (None, None) => {}
            (Some(fault), Some(word)) if fault.contains(word) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_image_is_held_against_the_size_of_its_kind() {
        check(png(12_000, 12_000), false, None);
        check(png(12_001, 1), false, Some("12001×1"));
        check(png(4_096, 4_096), true, None);
        check(png(1, 4_097), true, Some("avatars up to 4096×4096"));
        check(gif(2_000, 2_000), false, None);
        check(gif(2_001, 2_000), false, Some("GIFs up to 2000×2000"));
        check(gif(2_001, 2_000), true, Some("GIFs up to 2000×2000"));
    }

    #[test]
    fn what_a_head_does_not_tell_is_left_to_feishu() {
        check(b"\x89PNG\r\n\x1a\n".to_vec(), false, None);
        check(b"\xff\xd8\xff\xe0".to_vec(), true, None);
        check(b"II*\x00\xff\xff\xff\xff".to_vec(), false, None);
        check(Vec::new(), false, Some("no image"));
        check(b"%PDF-1.7".to_vec(), false, Some("no image"));
    }
}
