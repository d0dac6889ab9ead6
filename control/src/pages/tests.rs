//! The pages through their router, over a small bundle made for the purpose; and the real one, where it has been built.

use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

/// A bundle like the build's: both languages, a compressed copy, one asset.
#[derive(RustEmbed)]
#[folder = "src/pages/fixture"]
struct Fixture;

#[derive(RustEmbed)]
#[folder = "src/pages/fixture/assets"]
struct NotBuilt;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(router: Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

async fn get_with(path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(Pages::new(Bundle::of::<Fixture>(), Policy::new("")).router(), "GET", path, headers).await
}

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test]
async fn every_answer_carries_the_policy() {
    for path in ["/", "/watch/session_1", "/studio", "/assets/site-0A1B2C3D.css", "/nowhere", "/assets/nothing.js"] {
        let answer = get_with(path, &[]).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.ends_with("base-uri 'none'; frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
    }
}

#[tokio::test]
async fn pages_may_ask_for_the_devices_that_they_are_for() {
    let devices = ["camera", "microphone", "display-capture"];
    for path in ["/", "/watch/", "/assets/site-0A1B2C3D.css", "/nowhere", "/studio/", "/studio/x"] {
        let answer = get_with(path, &[BROWSER]).await;
        for device in devices {
            assert!(answer.header("permissions-policy").contains(&format!("{device}=()")), "{path}: {device}");
        }
    }
    let watch = get_with("/watch/session_1", &[BROWSER]).await;
    for device in ["camera=(self)", "microphone=(self)", "display-capture=()"] {
        assert!(watch.header("permissions-policy").contains(device), "{device}");
    }
    let studio = get_with("/studio", &[BROWSER]).await;
    assert_eq!((studio.status, studio.body.as_str()), (StatusCode::OK, "studio ar\n"));
    for device in devices {
        assert!(studio.header("permissions-policy").contains(&format!("{device}=(self)")), "{device}");
    }
    assert_eq!(get_with("/studio?lang=en", &[]).await.body, "studio en\n");
}

#[tokio::test]
async fn pages_come_in_the_language_asked_for_and_it_is_remembered() {
    assert_eq!(get_with("/", &[]).await.body, "home ar\n");
    assert_eq!(get_with("/", &[("accept-language", "en-US")]).await.body, "home en\n");
    let chosen = get_with("/?lang=en", &[("accept-language", "ar")]).await;
    assert_eq!(chosen.body, "home en\n");
    assert!(chosen.header("set-cookie").starts_with("chobi_lang=en; Path=/; Max-Age=31536000; SameSite=Lax"));
    let again = get_with("/watch/session_1", &[("cookie", "chobi_lang=en"), ("accept-language", "ar")]).await;
    assert_eq!(again.body, "watch en\n");
    assert_eq!(again.header("set-cookie"), "");
    let vary: Vec<_> = again.headers.get_all(VARY).iter().collect();
    assert_eq!(vary, ["accept-encoding", "accept-language, cookie"]);
}

#[tokio::test]
async fn html_is_asked_for_again_and_assets_never() {
    assert_eq!(get_with("/", &[]).await.header("cache-control"), "no-cache");
    let asset = get_with("/assets/site-0A1B2C3D.css", &[]).await;
    assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(asset.header("content-type"), "text/css; charset=utf-8");
}

#[tokio::test]
async fn unchanged_page_is_not_sent_again() {
    let first = get_with("/", &[]).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.len() > 30 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for held in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = get_with("/", &[("if-none-match", &held)]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{held}");
        assert_eq!(again.body, "");
        assert_eq!(again.header("etag"), tag);
    }
    let changed = get_with("/?lang=en", &[("if-none-match", &tag)]).await;
    assert_eq!((changed.status, changed.body.as_str()), (StatusCode::OK, "home en\n"));
}

#[tokio::test]
async fn compressed_copy_goes_to_those_who_take_it() {
    let taken = get_with("/assets/site-0A1B2C3D.css", &[("accept-encoding", "gzip, br;q=0")]).await;
    assert_eq!((taken.header("content-encoding"), taken.body.as_str()), ("gzip", "pretend gzip\n"));
    assert_eq!(taken.header("content-type"), "text/css; charset=utf-8");
    let best = get_with("/assets/site-0A1B2C3D.css", &[("accept-encoding", "gzip, deflate, br")]).await;
    assert_eq!((best.header("content-encoding"), best.body.as_str()), ("br", "pretend brotli\n"));
    let plain = get_with("/assets/site-0A1B2C3D.css", &[("accept-encoding", "identity")]).await;
    assert_eq!((plain.header("content-encoding"), plain.body.as_str()), ("", "body {}\n"));
    let tags = [taken.header("etag"), best.header("etag"), plain.header("etag")];
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
}

#[tokio::test]
async fn unknown_address_is_a_page_for_people_and_a_word_for_programs() {
    for path in
        ["/nowhere", "/watch/", "/watch/a/b", "/watch/a%20b", "/assets/none.js", &format!("/watch/{}", "a".repeat(129))]
    {
        let page = get_with(path, &[BROWSER]).await;
        assert_eq!((page.status, page.body.as_str()), (StatusCode::NOT_FOUND, "missing ar\n"), "{path}");
        let word = get_with(path, &[]).await;
        assert_eq!((word.status, word.body.as_str()), (StatusCode::NOT_FOUND, "not found\n"), "{path}");
    }
    let router = Pages::new(Bundle::of::<Fixture>(), Policy::new("")).router();
    assert_eq!(ask(router, "POST", "/nowhere", &[BROWSER]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn no_name_leads_out_of_the_bundle() {
    for name in [
        "../home.ar.html",
        "%2e%2e/home.ar.html",
        "..%2fhome.ar.html",
        "..%2f..%2fmod.rs",
        "..%5chome.ar.html",
        "%2fetc%2fpasswd",
        "site-0A1B2C3D.css%00",
        ".hidden.js",
        "site-0A1B2C3D.css.gz",
        "",
    ] {
        let answer = get_with(&format!("/assets/{name}"), &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NOT_FOUND, "not found\n"), "{name}");
    }
}

#[tokio::test]
async fn head_tells_the_length_and_sends_nothing() {
    let router = Pages::new(Bundle::of::<Fixture>(), Policy::new("")).router();
    let answer = ask(router, "HEAD", "/", &[]).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.as_str()), (StatusCode::OK, "8", ""));
}

#[tokio::test]
async fn pages_that_were_never_built_say_how_to_build_them() {
    let router = Pages::new(Bundle::of::<NotBuilt>(), Policy::new("")).router();
    let answer = ask(router, "GET", "/", &[BROWSER]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.contains("make web"), "{}", answer.body);
}

/// What the policy forbids must not be in the built pages, and what they name must be there.
#[tokio::test]
async fn built_pages_obey_the_policy_and_name_only_files_that_exist() {
    for path in [
        "/?lang=ar",
        "/?lang=en",
        "/watch/session_1?lang=ar",
        "/watch/session_1?lang=en",
        "/studio?lang=ar",
        "/studio?lang=en",
    ] {
        let page = ask(router_playing_from(""), "GET", path, &[]).await;
        if page.status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(Dist::get("home.ar.html").is_none(), "{path}: built, yet not served");
            continue;
        }
        assert_eq!(page.status, StatusCode::OK, "{path}");
        for forbidden in ["<style", " style=", "<script>", "onclick", "javascript:", "http://", "https://"] {
            assert!(!page.body.contains(forbidden), "{path} contains {forbidden}");
        }
        let named: Vec<_> = page.body.split('"').filter(|text| text.starts_with("/assets/")).collect();
        assert!(named.len() >= 4, "{path} names {named:?}");
        for asset in named {
            assert_eq!(
                ask(router_playing_from(""), "GET", asset, &[]).await.status,
                StatusCode::OK,
                "{path} names {asset}"
            );
        }
    }
}
