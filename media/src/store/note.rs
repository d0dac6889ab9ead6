//! What is known of a broadcast beside its journal and can be made again: small files in its folder, gone with it.
//!
//! A note is written whole or not at all, and only where the broadcast still has a folder.

use super::StoreError;
use bytes::Bytes;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// `None`: there is none, or one that is longer than any we write.
pub(super) fn read(folder: &Path, name: &str, max_bytes: u64) -> Result<Option<Bytes>, StoreError> {
    let path = folder.join(name);
    match fs::metadata(&path) {
        Ok(about) if about.len() > max_bytes => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::disk("read", path)(error)),
    }
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::disk("read", path)(error)),
    }
}

pub(super) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let (path, temporary) = (folder.join(name), folder.join(format!("{name}+")));
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, &path)).map_err(|error| {
        // A full disk should not be kept full by our own left-overs.
        let _ = fs::remove_file(&temporary);
        StoreError::disk("write", path)(error)
    })
}

pub(super) fn remove(folder: &Path, name: &str) -> Result<(), StoreError> {
    let path = folder.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::disk("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_whole_or_not_there_and_makes_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("session_1");
        assert_eq!(read(&folder, "film", 10).unwrap(), None);
        assert!(write(&folder, "film", b"one").is_err() && !folder.exists(), "a broadcast that is gone stays gone");
        fs::create_dir(&folder).unwrap();
        write(&folder, "film", b"one").unwrap();
        write(&folder, "film", b"other").unwrap();
        assert_eq!(read(&folder, "film", 5).unwrap().unwrap(), "other");
        assert_eq!(read(&folder, "film", 4).unwrap(), None, "longer than it may be");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left over");
        remove(&folder, "film").unwrap();
        remove(&folder, "film").unwrap();
        assert_eq!(read(&folder, "film", 5).unwrap(), None);
    }
}
