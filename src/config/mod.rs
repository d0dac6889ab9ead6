//! Files and environment → one validated [`Config`], all faults reported at once.
//!
//! Defaults < file < environment < flags. Each setting is tried alone on top of the defaults, so every one that is wrong
//! is named, not just the first; then the whole is cross-checked. No port is bound before all of it holds.

mod app_variables;
mod fault;
mod setting;

use crate::http::HttpConfig;
use crate::telemetry::LogConfig;
use crate::tls::TlsConfig;
use chobi_control::config::ControlConfig;
use chobi_media::config::{HlsConfig, HubConfig, RtmpConfig, StorageConfig, WebrtcConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use fault::Fault;
use setting::{Origin, Setting};

/// Everything the server can be told: the binary's and media's sections, and the control plane's beside them.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub server: ServerConfig,
    pub control: ControlConfig,
    /// Set by nobody, so they follow the listeners.
    pub derived: Derived,
}

/// The sections that are not the control plane's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Where the database, generated keys and media segments live. Made when it is missing.
    pub data_dir: PathBuf,
    pub http: HttpConfig,
    pub tls: TlsConfig,
    pub ops: OpsConfig,
    pub log: LogConfig,
    pub rtmp: RtmpConfig,
    pub hub: HubConfig,
    pub hls: HlsConfig,
    pub storage: StorageConfig,
    pub webrtc: WebrtcConfig,
}

/// The listener for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsConfig {
    /// `/metrics`, `/healthz` and `/readyz`. Keep it off the public network: it has no authentication.
    pub listen: SocketAddr,
}

/// Public addresses that no source names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Derived {
    pub rtmp_url: bool,
    pub hls_url: bool,
    pub base_url: bool,
}

/// A configuration and what its reader should know about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// What is accepted but will surprise somebody: settings that do nothing here, a certificate that has expired. One
    /// line each.
    pub notices: Vec<String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            http: HttpConfig::default(),
            tls: TlsConfig::default(),
            ops: OpsConfig::default(),
            log: LogConfig::default(),
            rtmp: RtmpConfig::default(),
            hub: HubConfig::default(),
            hls: HlsConfig::default(),
            storage: StorageConfig::default(),
            webrtc: WebrtcConfig::default(),
        }
    }
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

/// Settings made on the command line. They win over everything else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--self-signed`: `tls.self_signed = true`.
    pub self_signed: bool,
}

/// Reads the file, if one is named, and the environment; the flags come last.
pub fn load(file: Option<&Path>, environment: &[(String, String)], flags: Flags) -> Result<Loaded, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut settings = Vec::new();
    if let Some(path) = file {
        match std::fs::read_to_string(path) {
            Ok(text) => setting::from_toml(path, &text, &mut settings, &mut faults),
            Err(error) => faults.push(Fault::file(path, &error)),
        }
    }
    let mut notices = app_variables::read(environment, &mut settings, &mut faults);
    setting::from_environment(environment, &mut settings);
    setting::from_flags(flags, &mut settings);
    let config = build(&settings, &mut faults, &mut notices);
    if faults.is_empty() { Ok(Loaded { config, notices }) } else { Err(faults) }
}

/// Lays the settings over the defaults, last wins.
fn build(settings: &[Setting], faults: &mut Vec<Fault>, notices: &mut Vec<String>) -> Config {
    let defaults = defaults();
    let mut tree = defaults.clone();
    for setting in settings {
        match setting.fitted(&defaults) {
            Ok(value) => match try_alone(defaults.clone(), setting, &value) {
                Ok(()) => setting::place(&mut tree, &setting.path, value),
                Err(problem) => faults.push(Fault::value(setting, problem)),
            },
            Err(fault) => faults.push(fault),
        }
    }
    // Who starts from the file of all defaults has named nothing by it.
    let is_default = |setting: &Setting| setting::lookup(&defaults, &setting.path) == Some(&setting.value);
    let named = |key: &str| settings.iter().any(|setting| setting.path.join(".") == key && !is_default(setting));
    let derived = Derived {
        rtmp_url: !named("public.rtmp_url"),
        hls_url: !named("public.hls_url"),
        base_url: !named("public.base_url"),
    };
    match split(tree) {
        Ok((server, control)) => {
            let config = Config { server, control, derived };
            config.cross_check(settings, faults);
            notices.extend(config.check_certificate(settings, faults));
            config
        }
        // Each setting held alone, so this is a defect of ours; it is still told as a fault, not as a crash.
        Err(problem) => {
            faults.push(Fault::whole(problem));
            Config::default()
        }
    }
}

/// Every key with its default, as one tree.
fn defaults() -> Map<String, Value> {
    let mut tree = object(&ServerConfig::default());
    tree.extend(object(&ControlConfig::default()));
    tree
}

fn object<T: Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        other => panic!("a configuration struct serialises as an object, not {other:?}"),
    }
}

fn split(mut tree: Map<String, Value>) -> Result<(ServerConfig, ControlConfig), String> {
    let mut control = Map::new();
    for section in object(&ControlConfig::default()).keys() {
        control.extend(tree.remove_entry(section));
    }
    Ok((typed(tree)?, typed(control)?))
}

fn typed<T: DeserializeOwned>(tree: Map<String, Value>) -> Result<T, String> {
    serde_path_to_error::deserialize(Value::Object(tree)).map_err(|error| error.into_inner().to_string())
}

/// Would this one setting be accepted if all else stayed as shipped?
fn try_alone(mut defaults: Map<String, Value>, setting: &Setting, value: &Value) -> Result<(), String> {
    setting::place(&mut defaults, &setting.path, value.clone());
    split(defaults).map(drop)
}

impl Config {
    /// What contradicts itself or something else.
    fn cross_check(&self, settings: &[Setting], faults: &mut Vec<Fault>) {
        let server = &self.server;
        if let Some(problem) = server.log.problem() {
            faults.push(Fault::cross(
                settings,
                "log.level",
                problem,
                "write a level such as info, or a list of target=level",
            ));
        }
        self.check_ports(settings, faults);
        for (key, count) in [
            ("http.max_connections", server.http.max_connections),
            ("http.max_connections_per_ip", server.http.max_connections_per_ip),
            ("hub.max_broadcasts", server.hub.max_broadcasts),
        ] {
            if count == 0 {
                faults.push(Fault::cross(settings, key, "nobody could be served".into(), "choose at least 1"));
            }
        }
        if let Some((key, problem, mend)) = server.http.problem() {
            faults.push(Fault::cross(settings, key, problem, mend));
        }
        let media = server.rtmp.faults().into_iter().chain(server.hls.faults());
        for fault in media.chain(server.storage.faults()).chain(server.webrtc.faults()) {
            faults.push(Fault::cross(settings, fault.key, fault.problem, &fault.mend));
        }
        for fault in self.control.faults() {
            faults.push(Fault::cross(settings, fault.key, fault.problem, &fault.mend));
        }
    }

    fn check_ports(&self, settings: &[Setting], faults: &mut Vec<Fault>) {
        let server = &self.server;
        let mut listeners = vec![
            ("http.listen", server.http.listen),
            ("rtmp.listen", server.rtmp.listen),
            ("ops.listen", server.ops.listen),
            ("webrtc.listen", server.webrtc.listen),
        ];
        if server.tls.is_on() {
            listeners.push(("tls.http_listen", server.tls.http_listen));
            listeners.push(("tls.rtmp_listen", server.tls.rtmp_listen));
        }
        for (index, (key, address)) in listeners.iter().enumerate() {
            let taken =
                listeners[..index].iter().find(|(_, other)| address.port() != 0 && other.port() == address.port());
            if let Some((other, _)) = taken {
                let problem = format!("port {} is also that of {other}", address.port());
                faults.push(Fault::cross(settings, key, problem, "give each listener a port of its own"));
            }
        }
    }

    /// Reads the certificate, if one is named; answers notices.
    fn check_certificate(&self, settings: &[Setting], faults: &mut Vec<Fault>) -> Vec<String> {
        let (found, notices) = self.server.tls.check(SystemTime::now());
        faults.extend(found.into_iter().map(|fault| Fault::cross(settings, fault.key, fault.problem, &fault.mend)));
        notices
    }
}

#[cfg(test)]
mod tests;
