//! A ufrag of ours begins with the worker that holds the peer, so that any socket can route a check.

/// Two hexadecimal digits.
const WORKER_DIGITS: usize = 2;

pub(super) fn name_worker(ufrag: &mut String, worker: u8) {
    ufrag.insert_str(0, &format!("{worker:0WORKER_DIGITS$x}"));
}

/// `None`: no ufrag of ours begins so.
pub(super) fn worker_of(ufrag: &str) -> Option<u8> {
    u8::from_str_radix(ufrag.get(..WORKER_DIGITS)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_read_as_it_was_named() {
        for worker in [0, 9, 16, 255] {
            let mut ufrag = "Xy7".to_owned();
            name_worker(&mut ufrag, worker);
            assert_eq!((worker_of(&ufrag), ufrag.len()), (Some(worker), 5));
        }
        for stranger in ["", "a", "zz", "é1"] {
            assert_eq!(worker_of(stranger), None, "{stranger:?}");
        }
    }
}
