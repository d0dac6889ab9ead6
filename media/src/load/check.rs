//! Connectivity checks of the controlling side (RFC 8445 section 7.2, RFC 8489).
//!
//! In: credentials. Out: binding requests; what their answers prove. Pure. Every check nominates, as browsers do with
//! servers that are lite: the first path that answers is taken.

use crate::rtc::ice::{
    BINDING_REQUEST, BINDING_SUCCESS, FINGERPRINT, HEADER, MAGIC, MESSAGE_INTEGRITY, TAG, USE_CANDIDATE, USERNAME,
    fingerprint, set_length, word, write_attribute,
};
use ring::hmac;
use rtc::crypto::constant_time_eq;

/// Names a check and its answer.
pub(crate) type TransactionId = [u8; 12];

const PRIORITY: u16 = 0x0024;
const ICE_CONTROLLING: u16 = 0x802a;
/// Peer reflexive, component 1 (RFC 8445 section 7.1.1).
const OUR_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// Appends a binding request that nominates. `username`: theirs, a colon, ours; `pwd`: theirs.
pub(crate) fn write_request(out: &mut Vec<u8>, id: &TransactionId, username: &str, pwd: &[u8], tie_breaker: u64) {
    let start = out.len();
    out.extend_from_slice(&BINDING_REQUEST.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(id);
    write_attribute(out, USERNAME, username.as_bytes());
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    write_attribute(out, PRIORITY, &OUR_PRIORITY.to_be_bytes());
    write_attribute(out, ICE_CONTROLLING, &tie_breaker.to_be_bytes());
    write_attribute(out, USE_CANDIDATE, &[]);
    set_length(out, start, 4 + TAG);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd), &out[start..]);
    write_attribute(out, MESSAGE_INTEGRITY, tag.as_ref());
    set_length(out, start, 8);
    let crc = fingerprint(&out[start..]);
    write_attribute(out, FINGERPRINT, &crc.to_be_bytes());
}

/// The check that an authentic success response answers.
pub(super) fn answered(datagram: &[u8], pwd: &[u8]) -> Option<TransactionId> {
    let head = datagram.get(..HEADER)?;
    let is_whole = usize::from(word(head, 2)) + HEADER == datagram.len();
    if word(head, 0) != BINDING_SUCCESS || head[4..8] != MAGIC || !is_whole {
        return None;
    }
    let mut at = HEADER;
    while at + 4 <= datagram.len() {
        let length = usize::from(word(datagram, at + 2));
        let value = datagram.get(at + 4..at + 4 + length)?;
        if word(datagram, at) == MESSAGE_INTEGRITY && length == TAG {
            let mut covered = datagram[..at].to_vec();
            set_length(&mut covered, 0, 4 + TAG);
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd), &covered);
            return constant_time_eq(tag.as_ref(), value).then(|| head[8..].try_into().ok()).flatten();
        }
        at += 4 + length.next_multiple_of(4);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::ice::BindingRequest;

    #[test]
    fn a_server_believes_the_request_and_its_answer_is_believed() {
        let (id, pwd) = ([7; 12], b"a password of the other side");
        for username in ["them:us", "theirs:ours"] {
            let mut datagram = Vec::new();
            write_request(&mut datagram, &id, username, pwd, 9);
            let request = BindingRequest::parse(&datagram).unwrap();
            assert_eq!(request.local_ufrag(), username.split(':').next().unwrap());
            assert!(request.use_candidate() && request.verify(pwd) && !request.verify(b"another"));
            let mut answer = Vec::new();
            request.write_success(&mut answer, "127.0.0.1:9".parse().unwrap(), pwd);
            assert_eq!(answered(&answer, pwd), Some(id));
            assert_eq!(answered(&answer, b"another"), None);
            for end in 0..answer.len() {
                assert_eq!(answered(&answer[..end], pwd), None, "{end} bytes");
            }
        }
    }
}
