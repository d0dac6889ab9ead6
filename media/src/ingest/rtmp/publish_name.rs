//! Which broadcast and which key an encoder means. They arrive spread over `tcUrl`, `app` and the name in `publish`,
//! depending on which fields the encoder offers its user.

use crate::model::BroadcastId;
use crate::seam::{Refusal, Secret};

/// What admission is asked about.
#[derive(Debug, Clone)]
pub(super) struct PublishName {
    pub(super) broadcast: Option<BroadcastId>,
    pub(super) key: Secret,
}

/// What `connect` already tells of it. Some encoders put everything into one address, so this may hold the key.
#[derive(Debug, Clone)]
pub(super) struct ConnectPath {
    /// What follows the application's name in `app`, without slashes around it.
    rest: Secret,
    key: Option<Secret>,
}

impl ConnectPath {
    /// `None`: another application.
    pub(super) fn parse(application: &str, app: &str, tc_url: &str) -> Option<Self> {
        let (path, query) = split_query(app);
        let rest = path.trim_matches('/').strip_prefix(application)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let key = key_of(query).or_else(|| key_of(split_query(tc_url).1));
        Some(Self { rest: Secret::new(rest.trim_matches('/')), key })
    }

    /// `/live/<streamKey>`, or `/live/<sessionId>?key=<streamKey>` with the query wherever the encoder puts it.
    pub(super) fn publish_name(&self, name: &str) -> Result<PublishName, Refusal> {
        let (name, query) = split_query(name);
        let path = match (self.rest.expose(), name.trim_matches('/')) {
            ("", name) => name.to_owned(),
            (rest, "") => rest.to_owned(),
            (rest, name) => format!("{rest}/{name}"),
        };
        if let Some(key) = key_of(query).or_else(|| self.key.clone()) {
            let broadcast = BroadcastId::parse(&path).map_err(|_| Refusal::NotFound)?;
            return Ok(PublishName { broadcast: Some(broadcast), key });
        }
        if path.is_empty() {
            return Err(Refusal::BadCredentials);
        }
        Ok(PublishName { broadcast: None, key: Secret::new(path) })
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn key_of(query: &str) -> Option<Secret> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, value)| *name == "key" && !value.is_empty()).map(|(_, value)| Secret::new(value)).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(app: &str, tc_url: &str, name: &str) -> Result<(Option<String>, String), Refusal> {
        let path = ConnectPath::parse("live", app, tc_url).expect("our application");
        let name = path.publish_name(name)?;
        Ok((name.broadcast.map(|id| id.to_string()), name.key.expose().to_owned()))
    }

    #[test]
    fn every_way_to_write_the_address_is_understood() {
        let key_only = Ok((None, "k3y".to_owned()));
        assert_eq!(name("live", "rtmp://h/live", "k3y"), key_only);
        assert_eq!(name("/live/", "", "/k3y"), key_only);
        assert_eq!(name("live/k3y", "", ""), key_only, "an encoder with one field for the whole address");
        let both = Ok((Some("session_1".to_owned()), "k3y".to_owned()));
        assert_eq!(name("live", "rtmp://h/live", "session_1?key=k3y"), both);
        assert_eq!(name("live", "rtmp://h/live", "session_1?a=b&key=k3y&c"), both);
        assert_eq!(name("live?key=k3y", "", "session_1"), both);
        assert_eq!(name("live", "rtmp://h/live?key=k3y", "session_1"), both);
        assert_eq!(name("live/session_1", "rtmp://h/live/session_1?key=k3y", ""), both);
    }

    #[test]
    fn other_applications_and_names_without_a_key_are_refused() {
        assert!(ConnectPath::parse("live", "vod", "").is_none());
        assert!(ConnectPath::parse("live", "lively", "").is_none());
        assert!(ConnectPath::parse("live", "", "").is_none());
        assert_eq!(name("live", "", ""), Err(Refusal::BadCredentials));
        assert_eq!(name("live", "", "../x?key=k3y"), Err(Refusal::NotFound));
    }

    #[test]
    fn nothing_of_it_can_be_printed() {
        let path = ConnectPath::parse("live", "live/k3y?key=k3y", "").expect("our application");
        assert!(!format!("{path:?} {:?}", path.publish_name("session")).contains("k3y"));
    }
}
