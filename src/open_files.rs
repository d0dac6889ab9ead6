//! How many files this process may have open: every connection is one, and shells allow 1024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to `wanted`, or as far as it may go: how many are allowed now.
pub(crate) fn allow(wanted: u64) -> std::io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current.unwrap_or(u64::MAX);
    let allowed = maximum.unwrap_or(u64::MAX).min(wanted);
    if current >= allowed {
        return Ok(current);
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum })?;
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_go_and_never_lowered() {
        let first = allow(64).unwrap();
        assert!(first >= 64);
        let all = allow(u64::MAX).unwrap();
        assert!(all >= first);
        assert_eq!(allow(64).unwrap(), all);
    }
}
