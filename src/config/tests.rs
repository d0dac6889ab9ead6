//! Sources, precedence, and every kind of fault.

use super::*;
use crate::tls::testing::PairFiles;
use std::time::Duration;

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_text(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, Vec<Fault>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chobi.toml");
    std::fs::write(&path, text).unwrap();
    load(Some(&path), &environment(pairs), Flags::default())
}

fn faults(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    load_text(text, pairs)
        .unwrap_err()
        .iter()
        .map(|fault| format!("{}: {} | {}", fault.key, fault.problem, fault.mend))
        .collect()
}

#[test]
fn the_documented_file_holds_every_key_with_its_default() {
    let mut from_file = Vec::new();
    let text = include_str!("../../config/default.toml");
    setting::from_toml(Path::new("config/default.toml"), text, &mut from_file, &mut Vec::new());
    let mut file: Vec<(String, Value)> = from_file.into_iter().map(|s| (s.path.join("."), s.value)).collect();
    let mut code = Vec::new();
    flatten(&mut Vec::new(), &defaults(), &mut code);
    file.sort_by(|a, b| a.0.cmp(&b.0));
    code.sort_by(|a, b| a.0.cmp(&b.0));
    let names = |list: &[(String, Value)]| list.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    assert_eq!(names(&file), names(&code));
    assert_eq!(file, code);
}

fn flatten(above: &mut Vec<String>, tree: &Map<String, Value>, leaves: &mut Vec<(String, Value)>) {
    for (key, value) in tree {
        above.push(key.clone());
        match value {
            Value::Object(inner) => flatten(above, inner, leaves),
            Value::Null => {}
            _ => leaves.push((above.join("."), value.clone())),
        }
        above.pop();
    }
}

#[test]
fn what_other_commands_take_from_the_environment_is_no_setting() {
    let theirs = ["CONFIG_FILE", "BENCH_KEY", "BENCH_TOKEN", "WHIP_URL", "WHEP_TOKEN", "TEST_LOG"]
        .map(|name| format!("CHOBI_{name}"));
    let pairs: Vec<_> = theirs.iter().map(|name| (name.as_str(), "x")).collect();
    assert!(load_text("", &pairs).is_ok());
    let found = load_text("", &[("CHOBI_BENCHES", "x")]).unwrap_err();
    assert_eq!(found[0].origin, "CHOBI_BENCHES", "and a slip is told");
}

#[test]
fn the_environment_wins_over_the_file_and_chobi_over_the_apps_variables() {
    let file = "[auth]\naccess_token_ttl = \"2h\"\n[http]\nmax_connections = 5\n";
    let loaded = load_text(file, &[("JWT_EXPIRES_IN", "7d"), ("CHOBI_HTTP__MAX_CONNECTIONS", "9")]).unwrap();
    assert_eq!(loaded.config.control.auth.access_token_ttl, Duration::from_secs(7 * 86_400));
    assert_eq!(loaded.config.server.http.max_connections, 9);
    let pairs = [("JWT_EXPIRES_IN", "7d"), ("CHOBI_AUTH__ACCESS_TOKEN_TTL", "3h"), ("CHOBI_DATA_DIR", "/tmp/x")];
    let loaded = load_text(file, &pairs).unwrap();
    assert_eq!(loaded.config.control.auth.access_token_ttl, Duration::from_secs(3 * 3600));
    assert_eq!(loaded.config.server.data_dir, PathBuf::from("/tmp/x"));
}

#[test]
fn every_fault_is_reported_with_its_place_and_mend() {
    let text = "[http]\nlisten = \"here\"\nlistn = 1\n[hls]\nsegment_duration = 7\n[nonsense]\nx = 1\n";
    let pairs = [("CHOBI_HTTP__MAX_CONNECTIONS", "many"), ("CHOBI_OPS__LISTEN", "127.0.0.1:3000")];
    let found = load_text(text, &pairs).unwrap_err();
    let keys: Vec<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        keys,
        ["hls.segment_duration", "http.listen", "http.listn", "nonsense.x", "http.max_connections", "ops.listen"]
    );
    assert!(found[2].to_string().contains("did you mean http.listen?"), "{}", found[2]);
    assert!(found[2].origin.ends_with("chobi.toml:3"), "{}", found[2]);
    assert_eq!(found[4].origin, "CHOBI_HTTP__MAX_CONNECTIONS");
    assert!(found[5].problem.contains("also that of http.listen"), "{}", found[5]);
}

#[test]
fn broken_toml_is_named_by_line() {
    let found = faults("[http]\nlisten = \n", &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("is not TOML"), "{found:?}");
    let missing = load(Some(Path::new("/nowhere/chobi.toml")), &[], Flags::default()).unwrap_err();
    assert!(missing[0].problem.contains("cannot be read"));
}

#[test]
fn postgres_variables_make_one_url() {
    let pairs =
        [("POSTGRES_HOST", "db"), ("POSTGRES_USER", "u@x"), ("POSTGRES_PASSWORD", "p/ä"), ("POSTGRES_DB", "live")];
    let loaded = load_text("", &pairs).unwrap();
    assert_eq!(loaded.config.control.database.url.reveal(), "postgres://u%40x:p%2F%C3%A4@db:5432/live");
    assert!(faults("", &[("POSTGRES_HOST", "db"), ("POSTGRES_PORT", "x")])[0].contains("is not a port"));
    assert!(faults("", &[("JWT_EXPIRES_IN", "3600")])[0].contains("has no unit"));
}

#[test]
fn what_is_set_but_unused_is_said_once() {
    let pairs = [("MONGODB_URI", "x"), ("MONGODB_DB", "y"), ("REDIS_HOST", "r"), ("AWS_CA_BUNDLE", "x")];
    let notices = load_text("", &pairs).unwrap().notices;
    assert_eq!(notices.len(), 2);
    assert!(notices[0].contains("analytics live in the SQL database"));
}

#[test]
fn the_apps_variables_name_the_bucket_and_its_keys_stay_secret() {
    let file = "[storage]\nbucket = \"other\"\nchecksum = \"when_required\"\nspool_max_bytes = 20000000\n";
    let pairs = [
        ("S3_BUCKET", "chobi-shows"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("CHOBI_STORAGE__PREFIX", "live"),
    ];
    let storage = load_text(file, &pairs).unwrap().config.server.storage;
    assert_eq!((storage.bucket.as_str(), storage.region.as_str()), ("chobi-shows", "eu-central-1"));
    assert_eq!((storage.endpoint.as_str(), storage.prefix.as_str()), ("http://127.0.0.1:9000", "live"));
    assert_eq!((storage.access_key_id.as_str(), storage.secret_access_key.expose()), ("AKIDEXAMPLE", "hunter2"));
    assert!(storage.has_bucket() && storage.spool_max_bytes == 20_000_000);
    assert!(!format!("{storage:?}").contains("hunter2"));
}

#[test]
fn every_fault_of_a_bucket_is_named_with_its_mend() {
    let pairs = [("S3_BUCKET", "https://b"), ("AWS_ENDPOINT_URL_S3", "minio:9000"), ("AWS_REGION", "eu central")];
    let found = load_text("[storage]\nchecksum = \"never\"\n", &pairs).unwrap_err();
    let keys: Vec<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    let expected = [
        "storage.checksum",
        "storage.bucket",
        "storage.access_key_id",
        "storage.secret_access_key",
        "storage.region",
        "storage.endpoint",
    ];
    assert_eq!(keys, expected);
    assert!(found.iter().all(|fault| !fault.mend.is_empty()));
    assert_eq!((found[1].origin.as_str(), found[5].origin.as_str()), ("S3_BUCKET", "AWS_ENDPOINT_URL_S3"));
    // Keys alone ask for nothing: many machines have them for other programs.
    assert!(load_text("", &[("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")]).is_ok());
}

#[test]
fn addresses_nobody_names_are_left_to_the_listeners() {
    let loaded = load_text("", &[("HLS_SERVER_URL", "https://cdn.test/hls")]).unwrap();
    assert_eq!(loaded.config.derived, Derived { rtmp_url: true, hls_url: false, base_url: true });
}

/// A certificate and its key in files of their own, valid for 90 days from `from_day` days after now.
fn pair(folder: &Path, name: &str, from_day: i64) -> (String, String) {
    let files = PairFiles::write(folder, name, from_day, 90);
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    (text(files.certificate), text(files.key))
}

fn tls(certificate: &str, key: &str) -> Result<Loaded, Vec<Fault>> {
    load_text("", &[("CHOBI_TLS__CERTIFICATE", certificate), ("CHOBI_TLS__KEY", key)])
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_fault_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = pair(folder.path(), "a", -1);
    let (_, other) = pair(folder.path(), "b", -1);
    let loaded = tls(&certificate, &key).unwrap();
    assert!(loaded.config.server.tls.is_on() && loaded.notices.is_empty(), "{:?}", loaded.notices);
    for (certificate, key, at_fault, problem) in [
        (certificate.as_str(), "", "tls.key", "is not set, but tls.certificate is"),
        ("", key.as_str(), "tls.certificate", "is not set, but tls.key is"),
        ("/nowhere.crt", &key, "tls.certificate", "/nowhere.crt cannot be read"),
        (&certificate, "/nowhere.key", "tls.key", "/nowhere.key cannot be read"),
        (&key, &key, "tls.certificate", "holds no certificate"),
        (&certificate, &certificate, "tls.key", "holds no private key"),
        (&certificate, &other, "tls.key", "is not that of the first certificate"),
    ] {
        let found = tls(certificate, key).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].key, at_fault, "{}", found[0]);
        assert!(found[0].problem.contains(problem) && !found[0].mend.is_empty(), "{}", found[0]);
    }
    let found = load(
        None,
        &environment(&[("CHOBI_TLS__CERTIFICATE", &certificate), ("CHOBI_TLS__KEY", &key)]),
        Flags { self_signed: true },
    )
    .unwrap_err();
    assert_eq!((found[0].key.as_str(), found[0].origin.as_str()), ("tls.self_signed", "--self-signed"));
}

#[test]
fn a_certificate_out_of_its_time_is_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    for (from_day, notice) in [(-100, "expired 10 days ago"), (2, "is not valid yet"), (-80, "expires in 9 days")] {
        let (certificate, key) = pair(folder.path(), "a", from_day);
        let notices = tls(&certificate, &key).unwrap().notices;
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains(notice), "{notices:?}");
    }
}

#[test]
fn ports_of_tls_count_only_when_it_is_on() {
    let pairs = [("CHOBI_TLS__HTTP_LISTEN", "127.0.0.1:3000"), ("CHOBI_TLS__RTMP_LISTEN", "127.0.0.1:1935")];
    assert!(!load_text("", &pairs).unwrap().config.server.tls.is_on());
    let found = load(None, &environment(&pairs), Flags { self_signed: true }).unwrap_err();
    let keys: Vec<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["tls.http_listen", "tls.rtmp_listen"]);
    assert!(found[0].problem.contains("also that of http.listen"), "{}", found[0]);
}

#[test]
fn a_list_in_a_variable_is_written_as_in_the_file_or_plainly() {
    for text in ["203.0.113.5,2001:db8::5", "[\"203.0.113.5\", \"2001:db8::5\"]", " 203.0.113.5 , 2001:db8::5, "] {
        let pairs = [("CHOBI_WEBRTC__EXTERNAL_ADDRESSES", text)];
        let loaded =
            load(None, &environment(&pairs), Flags::default()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        let addresses = &loaded.config.server.webrtc.external_addresses;
        assert_eq!(
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["203.0.113.5", "2001:db8::5"],
            "{text}"
        );
    }
    let broken =
        load(None, &environment(&[("CHOBI_WEBRTC__EXTERNAL_ADDRESSES", "[\"203.0.113.5\"")]), Flags::default());
    assert!(
        broken.is_err_and(|faults| faults.iter().any(|fault| fault.to_string().contains("webrtc.external_addresses")))
    );
}
