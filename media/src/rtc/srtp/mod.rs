//! SRTP and SRTCP of one peer: AEAD_AES_128_GCM in place (RFC 7714), the older AES128_CM_HMAC_SHA1_80 for peers without it.
//!
//! In: plain packets with their 48-bit index, sealed ones. Out: sealed packets, plain ones. Pure. The sender's caller keeps
//! the index (rollover counter and sequence number), so nothing is looked up per packet.

mod cipher;
mod replay;

use cipher::{Cipher, Purpose, RTCP_INDEX_MAX};
use replay::Sources;

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
pub(crate) struct Sealer {
    rtp: Cipher,
    rtcp: Cipher,
    /// One for all sources; each of them then only goes forwards.
    rtcp_index: u32,
}

/// Opens what the client sends. One per peer.
pub(crate) struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    sources: Sources,
}

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

    /// The same keys as the other side sees them: its sealer seals what the client sends.
    pub(crate) fn turned(self) -> Self {
        Self { profile: self.profile, client: self.server, server: self.client }
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
        Self {
            rtp: Cipher::new(profile, key, salt, Purpose::Rtp),
            rtcp: Cipher::new(profile, key, salt, Purpose::Rtcp),
            rtcp_index: 0,
        }
    }

    /// Seals the RTP packet `arena[start..]`, whose header has `header` bytes, and appends the tag. No allocation while the
    /// arena has room. A source must not use an index twice for packets that differ: the nonce would be the same.
    pub(crate) fn seal(&mut self, arena: &mut Vec<u8>, start: usize, header: usize, ssrc: u32, index: u64) {
        self.rtp.seal_rtp(arena, start, header, ssrc, index);
    }

    /// Seals the RTCP packet `arena[start..]` and appends tag and index (RFC 7714 section 9, RFC 3711 section 3.4).
    pub(crate) fn seal_rtcp(&mut self, arena: &mut Vec<u8>, start: usize) {
        let index = self.rtcp_index;
        self.rtcp_index = (index + 1) & RTCP_INDEX_MAX;
        self.rtcp.seal_rtcp(arena, start, index);
    }
}

impl Opener {
    fn new(profile: SrtpProfile, (key, salt): &(Vec<u8>, Vec<u8>)) -> Self {
        Self {
            rtp: Cipher::new(profile, key, salt, Purpose::Rtp),
            rtcp: Cipher::new(profile, key, salt, Purpose::Rtcp),
            sources: Sources::default(),
        }
    }

    /// Opens an RTP packet where it lies. On an error nothing is remembered of it.
    pub(crate) fn open_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let header = rtp_header_bytes(packet).ok_or(SrtpError::Malformed)?;
        if packet.len() < header + self.rtp.tag_bytes() {
            return Err(SrtpError::Malformed);
        }
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let index = self.sources.rtp_index(ssrc, sequence)?;
        self.rtp.open_rtp(packet, header, ssrc, index)?;
        self.sources.note_rtp(ssrc, index);
        Ok(())
    }

    /// The same for a compound RTCP packet.
    pub(crate) fn open_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let (ssrc, index) = self.rtcp.rtcp_source_and_index(packet)?;
        self.sources.check_rtcp(ssrc, index)?;
        self.rtcp.open_rtcp(packet, ssrc, index)?;
        self.sources.note_rtcp(ssrc, index);
        Ok(())
    }
}

/// Bytes of the fixed header, the contributing sources and the extension (RFC 3550 section 5).
fn rtp_header_bytes(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut bytes = 12 + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let words = u16::from_be_bytes([*packet.get(bytes + 2)?, *packet.get(bytes + 3)?]);
        bytes += 4 + usize::from(words) * 4;
    }
    (first >> 6 == 2 && packet.len() >= bytes).then_some(bytes)
}

#[cfg(test)]
mod tests;
