//! Files of JSON, one value a line, appended to and never rewritten.
//!
//! A line is torn when the process dies or the disk is full while it is written. It is left out when read.

use super::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Appends one line, and makes the folder where there is none. A line that was not written to its end before, by a disk
/// that was full or a process that died, is ended first, so that it does not swallow this one.
pub(super) fn append<T: Serialize>(path: &Path, value: &T) -> Result<File, StoreError> {
    append_all(path, [value])
}

/// Appends several lines at once.
pub(super) fn append_all<'a, T: Serialize + 'a>(
    path: &Path,
    values: impl IntoIterator<Item = &'a T>,
) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).append(true).create(true);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().expect("the file lies in a folder");
            fs::create_dir_all(folder).map_err(StoreError::disk("make", folder))?;
            options.open(path)
        }
        opened => opened,
    }
    .map_err(StoreError::disk("open", path))?;
    let mut line = Vec::with_capacity(USUAL_LINE);
    if is_torn(&file).map_err(StoreError::disk("read", path))? {
        line.push(b'\n');
    }
    for value in values {
        serde_json::to_writer(&mut line, value).expect("our lines hold nothing JSON cannot say");
        line.push(b'\n');
    }
    // One write, so that a line is torn only by a crash or a refusal within it.
    file.write_all(&line).map_err(StoreError::disk("append to", path))?;
    Ok(file)
}

const USUAL_LINE: usize = 512;

/// Whether the last line has no end.
fn is_torn(file: &File) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let mut last = [b'\n'];
    if len > 0 {
        file.read_exact_at(&mut last, len - 1)?;
    }
    Ok(last != [b'\n'])
}

/// All lines, oldest first; none where there is no file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(StoreError::disk("read", path))?,
    };
    let (values, torn) = parse(&text);
    if torn > 0 {
        tracing::warn!(path = %path.display(), lines = torn, "lines of a journal cannot be read and are left out");
    }
    Ok(values)
}

/// Whether any line is as wanted; reads no further than the first.
pub(super) fn any<T: DeserializeOwned>(path: &Path, is_wanted: impl Fn(&T) -> bool) -> Result<bool, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(StoreError::disk("open", path))?,
    };
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(StoreError::disk("read", path))?;
        if serde_json::from_slice(&line).is_ok_and(|value| is_wanted(&value)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The values of all lines that have one, and how many have none.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> (Vec<T>, usize) {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut torn = 0;
    let values = lines.filter_map(|line| serde_json::from_slice(line).inspect_err(|_| torn += 1).ok()).collect();
    (values, torn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_short_swallows_none_and_may_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        append(&path, &1).unwrap();
        // The disk was full in the middle of the second.
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("\"tw");
        fs::write(&path, text).unwrap();
        append(&path, &"two").unwrap();
        append(&path, &3).unwrap();
        let read: Vec<serde_json::Value> = read(&path).unwrap();
        assert_eq!(read, [1.into(), "two".into(), serde_json::Value::from(3)]);
    }
}
