//! Who a request is from where a reverse proxy stands before this server.

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use chobi_control::caller::ClientAddress;
use chobi_control::config::ApiConfig;
use std::net::SocketAddr;
use std::sync::Arc;

/// Has the routes see the client of a trusted proxy instead of the proxy, as the API does; its port nobody knows.
pub(crate) fn behind_proxies(config: &ApiConfig, router: Router) -> Router {
    if config.trusted_proxies.is_empty() {
        return router;
    }
    let config = Arc::new(config.clone());
    router.layer(from_fn(move |request, next| see_client(Arc::clone(&config), request, next)))
}

async fn see_client(config: Arc<ApiConfig>, mut request: Request, next: Next) -> Response {
    let proxies = &config.trusted_proxies;
    if let Some(&ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>()
        && proxies.iter().any(|network| network.contains(&peer.ip()))
    {
        let client = ClientAddress::of_request(peer.ip(), request.headers(), proxies);
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client.ip(), 0)));
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use tower::ServiceExt;

    async fn seen(peer: &str, forwarded: &str) -> String {
        let router =
            Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()));
        let config = ApiConfig { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..ApiConfig::default() };
        let router = behind_proxies(&config, router);
        let peer = ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4_000));
        let request = Request::get("/").header("x-forwarded-for", forwarded).extension(peer);
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        String::from_utf8(to_bytes(answer.into_body(), 100).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_trusted_proxys_word_is_taken_and_nobody_elses() {
        assert_eq!(seen("10.0.0.1", "203.0.113.9, 192.0.2.7").await, "192.0.2.7");
        assert_eq!(seen("198.51.100.2", "192.0.2.7").await, "198.51.100.2");
    }
}
