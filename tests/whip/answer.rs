//! An answer, read as far as the requirements look into it.

use anyhow::{Result, ensure};

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    session: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// `audio`, `video`, `application`.
    pub(crate) kind: String,
    pub(crate) port: u16,
    lines: Vec<String>,
}

impl Answer {
    /// Strictly by the grammar as far as it goes: RFC 8866 section 9.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        ensure!(text.ends_with('\n'), "the last line of the SDP has no end");
        let mut answer = Self { session: Vec::new(), sections: Vec::new() };
        for line in text.lines() {
            let letter = line.bytes().next().unwrap_or_default();
            ensure!(letter.is_ascii_lowercase() && line[1..].starts_with('='), "no SDP line: {line:?}");
            if let Some(media) = line.strip_prefix("m=") {
                let words: Vec<&str> = media.split(' ').collect();
                ensure!(words.len() >= 4, "an m= line has four words or more: {line:?}");
                let port = words[1].parse()?;
                answer.sections.push(Section { kind: words[0].to_owned(), port, lines: Vec::new() });
            }
            match answer.sections.last_mut() {
                Some(section) => section.lines.push(line.to_owned()),
                None => answer.session.push(line.to_owned()),
            }
        }
        let order = answer.session.iter().take(3).map(|line| &line[..2]).collect::<Vec<_>>();
        ensure!(order == ["v=", "o=", "s="], "SDP begins with v=, o= and s=, this with {order:?}");
        ensure!(answer.session.iter().any(|line| line.starts_with("t=")), "SDP has a t= line");
        ensure!(!answer.sections.is_empty(), "there is no m= line");
        Ok(answer)
    }

    /// The mids of one group.
    pub(crate) fn bundles(&self) -> Vec<Vec<&str>> {
        let groups = self.session.iter().filter_map(|line| line.strip_prefix("a=group:BUNDLE"));
        groups.map(|mids| mids.split_whitespace().collect()).collect()
    }

    /// What the answer takes, and the first of which says where to send it.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.is_accepted())
    }

    /// `a=name:value` of a section, or of the session for all.
    pub(crate) fn value<'a>(&'a self, section: &'a Section, name: &str) -> Option<&'a str> {
        section.values(name).next().or_else(|| values(&self.session, name).next())
    }

    pub(crate) fn is_ice_lite(&self) -> bool {
        self.session.iter().any(|line| line == "a=ice-lite")
    }
}

impl Section {
    /// In a bundle, port 0 rejects unless the section is bundle-only.
    pub(crate) fn is_accepted(&self) -> bool {
        self.port != 0 || self.has("bundle-only")
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(flag))
    }

    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        values(&self.lines, name)
    }

    pub(crate) fn mid(&self) -> &str {
        self.values("mid").next().unwrap_or_default()
    }

    pub(crate) fn direction(&self) -> &str {
        let stated = ["sendonly", "recvonly", "inactive", "sendrecv"].into_iter().find(|flag| self.has(flag));
        stated.unwrap_or("sendrecv")
    }
}

fn values<'a>(lines: &'a [String], name: &str) -> impl Iterator<Item = &'a str> {
    lines.iter().filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}
