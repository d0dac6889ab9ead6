//! Files of JSON, one value a line, appended to and never rewritten.
//!
//! A line is torn when the process dies while writing it; only the last can be, and it is left out when read.

use super::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Appends one line, and makes the folder where there is none.
pub(super) fn append<T: Serialize>(path: &Path, value: &T) -> Result<File, StoreError> {
    let mut line = serde_json::to_vec(value).expect("our lines hold nothing JSON cannot say");
    line.push(b'\n');
    let mut options = OpenOptions::new();
    let options = options.append(true).create(true);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().expect("the file lies in a folder");
            fs::create_dir_all(folder).map_err(StoreError::disk("make", folder))?;
            options.open(path)
        }
        opened => opened,
    }
    .map_err(StoreError::disk("open", path))?;
    // One write, so that a line is torn only by a crash within it.
    file.write_all(&line).map_err(StoreError::disk("append to", path))?;
    Ok(file)
}

/// All lines, oldest first; none where there is no file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(StoreError::disk("read", path))?,
    };
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut torn = 0_usize;
    let values = lines.filter_map(|line| serde_json::from_slice(line).inspect_err(|_| torn += 1).ok()).collect();
    if torn > 0 {
        tracing::warn!(path = %path.display(), lines = torn, "lines of a journal cannot be read and are left out");
    }
    Ok(values)
}

/// Ends a torn last line, so that the next one starts on its own. Called before the first append of a process.
pub(super) fn mend(path: &Path) -> Result<(), StoreError> {
    let torn = fs::read(path).is_ok_and(|text| text.last().is_some_and(|byte| *byte != b'\n'));
    if torn {
        let mut file = OpenOptions::new().append(true).open(path).map_err(StoreError::disk("open", path))?;
        file.write_all(b"\n").map_err(StoreError::disk("mend", path))?;
    }
    Ok(())
}
