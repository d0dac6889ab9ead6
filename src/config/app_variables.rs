//! The variables that the app's deployments already set. They win over the file, and lose to `CHOBI_…`.

use super::{Fault, Origin, Setting};
use serde_json::Value;
use std::fmt::Write;

/// Variables that stand for one key as they are.
const PLAIN: [(&str, &str); 9] = [
    ("DATABASE_URL", "database.url"),
    ("RTMP_SERVER_URL", "public.rtmp_url"),
    ("HLS_SERVER_URL", "public.hls_url"),
    ("JWT_SECRET", "auth.jwt_secret"),
    ("S3_BUCKET", "storage.bucket"),
    ("AWS_REGION", "storage.region"),
    ("AWS_ENDPOINT_URL_S3", "storage.endpoint"),
    ("AWS_ACCESS_KEY_ID", "storage.access_key_id"),
    ("AWS_SECRET_ACCESS_KEY", "storage.secret_access_key"),
];

/// Reads them; answers what was set but is of no use, a line each.
pub(super) fn read(
    environment: &[(String, String)],
    settings: &mut Vec<Setting>,
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    let get = |name: &str| {
        environment.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    };
    let mut set = |name: &str, key: &str, value: String| {
        let path = key.split('.').map(str::to_owned).collect();
        settings.push(Setting { path, value: Value::from(value), origin: Origin::Variable(name.to_owned()) });
    };
    if let Some(host) = get("POSTGRES_HOST") {
        let port = get("POSTGRES_PORT").unwrap_or("5432");
        if port.parse::<u16>().is_ok() {
            set("POSTGRES_HOST", "database.url", postgres_url(host, port, &get));
        } else {
            let problem = format!("{port:?} is not a port");
            faults.push(Fault::variable("POSTGRES_PORT", "database.url", problem, "write a number from 1 to 65535"));
        }
    }
    for (name, key) in PLAIN {
        if let Some(value) = get(name) {
            set(name, key, value.to_owned());
        }
    }
    match get("JWT_EXPIRES_IN") {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => faults.push(Fault::variable(
            "JWT_EXPIRES_IN",
            "auth.access_token_ttl",
            format!("{text} has no unit"),
            "write the unit: 3600s, 1h, 7d",
        )),
        Some(text) => set("JWT_EXPIRES_IN", "auth.access_token_ttl", text.to_owned()),
        None => {}
    }
    notices(environment)
}

fn postgres_url<'a>(host: &str, port: &str, get: &impl Fn(&str) -> Option<&'a str>) -> String {
    let user = encode(get("POSTGRES_USER").unwrap_or("postgres"));
    let database = encode(get("POSTGRES_DB").unwrap_or("chobi_live"));
    let password = get("POSTGRES_PASSWORD").map(|password| format!(":{}", encode(password))).unwrap_or_default();
    format!("postgres://{user}{password}@{host}:{port}/{database}")
}

/// Percent-encodes what may not stand in a URL's user, password or path (RFC 3986 section 2.3).
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn notices(environment: &[(String, String)]) -> Vec<String> {
    let is_set = |prefixes: &[&str]| {
        environment
            .iter()
            .any(|(name, value)| !value.is_empty() && prefixes.iter().any(|prefix| name.starts_with(prefix)))
    };
    let lines = [
        (&["MONGODB_"][..], "MONGODB_* is not used: analytics live in the SQL database"),
        (&["REDIS_"][..], "REDIS_* is not used yet: this version runs as one node with its bus in the process"),
    ];
    lines.into_iter().filter(|(prefixes, _)| is_set(prefixes)).map(|(_, line)| line.to_owned()).collect()
}
