//! A form with one file, as `multipart/form-data` pieces of known length.
//!
//! Promises: the file is not loaded, its length is taken once; names cannot break out of their quotes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;

use tokio::fs::File;

use crate::body::Part;
use crate::request::FileSource;

/// The pieces of the form and its content type.
///
/// # Errors
/// The file cannot be opened or is none.
pub(crate) async fn encode(
    fields: &[(&'static str, String)],
    file_field: &str,
    file_name: &str,
    file: &FileSource,
) -> io::Result<(Vec<Part>, String)> {
    let boundary = boundary();
    let mut head = String::new();
    for (name, value) in fields {
        head.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    let file_name = quoted(file_name);
    head.push_str(&format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{file_field}\"; filename=\"{file_name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    ));
    let tail = format!("\r\n--{boundary}--\r\n");
    let parts = vec![
        Part::Bytes(head.into()),
        open(file).await?,
        Part::Bytes(tail.into()),
    ];
    Ok((parts, format!("multipart/form-data; boundary={boundary}")))
}

async fn open(file: &FileSource) -> io::Result<Part> {
    let path = match file {
        FileSource::Bytes(bytes) => return Ok(Part::Bytes(bytes.clone())),
        FileSource::Path(path) => path,
    };
    let file = File::open(path).await?;
    let about = file.metadata().await?;
    if !about.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(Part::File {
        left: about.len(),
        file,
    })
}

/// A line no file holds by chance: 128 bits of the hasher's random keys.
fn boundary() -> String {
    let keys = RandomState::new();
    format!(
        "feishu-im-{:016x}{:016x}",
        keys.hash_one(1),
        keys.hash_one(2)
    )
}

/// A name for inside quotes, as browsers write it.
fn quoted(name: &str) -> String {
    name.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}
