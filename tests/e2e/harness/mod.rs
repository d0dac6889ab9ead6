//! What the walks stand on: the real `chobi` binary on free ports, real encoders, the app's own API client, a real
//! browser, and small readers for what comes out.
//!
//! Everything started here ends with the value that stands for it, also when the test is killed. Nothing waits for a
//! time to pass where it could wait for a fact; every wait has a limit and says what it waited for.

pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod bucket;
pub(crate) mod encoder;
pub(crate) mod enhanced;
pub(crate) mod hls;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod room;
pub(crate) mod router;
pub(crate) mod server;
pub(crate) mod show;
pub(crate) mod stack;
pub(crate) mod wait;

pub(crate) use api::{Account, Api};
pub(crate) use browser::{Browser, Page, Visit};
pub(crate) use bucket::Bucket;
pub(crate) use encoder::{Encoder, Picture};
pub(crate) use enhanced::{Coding, EnhancedRtmp, Sound};
pub(crate) use hls::{MediaPlaylist, Viewer};
pub(crate) use room::Room;
pub(crate) use router::Router;
pub(crate) use server::Server;
pub(crate) use show::Show;
pub(crate) use stack::Stack;
pub(crate) use wait::{Limit, until};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

/// A figure worth reading when all is well, past the test runner's capture of what passing tests print.
macro_rules! report {
    ($($arg:tt)*) => {{
        use std::io::Write;
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(std::io::stderr(), "    {}", format_args!($($arg)*));
    }};
}
pub(crate) use report;

/// The addresses that this machine has itself by, IPv6 first. A container may be without it: then the walk goes by IPv4
/// alone, and says so.
pub(crate) fn loopback_addresses() -> Vec<IpAddr> {
    let (four, six) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    if TcpListener::bind((six, 0)).is_ok() {
        return vec![six, four];
    }
    report!("this machine has no IPv6: left out");
    vec![four]
}
