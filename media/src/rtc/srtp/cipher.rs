//! One session key at work: AEAD_AES_128_GCM (RFC 7714) or AES128_CM_HMAC_SHA1_80 (RFC 3711 section 4). In place, and
//! nothing is allocated. A cipher remembers nothing: source and index come with every packet.

use super::{SrtpError, SrtpProfile};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use rtc::crypto::providers::RingProvider;
use rtc::crypto::{BlockCipherAlgorithm, RTCCryptoProvider, StreamCipher, StreamCipherAlgorithm, constant_time_eq};

pub(super) enum Cipher {
    Gcm(Box<GcmKey>),
    Cm(Box<CmKey>),
}

/// Session key and salt.
pub(super) struct GcmKey {
    pub(super) key: LessSafeKey,
    pub(super) salt: [u8; 12],
}

/// Session keys and salt.
pub(super) struct CmKey {
    stream: Box<dyn StreamCipher>,
    authentication: hmac::Key,
    salt: [u8; 14],
}

/// What a session key is for; its labels are of RFC 3711 section 4.3.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Rtp,
    Rtcp,
}

const GCM_TAG: usize = 16;
const CM_TAG: usize = 10;
/// The E flag and the index behind an SRTCP packet.
const RTCP_TRAILER: usize = 4;
const RTCP_HEADER: usize = 8;
const ENCRYPTED: u32 = 1 << 31;
pub(super) const RTCP_INDEX_MAX: u32 = ENCRYPTED - 1;

impl Cipher {
    /// `key`, `salt`: the master's.
    pub(super) fn new(profile: SrtpProfile, key: &[u8], salt: &[u8], purpose: Purpose) -> Self {
        let (encryption, authentication, salting) = purpose.labels();
        let session_key: [u8; 16] = derive(key, salt, encryption);
        match profile {
            SrtpProfile::AeadAes128Gcm => {
                let unbound = UnboundKey::new(&AES_128_GCM, &session_key).expect("16 bytes are a key of AES-128");
                Self::Gcm(Box::new(GcmKey { key: LessSafeKey::new(unbound), salt: derive(key, salt, salting) }))
            }
            SrtpProfile::AesCm128HmacSha1_80 => {
                let authentication: [u8; 20] = derive(key, salt, authentication);
                Self::Cm(Box::new(CmKey::new(&session_key, &authentication, derive(key, salt, salting))))
            }
        }
    }

    /// Bytes behind the payload of an RTP packet.
    pub(super) fn tag_bytes(&self) -> usize {
        match self {
            Self::Gcm(_) => GCM_TAG,
            Self::Cm(_) => CM_TAG,
        }
    }

    /// Seals `arena[start..]`, whose header has `header` bytes.
    pub(super) fn seal_rtp(&mut self, arena: &mut Vec<u8>, start: usize, header: usize, ssrc: u32, index: u64) {
        match self {
            Self::Gcm(gcm) => {
                let nonce = gcm.rtp_nonce(ssrc, index);
                let (head, payload) = arena[start..].split_at_mut(header);
                let tag = gcm.key.seal_in_place_separate_tag(nonce, Aad::from(&*head), payload);
                arena.extend_from_slice(tag.expect("a packet is far below the limit of the cipher").as_ref());
            }
            Self::Cm(cm) => {
                cm.apply(ssrc, index, &mut arena[start + header..]);
                let tag = cm.rtp_tag(&arena[start..], index);
                arena.extend_from_slice(&tag);
            }
        }
    }

    /// Opens `packet`, which is not shorter than header and tag.
    pub(super) fn open_rtp(
        &mut self,
        packet: &mut Vec<u8>,
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), SrtpError> {
        let length = packet.len() - self.tag_bytes();
        match self {
            Self::Gcm(gcm) => {
                let nonce = gcm.rtp_nonce(ssrc, index);
                let (head, payload) = packet.split_at_mut(header);
                gcm.key.open_in_place(nonce, Aad::from(&*head), payload).map_err(|_| SrtpError::Forged)?;
            }
            Self::Cm(cm) => {
                let (sealed, tag) = packet.split_at(length);
                if !constant_time_eq(&cm.rtp_tag(sealed, index), tag) {
                    return Err(SrtpError::Forged);
                }
                cm.apply(ssrc, index, &mut packet[header..length]);
            }
        }
        packet.truncate(length);
        Ok(())
    }

    /// Seals `arena[start..]`, an RTCP packet.
    ///
    /// ```text
    /// RFC 7714 section 9:    header 8 | sealed … | tag 16      | E and index 4
    /// RFC 3711 section 3.4:  header 8 | sealed … | E and index 4 | tag 10
    /// ```
    pub(super) fn seal_rtcp(&mut self, arena: &mut Vec<u8>, start: usize, index: u32) {
        let trailer = (index | ENCRYPTED).to_be_bytes();
        let (head, payload) = arena[start..].split_at_mut(RTCP_HEADER);
        let ssrc = rtcp_ssrc(head);
        match self {
            Self::Gcm(gcm) => {
                let (nonce, aad) = (gcm.rtcp_nonce(ssrc, index), rtcp_aad(head, trailer));
                let tag = gcm.key.seal_in_place_separate_tag(nonce, Aad::from(aad), payload);
                arena.extend_from_slice(tag.expect("a packet is far below the limit of the cipher").as_ref());
                arena.extend_from_slice(&trailer);
            }
            Self::Cm(cm) => {
                cm.apply(ssrc, u64::from(index), payload);
                arena.extend_from_slice(&trailer);
                let tag = cm.rtcp_tag(&arena[start..]);
                arena.extend_from_slice(&tag);
            }
        }
    }

    /// Source and index of a sealed RTCP packet; nothing of it is authentic yet.
    pub(super) fn rtcp_source_and_index(&self, packet: &[u8]) -> Result<(u32, u32), SrtpError> {
        let trailer_at = match self {
            Self::Gcm(_) => packet.len().checked_sub(RTCP_TRAILER),
            Self::Cm(_) => packet.len().checked_sub(RTCP_TRAILER + CM_TAG),
        };
        let trailer_at = trailer_at.ok_or(SrtpError::Malformed)?;
        if packet.len() < RTCP_HEADER + self.tag_bytes() + RTCP_TRAILER {
            return Err(SrtpError::Malformed);
        }
        let stated = be32(&packet[trailer_at..]);
        if stated & ENCRYPTED == 0 {
            // Only authenticated, not encrypted: no client of ours does so.
            return Err(SrtpError::Malformed);
        }
        Ok((rtcp_ssrc(packet), stated & !ENCRYPTED))
    }

    /// Opens an RTCP packet whose source and index were read with [`Self::rtcp_source_and_index`].
    pub(super) fn open_rtcp(&mut self, packet: &mut Vec<u8>, ssrc: u32, index: u32) -> Result<(), SrtpError> {
        let length = packet.len() - RTCP_TRAILER - self.tag_bytes();
        match self {
            Self::Gcm(gcm) => {
                let nonce = gcm.rtcp_nonce(ssrc, index);
                let (head, rest) = packet.split_at_mut(RTCP_HEADER);
                let aad = rtcp_aad(head, (index | ENCRYPTED).to_be_bytes());
                let sealed = &mut rest[..length + GCM_TAG - RTCP_HEADER];
                gcm.key.open_in_place(nonce, Aad::from(aad), sealed).map_err(|_| SrtpError::Forged)?;
            }
            Self::Cm(cm) => {
                let (sealed, tag) = packet.split_at(length + RTCP_TRAILER);
                if !constant_time_eq(&cm.rtcp_tag(sealed), tag) {
                    return Err(SrtpError::Forged);
                }
                cm.apply(ssrc, u64::from(index), &mut packet[RTCP_HEADER..length]);
            }
        }
        packet.truncate(length);
        Ok(())
    }
}

impl GcmKey {
    /// RFC 7714 section 8.1: zeros, SSRC, rollover counter, sequence number; masked with the salt.
    fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        mask(&mut nonce[2..6], &ssrc.to_be_bytes());
        mask(&mut nonce[6..12], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 7714 section 9.1: zeros, SSRC, zeros, the 31-bit index; masked with the salt.
    fn rtcp_nonce(&self, ssrc: u32, index: u32) -> Nonce {
        let mut nonce = self.salt;
        mask(&mut nonce[2..6], &ssrc.to_be_bytes());
        mask(&mut nonce[8..12], &index.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

impl CmKey {
    pub(super) fn new(key: &[u8; 16], authentication: &[u8; 20], salt: [u8; 14]) -> Self {
        let stream = RingProvider::new().crypto().new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, key);
        Self {
            stream: stream.expect("16 bytes are a key of AES-128"),
            authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication),
            salt,
        }
    }

    /// RFC 3711 section 4.1.1: the salt, masked with the SSRC and the index, then a block counter of two bytes.
    pub(super) fn apply(&mut self, ssrc: u32, index: u64, payload: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        mask(&mut iv[4..8], &ssrc.to_be_bytes());
        mask(&mut iv[8..14], &index.to_be_bytes()[2..]);
        self.stream.apply_keystream(&iv, payload).expect("the counter starts with 16 bytes");
    }

    /// RFC 3711 section 4.2: over the packet and its rollover counter.
    fn rtp_tag(&self, packet: &[u8], index: u64) -> [u8; CM_TAG] {
        let rollovers = (index >> 16) as u32;
        self.tag(&[packet, &rollovers.to_be_bytes()])
    }

    fn rtcp_tag(&self, packet: &[u8]) -> [u8; CM_TAG] {
        self.tag(&[packet])
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; CM_TAG] {
        let mut context = hmac::Context::with_key(&self.authentication);
        parts.iter().for_each(|part| context.update(part));
        let mut tag = [0; CM_TAG];
        tag.copy_from_slice(&context.sign().as_ref()[..CM_TAG]);
        tag
    }
}

impl Purpose {
    /// Of the encryption key, the authentication key and the salt.
    fn labels(self) -> (u8, u8, u8) {
        match self {
            Self::Rtp => (0, 1, 2),
            Self::Rtcp => (3, 4, 5),
        }
    }
}

/// The key stream under a label: AES-CM with a key derivation rate of zero (RFC 3711 section 4.3.3). A salt of 12 bytes is
/// filled up with zeros (RFC 7714 section 11).
pub(super) fn derive<const BYTES: usize>(key: &[u8], salt: &[u8], label: u8) -> [u8; BYTES] {
    let provider = RingProvider::new();
    let mut out = [0; BYTES];
    for (number, part) in out.chunks_mut(16).enumerate() {
        let mut block = [0; 16];
        block[..salt.len()].copy_from_slice(salt);
        block[7] ^= label;
        block[15] = number as u8;
        let done = provider.crypto().block_encrypt(BlockCipherAlgorithm::Aes128, key, &mut block);
        done.expect("a key of 16 bytes and a block of 16");
        part.copy_from_slice(&block[..part.len()]);
    }
    out
}

fn rtcp_aad(head: &[u8], trailer: [u8; RTCP_TRAILER]) -> [u8; RTCP_HEADER + RTCP_TRAILER] {
    let mut aad = [0; RTCP_HEADER + RTCP_TRAILER];
    aad[..RTCP_HEADER].copy_from_slice(head);
    aad[RTCP_HEADER..].copy_from_slice(&trailer);
    aad
}

fn rtcp_ssrc(packet: &[u8]) -> u32 {
    be32(&packet[4..])
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn mask(out: &mut [u8], with: &[u8]) {
    out.iter_mut().zip(with).for_each(|(out, with)| *out ^= with);
}
