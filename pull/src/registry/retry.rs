//! How often, and after how long, what failed is tried again. Pure.

use std::time::Duration;

use super::failure::Again;

/// Before the first try again; it doubles with each that follows.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// A registry may ask for more patience than people have.
const MOST_PATIENCE: Duration = Duration::from_secs(300);
/// With so many new bytes a try was no failure: the count starts again.
const PROGRESS: u64 = 64 << 10;

/// The tries of one request.
#[derive(Debug)]
pub struct Attempts {
    limit: u32,
    failed: u32,
    bytes: u64,
}

impl Attempts {
    /// `limit`: how many tries follow the first.
    pub fn new(limit: u32) -> Attempts {
        Attempts { limit, failed: 0, bytes: 0 }
    }

    /// So many bytes have come.
    pub fn progress(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= PROGRESS {
            self.failed = 0;
        }
    }

    /// After a failure: how long to wait until the next try. `None`: it is time to give up.
    pub fn wait(&mut self, again: Again) -> Option<Duration> {
        if self.failed >= self.limit {
            return None;
        }
        let backoff = FIRST.saturating_mul(1 << self.failed.min(16)).min(LONGEST);
        self.failed += 1;
        self.bytes = 0;
        match again {
            Again::Never => None,
            Again::Soon => Some(backoff),
            Again::After(wait) if wait > MOST_PATIENCE => None,
            Again::After(wait) => Some(wait.max(backoff)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut attempts = Attempts::new(3);
        let milliseconds = |attempts: &mut Attempts| attempts.wait(Again::Soon).map(|wait| wait.as_millis());
        assert_eq!([(); 4].map(|()| milliseconds(&mut attempts)), [Some(250), Some(500), Some(1000), None]);
        attempts.progress(PROGRESS);
        assert_eq!(milliseconds(&mut attempts), Some(250), "a try that brought something does not count");
        attempts.progress(1);
        assert_eq!(milliseconds(&mut attempts), Some(500), "one byte is nothing");
    }

    #[test]
    fn a_registry_may_say_when() {
        let after = |seconds| Attempts::new(1).wait(Again::After(Duration::from_secs(seconds)));
        assert_eq!(after(7), Some(Duration::from_secs(7)));
        assert_eq!(after(0), Some(FIRST));
        assert_eq!(after(100_000), None);
        assert_eq!(Attempts::new(1).wait(Again::Never), None);
    }
}
