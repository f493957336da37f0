//! Any operation, its parts as the caller wrote them.
//!
//! For callers who pass on what others ask of the platform: nothing is checked, the platform may refuse it.

use bytes::Bytes;

use super::nameless_debug;
use crate::endpoints::Api;
use crate::request::{Body, FileSource, Request};

/// Performs an operation as it was written. Answer: the operation's own.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    /// Which one.
    pub api: Api,
    /// The path's parameters, in order, not encoded.
    pub params: &'a [&'a str],
    /// The query, in order, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// JSON text; it leaves byte for byte.
    pub body: Option<&'a str>,
}

/// Brings a file as it was written. Answer: the operation's own.
#[derive(Clone, Copy)]
pub struct RawUpload<'a> {
    /// Which one.
    pub api: Api,
    /// The form's words, in order; those of other names than the operation has are left out.
    pub words: &'a [(&'a str, &'a str)],
    /// The name it travels under.
    pub file_name: &'a str,
    /// Its bytes.
    pub file: &'a FileSource,
}
nameless_debug!(Raw, RawUpload);

/// The name of an upload's file, and of the words beside it; `None`: the operation brings none.
/// Source: endpoints.md, section 3.
pub fn form_of(api: Api) -> Option<(&'static str, &'static [&'static str])> {
    match api {
        Api::UploadImage => Some(("image", &["image_type"])),
        Api::UploadFile => Some(("file", &["file_type", "file_name", "duration"])),
        _ => None,
    }
}

impl RawUpload<'_> {
    /// The request; `None`: the operation brings no file.
    pub fn request(&self) -> Option<Request> {
        let (file_field, names) = form_of(self.api)?;
        let known = |(name, value): &(&str, &str)| {
            let name = names.iter().find(|one| *one == name)?;
            Some((*name, (*value).to_owned()))
        };
        let mut request = Request::new(self.api, &[]);
        request.body = Body::Multipart {
            fields: self.words.iter().filter_map(known).collect(),
            file_field,
            file_name: self.file_name.to_owned(),
            file: self.file.clone(),
        };
        Some(request)
    }
}

impl Raw<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let mut request = Request::new(self.api, self.params);
        for (name, value) in self.query {
            request = request.query(name, value);
        }
        if let Some(text) = self.body {
            request.body = Body::Json(Bytes::copy_from_slice(text.as_bytes()));
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_wrote_leaves_as_it_is() {
        let request = Raw {
            api: Api::Forward,
            params: &["om_1/2"],
            query: &[("receive_id_type", "chat_id"), ("x", "a&b")],
            body: Some("{ \"receive_id\" : 1.0 }"),
        }
        .request();
        assert_eq!(request.path, "/open-apis/im/v1/messages/om_1%2F2/forward");
        assert_eq!(request.query, "receive_id_type=chat_id&x=a%26b");
        let Body::Json(text) = request.body else {
            panic!("no JSON")
        };
        assert_eq!(text, "{ \"receive_id\" : 1.0 }");
    }
}
