//! One thing wrong with the configuration: where, what, and how to mend it.

use super::{Origin, Setting};
use std::fmt;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Dotted key, or the file when it cannot be read at all.
    pub key: String,
    /// The file with its line, the variable, or the flag; empty where the default is at fault together with something else.
    pub origin: String,
    pub problem: String,
    pub mend: String,
}

impl Fault {
    pub(super) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self {
            key: path.display().to_string(),
            origin: String::new(),
            problem: format!("cannot be read: {error}"),
            mend: "name an existing file with --config, or leave the flag out to run on the defaults".into(),
        }
    }

    pub(super) fn syntax(path: &Path, line: usize, problem: &str) -> Self {
        Self {
            key: path.display().to_string(),
            origin: format!("line {line}"),
            problem: format!("is not TOML: {}", problem.trim().replace('\n', " ")),
            mend: "mend the syntax there; config/default.toml shows every key as it is written".into(),
        }
    }

    pub(super) fn unknown(setting: &Setting, nearest: Option<&str>) -> Self {
        let mend = match nearest {
            Some(key) => format!("did you mean {key}?"),
            None => "remove it; config/default.toml lists every key".into(),
        };
        Self { problem: "there is no such key".into(), mend, ..Self::at(setting) }
    }

    pub(super) fn value(setting: &Setting, problem: String) -> Self {
        Self { problem, mend: "config/default.toml shows its form and default".into(), ..Self::at(setting) }
    }

    pub(super) fn variable(name: &str, key: &str, problem: String, mend: &str) -> Self {
        Self { key: key.into(), origin: name.into(), problem, mend: mend.into() }
    }

    pub(super) fn cross(settings: &[Setting], key: &str, problem: String, mend: &str) -> Self {
        let set_by = settings.iter().rev().find(|setting| setting.path.join(".") == key);
        let origin = set_by.map(|setting| setting.origin.to_string()).unwrap_or_default();
        Self { key: key.into(), origin, problem, mend: mend.into() }
    }

    pub(super) fn whole(problem: String) -> Self {
        Self { key: "configuration".into(), origin: String::new(), problem, mend: "report this as a defect".into() }
    }

    fn at(setting: &Setting) -> Self {
        Self {
            key: setting.path.join("."),
            origin: setting.origin.to_string(),
            problem: String::new(),
            mend: String::new(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if !self.origin.is_empty() {
            write!(f, " ({})", self.origin)?;
        }
        write!(f, ": {}\n    {}", self.problem, self.mend)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}
