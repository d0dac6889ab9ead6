//! Who is making a control request.
//!
//! In: request headers and the peer's address. Out: [`Caller`], which every procedure receives. A token that no longer
//! holds does not fail the request: public procedures still answer, so that a phone with an expired token can refresh it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION};
use ipnet::IpNet;

use crate::auth::AccessTokens;
use crate::error::{Error, SIGN_IN};
use crate::id::{LoginId, UserId};

/// Who asks, in which language, from where.
#[derive(Debug, Clone)]
pub struct Caller {
    pub identity: Identity,
    pub language: Language,
    pub address: ClientAddress,
}

/// What the request proved about its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// No token was sent.
    Anonymous,
    /// A token was sent that does not hold: expired, revoked or forged.
    Rejected,
    User(UserIdentity),
}

/// A signed-in user, as the access token states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdentity {
    pub user_id: UserId,
    /// The login this token belongs to; it ends when that login is revoked.
    pub login_id: LoginId,
    pub language: Language,
}

impl Caller {
    /// Somebody unknown at `address`.
    pub const fn anonymous(address: ClientAddress) -> Self {
        Self { identity: Identity::Anonymous, language: Language::Arabic, address }
    }

    pub const fn user_id(&self) -> Option<&UserId> {
        match &self.identity {
            Identity::User(user) => Some(&user.user_id),
            Identity::Anonymous | Identity::Rejected => None,
        }
    }
}

/// A caller known to be signed in. A procedure that takes this instead of [`Caller`] refuses everybody else.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub user_id: UserId,
    pub login_id: LoginId,
    pub language: Language,
    pub address: ClientAddress,
}

impl TryFrom<Caller> for SignedIn {
    type Error = Error;

    fn try_from(caller: Caller) -> Result<Self, Error> {
        let Caller { identity, language, address } = caller;
        match identity {
            Identity::User(user) => Ok(Self { user_id: user.user_id, login_id: user.login_id, language, address }),
            Identity::Anonymous | Identity::Rejected => Err(SIGN_IN.into()),
        }
    }
}

/// The languages the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    #[default]
    Arabic,
    English,
}

impl Language {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arabic => "ar",
            Self::English => "en",
        }
    }

    pub fn parse(tag: &str) -> Option<Self> {
        match tag {
            "ar" => Some(Self::Arabic),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    /// The better liked of ours in an `Accept-Language` header (RFC 9110 section 12.5.4), the first of equals.
    pub fn negotiate(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for range in header.split(',').take(16) {
            let mut parts = range.trim().split(';');
            let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            let language = Self::parse(tag.split('-').next().unwrap_or_default());
            if let (Some(weight), Some(language)) = (weight, language)
                && weight > best.map_or(0.0, |(liked, _)| liked)
            {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }
}

/// Where a request came from, as rate limits see it: an IPv4 address or an IPv6 /64, which one customer owns whole.
/// Logs show only the network it is in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    pub fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 64))),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// The address, or the first of its network.
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// The peer, unless it is a proxy we trust: then the right-most address in `X-Forwarded-For` that is not one.
    /// Anything left of that was written by the sender and proves nothing.
    pub fn of_request(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
        let mut nearest = peer.to_canonical();
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let mut hops: Vec<&str> = forwarded.flat_map(|list| list.split(',')).collect();
        while is_trusted(&nearest) {
            match hops.pop().map(|hop| hop.trim().parse::<IpAddr>()) {
                Some(Ok(address)) => nearest = address.to_canonical(),
                Some(Err(_)) | None => break,
            }
        }
        Self::new(nearest)
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                write!(f, "{a}.{b}.*")
            }
            IpAddr::V6(v6) => write!(f, "{:x}:{:x}:*", v6.segments()[0], v6.segments()[1]),
        }
    }
}

/// Reads the caller out of a request.
#[derive(Debug, Clone)]
pub struct CallerReader {
    tokens: AccessTokens,
    trusted_proxies: Vec<IpNet>,
}

impl CallerReader {
    pub const fn new(tokens: AccessTokens, trusted_proxies: Vec<IpNet>) -> Self {
        Self { tokens, trusted_proxies }
    }

    pub fn read(&self, headers: &HeaderMap, peer: IpAddr) -> Caller {
        let identity = match headers.get(AUTHORIZATION) {
            None => Identity::Anonymous,
            Some(value) => self.identify(value.to_str().ok().and_then(bearer).unwrap_or_default()),
        };
        let preferred = match &identity {
            Identity::User(user) => Some(user.language),
            Identity::Anonymous | Identity::Rejected => {
                headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).and_then(Language::negotiate)
            }
        };
        let address = ClientAddress::of_request(peer, headers, &self.trusted_proxies);
        Caller { identity, language: preferred.unwrap_or_default(), address }
    }

    /// What a token alone proves, for transports that carry it elsewhere than in a header.
    pub fn identify(&self, token: &str) -> Identity {
        match self.tokens.verify(token) {
            Ok(user) => Identity::User(user),
            Err(refused) => {
                tracing::debug!(cause = %refused, "access token refused");
                Identity::Rejected
            }
        }
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &[&'static str]) -> ClientAddress {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", http::HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        ClientAddress::of_request(peer.parse().unwrap(), &headers, &trusted)
    }

    fn plain(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().unwrap())
    }

    #[test]
    fn forwarded_addresses_count_only_behind_trusted_proxies() {
        assert_eq!(address("203.0.113.9", &["1.2.3.4"]), plain("203.0.113.9"));
        assert_eq!(address("10.0.0.1", &["1.2.3.4"]), plain("1.2.3.4"));
        assert_eq!(address("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.9.9.9"]), plain("1.2.3.4"));
        assert_eq!(address("10.0.0.1", &["6.6.6.6", "1.2.3.4"]), plain("1.2.3.4"));
        assert_eq!(address("::1", &["garbage"]), plain("::1"));
        assert_eq!(address("::ffff:10.0.0.1", &["1.2.3.4"]), plain("1.2.3.4"));
    }

    #[test]
    fn one_ipv6_customer_is_one_address() {
        assert_eq!(plain("2001:db8:1:2::1"), plain("2001:db8:1:2:ffff::9"));
        assert_ne!(plain("2001:db8:1:2::1"), plain("2001:db8:1:3::1"));
        assert_eq!(plain("::ffff:1.2.3.4"), plain("1.2.3.4"));
    }

    #[test]
    fn logs_show_the_network_only() {
        assert_eq!(format!("{:?}", plain("203.0.113.9")), "203.0.*");
        assert_eq!(format!("{:?}", plain("2001:db8:1:2::1")), "2001:db8:*");
    }

    #[test]
    fn the_better_liked_language_wins() {
        for (header, language) in [
            ("en-GB,en;q=0.9", Some(Language::English)),
            ("ar", Some(Language::Arabic)),
            ("en;q=0.3, ar-EG;q=0.8", Some(Language::Arabic)),
            ("fr, en;q=0.1", Some(Language::English)),
            ("fr", None),
            ("en;q=0", None),
            ("en;q=x", None),
        ] {
            assert_eq!(Language::negotiate(header), language, "{header}");
        }
    }

    #[test]
    fn bearer_scheme_is_case_insensitive() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
