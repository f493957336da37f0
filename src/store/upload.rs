//! Bytes beside the database, under their hash: on disk before the job that needs them is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::job::Upload;

/// Where the bytes of that hash (64 hex digits) are.
pub(super) fn path(database: &Path, sha256: &str) -> PathBuf {
    folder(database).join(sha256)
}

/// The folder of them all.
pub(super) fn folder(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".uploads");
    PathBuf::from(name)
}

/// The hash as it names the file.
pub(super) fn name(upload: &Upload) -> String {
    upload
        .sha256
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes the bytes and waits for the disk. A file that is there is complete: names appear by rename.
pub(super) fn keep(database: &Path, upload: &Upload) -> std::io::Result<()> {
    let folder = folder(database);
    let target = folder.join(name(upload));
    if target.exists() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let draft = folder.join(format!(
        "{}.{}.part",
        name(upload),
        uuid::Uuid::now_v7().simple()
    ));
    let kept = write(&draft, &upload.bytes).and_then(|()| fs::rename(&draft, &target));
    if kept.is_err() {
        // On a full disk above all: half of it must not stay and take the room.
        let _ = fs::remove_file(&draft);
    }
    kept?;
    File::open(&folder)?.sync_all()
}

fn write(draft: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}
