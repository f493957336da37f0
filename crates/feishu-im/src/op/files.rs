//! Files up, and images, files and resources down.

use super::nameless_debug;
use crate::endpoints::Api;
use crate::request::{Body, FileSource, Request};

/// Brings a file to the platform. Answer: [`crate::answers::UploadedFile`].
#[derive(Clone)]
pub struct UploadFile<'a> {
    /// One of [`FILE_TYPES`].
    pub file_type: &'a str,
    /// With its suffix.
    pub file_name: &'a str,
    /// Length of an audio or a video, in milliseconds.
    pub duration_ms: Option<i64>,
    /// The bytes; 1 to [`crate::limits::FILE_BYTES_MAX`].
    pub file: FileSource,
}

/// The types of files. Source: file upload page, May 2026.
pub const FILE_TYPES: [&str; 7] = ["opus", "mp4", "pdf", "doc", "xls", "ppt", "stream"];

impl UploadFile<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let mut fields = vec![
            ("file_type", self.file_type.to_owned()),
            ("file_name", self.file_name.to_owned()),
        ];
        if let Some(ms) = self.duration_ms {
            fields.push(("duration", ms.to_string()));
        }
        let mut request = Request::new(Api::UploadFile, &[]);
        request.body = Body::Multipart {
            fields,
            file_field: "file",
            file_name: self.file_name.to_owned(),
            file: self.file.clone(),
        };
        request
    }
}

/// Fetches an image that the app brought. Answers bytes.
#[derive(Clone, Copy)]
pub struct DownloadImage<'a> {
    /// `img_…`
    pub image_key: &'a str,
}

impl DownloadImage<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::DownloadImage, &[self.image_key])
    }
}

/// Fetches a file that the app brought. Answers bytes.
#[derive(Clone, Copy)]
pub struct DownloadFile<'a> {
    /// `file_…`
    pub file_key: &'a str,
}

impl DownloadFile<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::DownloadFile, &[self.file_key])
    }
}

/// Kind of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// An image.
    Image,
    /// A file, an audio or a video.
    File,
}

/// Fetches what somebody put into a message. Answers bytes.
#[derive(Clone, Copy)]
pub struct GetResource<'a> {
    /// `om_…`, in a chat that the bot is in.
    pub message_id: &'a str,
    /// `img_…` or `file_…`
    pub file_key: &'a str,
    /// What it is.
    pub resource_type: ResourceType,
}

impl GetResource<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let kind = match self.resource_type {
            ResourceType::Image => "image",
            ResourceType::File => "file",
        };
        Request::new(Api::GetResource, &[self.message_id, self.file_key]).query("type", kind)
    }
}

nameless_debug!(UploadFile, DownloadImage, DownloadFile, GetResource);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::tests::{IM, check};
    use super::*;

    #[test]
    fn a_file_is_brought_as_a_form_with_its_type_and_name() {
        let upload = UploadFile {
            file_type: "opus",
            file_name: "a.opus",
            duration_ms: Some(3_000),
            file: FileSource::Bytes(Bytes::from_static(b"x")),
        };
        let Body::Multipart {
            fields, file_field, ..
        } = upload.request().body
        else {
            panic!("a form is due")
        };
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let due = [
            ("file_type", "opus"),
            ("file_name", "a.opus"),
            ("duration", "3000"),
        ];
        assert_eq!((fields.as_slice(), file_field), (due.as_slice(), "file"));
    }

    #[test]
    fn downloads_name_their_key_in_the_path() {
        let image = DownloadImage { image_key: "img_1" };
        check(&image.request(), &format!("GET {IM}/images/img_1"), "");
        let file = DownloadFile { file_key: "file_1" };
        check(&file.request(), &format!("GET {IM}/files/file_1"), "");
        for (resource_type, word) in [(ResourceType::Image, "image"), (ResourceType::File, "file")]
        {
            let resource = GetResource {
                message_id: "om_1",
                file_key: "k",
                resource_type,
            };
            let call = format!("GET {IM}/messages/om_1/resources/k?type={word}");
            check(&resource.request(), &call, "");
        }
    }
}
