//! Tokens that must not be believed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value as Json, json};
use sha2::Sha256;

use super::*;
use crate::caller::{Language, UserIdentity};
use crate::clock::{Clock, Timestamp};
use crate::id::{LoginId, UserId};
use crate::secret::Secret;

const SECRET: &str = "a secret of thirty-two characters";
const NOW: i64 = 1_800_000_000;

fn clock() -> Clock {
    Clock::standing(Timestamp::from_unix_seconds(NOW))
}

fn tokens() -> AccessTokens {
    AccessTokens::new(TokenKey::from_secret(&Secret::new(SECRET), clock()), Duration::from_secs(60))
}

fn user() -> UserIdentity {
    UserIdentity { user_id: UserId::generate(), login_id: LoginId::generate(), language: Language::Arabic }
}

fn part(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

/// A token with any header and claims, signed with HS256 under `key`.
fn forge(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn claims() -> Json {
    let user = user();
    json!({"aud": "chobi-api", "iat": NOW, "exp": NOW + 60, "sub": user.user_id.as_str(), "sid": user.login_id.as_str(),
        "lang": "ar"})
}

const HEADER: &str = r#"{"typ":"at+jwt","alg":"HS256"}"#;

fn with(key: &str, value: Json) -> String {
    let mut claims = claims();
    claims[key] = value;
    claims.to_string()
}

#[test]
fn what_was_issued_is_believed_until_it_ends() {
    let clock = clock();
    let tokens = AccessTokens::new(TokenKey::from_secret(&Secret::new(SECRET), clock.clone()), Duration::from_secs(60));
    let user = user();
    let (token, expires_at) = tokens.issue(&user, clock.now()).unwrap();
    assert_eq!(expires_at.as_unix_seconds(), NOW + 60);
    assert_eq!(tokens.verify(token.reveal()).unwrap(), user);
    clock.advance(Duration::from_secs(59));
    assert!(tokens.verify(token.reveal()).is_ok());
    clock.advance(Duration::from_secs(1));
    assert!(matches!(tokens.verify(token.reveal()), Err(TokenError::Expired)));
}

#[test]
fn the_forge_makes_good_tokens_when_it_has_the_key() {
    assert!(tokens().verify(&forge(HEADER, &claims().to_string(), SECRET.as_bytes())).is_ok());
}

#[test]
fn forgeries_are_refused() {
    let key = SECRET.as_bytes();
    let good = claims().to_string();
    let genuine = forge(HEADER, &good, key);
    let (head, signature) = genuine.rsplit_once('.').unwrap();
    let duplicate = good.replacen('{', &format!("{{\"sub\":\"{}\",", UserId::generate()), 1);
    let unsigned = |alg: &str| format!("{}.{}.", part(&format!(r#"{{"typ":"at+jwt","alg":"{alg}"}}"#)), part(&good));
    let header = |more: &str| forge(&format!(r#"{{"typ":"at+jwt","alg":"HS256",{more}}}"#), &good, key);
    for (name, token) in [
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("other key", forge(HEADER, &good, b"another secret of thirty-two chars")),
        ("empty key", forge(HEADER, &good, b"")),
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg NONE", unsigned("NONE")),
        ("alg nOnE with a signature", format!("{}{signature}", unsigned("nOnE"))),
        ("alg missing", forge(r#"{"typ":"at+jwt"}"#, &good, key)),
        ("alg HS512 named, HS256 signed", forge(r#"{"typ":"at+jwt","alg":"HS512"}"#, &good, key)),
        ("alg EdDSA named, HS256 signed", forge(r#"{"typ":"at+jwt","alg":"EdDSA"}"#, &good, key)),
        ("alg RS256", forge(r#"{"typ":"at+jwt","alg":"RS256"}"#, &good, key)),
        ("no signature", format!("{head}.")),
        ("signature cut", genuine[..genuine.len() - 4].to_owned()),
        ("signature longer", format!("{genuine}AAAA")),
        ("fourth part", format!("{genuine}.AAAA")),
        ("space behind", format!("{genuine} ")),
        ("padding", format!("{genuine}=")),
        ("typ missing", forge(r#"{"alg":"HS256"}"#, &good, key)),
        ("typ JWT", forge(r#"{"typ":"JWT","alg":"HS256"}"#, &good, key)),
        ("typ of a ticket", forge(r#"{"typ":"ticket+jwt","alg":"HS256"}"#, &good, key)),
        ("crit", header(r#""crit":["exp"]"#)),
        ("jku", header(r#""jku":"https://evil.test/keys""#)),
        ("x5u", header(r#""x5u":"https://evil.test/cert""#)),
        ("embedded key", header(r#""jwk":{"kty":"oct","k":"QUFBQQ"}"#)),
        ("audience of tickets", forge(HEADER, &with("aud", json!("chobi-playback")), key)),
        ("audience of nobody", forge(HEADER, &with("aud", json!("")), key)),
        ("audience list", forge(HEADER, &with("aud", json!(["chobi-api", "other"])), key)),
        ("audience null", forge(HEADER, &with("aud", Json::Null), key)),
        ("ended just now", forge(HEADER, &with("exp", json!(NOW)), key)),
        ("ended long ago", forge(HEADER, &with("exp", json!(0)), key)),
        ("ends before time began", forge(HEADER, &with("exp", json!(-1)), key)),
        ("ends never", forge(HEADER, &with("exp", Json::Null), key)),
        ("ends in words", forge(HEADER, &with("exp", json!("tomorrow")), key)),
        ("ends at infinity", forge(HEADER, &good.replace(&(NOW + 60).to_string(), "1e400"), key)),
        ("no user", forge(HEADER, &with("sub", Json::Null), key)),
        ("a user of another kind", forge(HEADER, &with("sub", json!("session_0")), key)),
        ("a user with a path", forge(HEADER, &with("sub", json!("user_/../../etc")), key)),
        ("no login", forge(HEADER, &with("sid", json!("")), key)),
        ("a language we do not speak", forge(HEADER, &with("lang", json!("fr")), key)),
        ("duplicate user", forge(HEADER, &duplicate, key)),
        ("claims that are a list", forge(HEADER, "[]", key)),
        ("claims that are no JSON", forge(HEADER, "{", key)),
        ("too long", forge(HEADER, &with("more", json!("x".repeat(4096))), key)),
    ] {
        assert!(tokens().verify(&token).is_err(), "{name} was believed");
    }
}

#[test]
fn a_generated_key_is_kept_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let key = || TokenKey::in_data_dir(dir.path(), clock()).unwrap();
    let user = user();
    let (token, _) = AccessTokens::new(key(), Duration::from_secs(60)).issue(&user, clock().now()).unwrap();
    let after_restart = AccessTokens::new(key(), Duration::from_secs(60));
    assert_eq!(after_restart.verify(token.reveal()).unwrap(), user);

    let path = dir.path().join("token.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // The public half is no secret, so it must not work as one.
    let public = SigningKey::from_pkcs8_der(&std::fs::read(&path).unwrap()).unwrap().verifying_key();
    assert!(after_restart.verify(&forge(HEADER, &claims().to_string(), public.as_bytes())).is_err());
    assert!(tokens().verify(token.reveal()).is_err(), "another server's token");

    std::fs::write(&path, "not a key").unwrap();
    assert!(matches!(TokenKey::in_data_dir(dir.path(), clock()), Err(KeyError::Format { .. })));
}

#[test]
fn one_purpose_is_not_another() {
    let key = TokenKey::from_secret(&Secret::new(SECRET), clock());
    let ends = Timestamp::from_unix_seconds(NOW + 60);
    let ticket = key.sign(TokenKind::Ticket, ends, json!({"sub": "user_x"})).unwrap();
    assert!(key.verify::<Json>(TokenKind::Ticket, ticket.reveal()).is_ok());
    assert!(matches!(
        key.verify::<Json>(TokenKind::Access, ticket.reveal()),
        Err(TokenError::Jwt(_) | TokenError::WrongKind)
    ));
}
