//! SRTP and SRTCP of one peer: AEAD_AES_128_GCM in place (RFC 7714), the older AES128_CM_HMAC_SHA1_80 for peers without it.
//!
//! In: plain packets with their 48-bit index, sealed ones. Out: sealed packets, plain ones. Pure. The sender's caller keeps
//! the index (rollover counter and sequence number), so nothing is looked up per packet.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtc::crypto::providers::RingProvider;
use rtc::crypto::{BlockCipherAlgorithm, RTCCryptoProvider};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

/// What DTLS agreed on (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SrtpProfile {
    AeadAes128Gcm,
    AesCm128HmacSha1_80,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SrtpError {
    #[error("not a whole packet")]
    Malformed,
    #[error("not authentic")]
    Forged,
    #[error("seen before, or too old to tell")]
    Replayed,
    #[error("more sources than a peer has")]
    TooManySources,
}

/// Master keys and salts of both directions.
pub(crate) struct SessionKeys {
    profile: SrtpProfile,
    client: (Vec<u8>, Vec<u8>),
    server: (Vec<u8>, Vec<u8>),
}

/// Seals what we send. One per peer.
pub(crate) enum Sealer {
    Gcm(Box<GcmSealer>),
    /// Its rollover counters follow the sequence numbers, which here only ever go forwards.
    Cm(Box<Context>),
}

/// Opens what the client sends. One per peer.
pub(crate) enum Opener {
    Gcm(Box<GcmOpener>),
    Cm(Box<Context>),
}

pub(crate) struct GcmSealer {
    rtp: GcmKey,
    rtcp: GcmKey,
    rtcp_index: u32,
}

pub(crate) struct GcmOpener {
    rtp: GcmKey,
    rtcp: GcmKey,
    sources: Vec<Source>,
}

/// One session key with its salt.
pub(crate) struct GcmKey {
    key: LessSafeKey,
    salt: [u8; 12],
}

/// What is known of one synchronisation source of the client.
pub(crate) struct Source {
    ssrc: u32,
    rtp: Replay,
    rtcp: Replay,
}

/// The newest index and which of those before it were seen.
#[derive(Default)]
struct Replay {
    newest: Option<u64>,
    seen: [u64; WINDOW_WORDS],
}

/// 1 024 packets: more than a second of the fastest track.
const WINDOW_WORDS: usize = 16;
const WINDOW: u64 = WINDOW_WORDS as u64 * 64;
/// Two tracks of three layers, each with retransmissions, and a few more.
const SOURCES_MAX: usize = 32;
const TAG: usize = 16;
const CM_TAG: usize = 10;
/// Key derivation labels (RFC 3711 section 4.3).
const LABEL_RTP_KEY: u8 = 0;
const LABEL_RTP_SALT: u8 = 2;
const LABEL_RTCP_KEY: u8 = 3;
const LABEL_RTCP_SALT: u8 = 5;
/// The E flag and the index behind an SRTCP packet.
const RTCP_TRAILER: usize = 4;
const RTCP_HEADER: usize = 8;
const ENCRYPTED: u32 = 1 << 31;

impl SrtpProfile {
    fn key_and_salt_bytes(self) -> (usize, usize) {
        match self {
            Self::AeadAes128Gcm => (16, 12),
            Self::AesCm128HmacSha1_80 => (16, 14),
        }
    }

    /// Bytes to ask of the exporter: both keys, then both salts (RFC 5764 section 4.2).
    pub(crate) fn exported_bytes(self) -> usize {
        let (key, salt) = self.key_and_salt_bytes();
        2 * (key + salt)
    }
}

impl SessionKeys {
    /// `material`: [`SrtpProfile::exported_bytes`] from the exporter; the client is the DTLS client.
    pub(crate) fn from_exporter(profile: SrtpProfile, material: &[u8]) -> Self {
        let (key, salt) = profile.key_and_salt_bytes();
        assert_eq!(material.len(), profile.exported_bytes(), "the exporter gives what it was asked for");
        let (keys, salts) = material.split_at(2 * key);
        Self {
            profile,
            client: (keys[..key].to_vec(), salts[..salt].to_vec()),
            server: (keys[key..].to_vec(), salts[salt..].to_vec()),
        }
    }

    /// Seals what the server sends.
    pub(crate) fn sealer(&self) -> Sealer {
        Sealer::new(self.profile, &self.server)
    }

    /// Opens what the client sends.
    pub(crate) fn opener(&self) -> Opener {
        Opener::new(self.profile, &self.client)
    }
}

impl Sealer {
    fn new(profile: SrtpProfile, (key, salt): &(Vec<u8>, Vec<u8>)) -> Self {
        match profile {
            SrtpProfile::AeadAes128Gcm => Self::Gcm(Box::new(GcmSealer {
                rtp: GcmKey::derive(key, salt, LABEL_RTP_KEY, LABEL_RTP_SALT),
                rtcp: GcmKey::derive(key, salt, LABEL_RTCP_KEY, LABEL_RTCP_SALT),
                rtcp_index: 0,
            })),
            SrtpProfile::AesCm128HmacSha1_80 => Self::Cm(Box::new(cm_context(key, salt))),
        }
    }

    /// Seals the RTP packet `arena[start..]`, whose header has `header` bytes, and appends the tag. No allocation with GCM.
    pub(crate) fn seal(&mut self, arena: &mut Vec<u8>, start: usize, header: usize, ssrc: u32, index: u64) {
        match self {
            Self::Gcm(gcm) => {
                let rtp = &gcm.rtp;
                let nonce = rtp.rtp_nonce(ssrc, index);
                let (head, payload) = arena[start..].split_at_mut(header);
                let tag = rtp.key.seal_in_place_separate_tag(nonce, Aad::from(&*head), payload);
                arena.extend_from_slice(tag.expect("a packet is far below the limit of the cipher").as_ref());
            }
            Self::Cm(context) => replace(arena, start, |plain| context.encrypt_rtp(plain)),
        }
    }

    /// Seals the RTCP packet `arena[start..]` and appends tag and index (RFC 7714 section 9).
    pub(crate) fn seal_rtcp(&mut self, arena: &mut Vec<u8>, start: usize) {
        match self {
            Self::Gcm(gcm) => {
                let GcmSealer { rtcp, rtcp_index, .. } = &mut **gcm;
                let index = *rtcp_index;
                *rtcp_index = (*rtcp_index + 1) & !ENCRYPTED;
                let trailer = (index | ENCRYPTED).to_be_bytes();
                let (head, payload) = arena[start..].split_at_mut(RTCP_HEADER);
                let ssrc = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                let mut aad = [0_u8; RTCP_HEADER + RTCP_TRAILER];
                aad[..RTCP_HEADER].copy_from_slice(head);
                aad[RTCP_HEADER..].copy_from_slice(&trailer);
                let nonce = rtcp.rtcp_nonce(ssrc, index);
                let tag = rtcp.key.seal_in_place_separate_tag(nonce, Aad::from(aad), payload);
                arena.extend_from_slice(tag.expect("a packet is far below the limit of the cipher").as_ref());
                arena.extend_from_slice(&trailer);
            }
            Self::Cm(context) => replace(arena, start, |plain| context.encrypt_rtcp(plain)),
        }
    }
}

impl Opener {
    fn new(profile: SrtpProfile, (key, salt): &(Vec<u8>, Vec<u8>)) -> Self {
        match profile {
            SrtpProfile::AeadAes128Gcm => Self::Gcm(Box::new(GcmOpener {
                rtp: GcmKey::derive(key, salt, LABEL_RTP_KEY, LABEL_RTP_SALT),
                rtcp: GcmKey::derive(key, salt, LABEL_RTCP_KEY, LABEL_RTCP_SALT),
                sources: Vec::new(),
            })),
            SrtpProfile::AesCm128HmacSha1_80 => Self::Cm(Box::new(cm_context(key, salt))),
        }
    }

    /// Opens an RTP packet where it lies. On an error nothing is remembered of it.
    pub(crate) fn open_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let header = rtp_header_bytes(packet).ok_or(SrtpError::Malformed)?;
        let (rtp, sources) = match self {
            Self::Gcm(gcm) => (&gcm.rtp, &mut gcm.sources),
            Self::Cm(context) => {
                let opened = context.decrypt_rtp(packet).map_err(|_| SrtpError::Forged)?;
                packet.clear();
                packet.extend_from_slice(&opened);
                return Ok(());
            }
        };
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let known = sources.iter().position(|source| source.ssrc == ssrc);
        let index = known.map_or(u64::from(sequence), |at| sources[at].rtp.guess(sequence));
        if known.is_some_and(|at| sources[at].rtp.was_seen(index)) {
            return Err(SrtpError::Replayed);
        }
        let nonce = rtp.rtp_nonce(ssrc, index);
        let (head, payload) = packet.split_at_mut(header);
        let opened = rtp.key.open_in_place(nonce, Aad::from(&*head), payload).map_err(|_| SrtpError::Forged)?;
        let length = header + opened.len();
        packet.truncate(length);
        source(sources, ssrc)?.rtp.note(index);
        Ok(())
    }

    /// The same for a compound RTCP packet.
    pub(crate) fn open_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let (rtcp, sources) = match self {
            Self::Gcm(gcm) => (&gcm.rtcp, &mut gcm.sources),
            Self::Cm(context) => {
                // The context lets what is not encrypted pass without a look at its tag.
                let flag = packet.len().checked_sub(CM_TAG + RTCP_TRAILER).and_then(|at| packet.get(at));
                if flag.is_none_or(|flag| flag & 0x80 == 0) {
                    return Err(SrtpError::Malformed);
                }
                let opened = context.decrypt_rtcp(packet).map_err(|_| SrtpError::Forged)?;
                packet.clear();
                packet.extend_from_slice(&opened);
                return Ok(());
            }
        };
        let length = packet.len();
        if length < RTCP_HEADER + TAG + RTCP_TRAILER {
            return Err(SrtpError::Malformed);
        }
        let trailer = [packet[length - 4], packet[length - 3], packet[length - 2], packet[length - 1]];
        let stated = u32::from_be_bytes(trailer);
        if stated & ENCRYPTED == 0 {
            // Only authenticated, not encrypted: no client of ours does so.
            return Err(SrtpError::Malformed);
        }
        let index = stated & !ENCRYPTED;
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let known = sources.iter().find(|source| source.ssrc == ssrc);
        if known.is_some_and(|source| source.rtcp.was_seen(u64::from(index))) {
            return Err(SrtpError::Replayed);
        }
        packet.truncate(length - RTCP_TRAILER);
        let (head, payload) = packet.split_at_mut(RTCP_HEADER);
        let mut aad = [0_u8; RTCP_HEADER + RTCP_TRAILER];
        aad[..RTCP_HEADER].copy_from_slice(head);
        aad[RTCP_HEADER..].copy_from_slice(&trailer);
        let nonce = rtcp.rtcp_nonce(ssrc, index);
        let opened = rtcp.key.open_in_place(nonce, Aad::from(aad), payload).map_err(|_| SrtpError::Forged)?;
        let length = RTCP_HEADER + opened.len();
        packet.truncate(length);
        source(sources, ssrc)?.rtcp.note(u64::from(index));
        Ok(())
    }
}

fn source(sources: &mut Vec<Source>, ssrc: u32) -> Result<&mut Source, SrtpError> {
    let at = match sources.iter().position(|source| source.ssrc == ssrc) {
        Some(at) => at,
        None if sources.len() >= SOURCES_MAX => return Err(SrtpError::TooManySources),
        None => {
            sources.push(Source { ssrc, rtp: Replay::default(), rtcp: Replay::default() });
            sources.len() - 1
        }
    };
    Ok(&mut sources[at])
}

impl GcmKey {
    fn derive(key: &[u8], salt: &[u8], key_label: u8, salt_label: u8) -> Self {
        let session = derive(key, salt, key_label);
        let session_key = UnboundKey::new(&AES_128_GCM, &session).expect("16 bytes are a key of AES-128");
        let mut session_salt = [0; 12];
        session_salt.copy_from_slice(&derive(key, salt, salt_label)[..12]);
        Self { key: LessSafeKey::new(session_key), salt: session_salt }
    }

    /// RFC 7714 section 8.1: zeros, SSRC, rollover counter, sequence number; masked with the salt.
    fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        let index = index.to_be_bytes();
        ssrc.to_be_bytes().iter().chain(&index[2..]).zip(&mut nonce[2..]).for_each(|(byte, out)| *out ^= byte);
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 7714 section 9.1: zeros, SSRC, zeros, the 31-bit index; masked with the salt.
    fn rtcp_nonce(&self, ssrc: u32, index: u32) -> Nonce {
        let mut nonce = self.salt;
        ssrc.to_be_bytes().iter().zip(&mut nonce[2..6]).for_each(|(byte, out)| *out ^= byte);
        index.to_be_bytes().iter().zip(&mut nonce[8..12]).for_each(|(byte, out)| *out ^= byte);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Replay {
    /// The index nearest to the newest that ends in `sequence` (RFC 3711 section 3.3.1).
    fn guess(&self, sequence: u16) -> u64 {
        let Some(newest) = self.newest else { return u64::from(sequence) };
        let step = i64::from(sequence.wrapping_sub(newest as u16).cast_signed());
        newest.checked_add_signed(step).unwrap_or(u64::from(sequence))
    }

    fn was_seen(&self, index: u64) -> bool {
        let Some(newest) = self.newest else { return false };
        index <= newest && (newest - index >= WINDOW || self.seen[slot(index)] & bit(index) != 0)
    }

    fn note(&mut self, index: u64) {
        let newest = *self.newest.get_or_insert(index);
        if index > newest {
            // What comes into the window has not been seen.
            for fresh in (newest + 1..=index).take(WINDOW as usize) {
                self.seen[slot(fresh)] &= !bit(fresh);
            }
            if index - newest >= WINDOW {
                self.seen = [0; WINDOW_WORDS];
            }
            self.newest = Some(index);
        }
        self.seen[slot(index)] |= bit(index);
    }
}

fn slot(index: u64) -> usize {
    (index % WINDOW / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

/// The first block of the key stream under a label: AES-CM with a key derivation rate of zero (RFC 3711 section 4.3.3).
fn derive(key: &[u8], salt: &[u8], label: u8) -> [u8; 16] {
    let mut block = [0; 16];
    block[..salt.len()].copy_from_slice(salt);
    block[7] ^= label;
    let provider = RingProvider::new();
    let done = provider.crypto().block_encrypt(BlockCipherAlgorithm::Aes128, key, &mut block);
    done.expect("a key of 16 bytes and a block of 16");
    block
}

fn cm_context(key: &[u8], salt: &[u8]) -> Context {
    let (rtp, rtcp) = (srtp_replay_protection(WINDOW as usize), srtcp_replay_protection(WINDOW as usize));
    let profile = ProtectionProfile::Aes128CmHmacSha1_80;
    let provider = RingProvider::new();
    Context::new(key, salt, profile, Some(rtp), Some(rtcp), provider.crypto())
        .expect("key and salt are as the profile says")
}

fn replace<E>(arena: &mut Vec<u8>, start: usize, seal: impl FnOnce(&[u8]) -> Result<bytes::BytesMut, E>) {
    // What cannot be sealed is not sent: an empty packet is dropped by whoever commits it.
    let sealed = seal(&arena[start..]).unwrap_or_default();
    arena.truncate(start);
    arena.extend_from_slice(&sealed);
}

/// Bytes of the fixed header, the contributing sources and the extension (RFC 3550 section 5).
fn rtp_header_bytes(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut bytes = 12 + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let words = u16::from_be_bytes([*packet.get(bytes + 2)?, *packet.get(bytes + 3)?]);
        bytes += 4 + usize::from(words) * 4;
    }
    (first >> 6 == 2 && packet.len() >= bytes + CM_TAG).then_some(bytes)
}

#[cfg(test)]
#[path = "srtp_tests.rs"]
mod tests;
