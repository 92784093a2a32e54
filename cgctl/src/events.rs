//! Waiting for what a group's processes do.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// v2: waits until cgroup.events has `line` (`populated 0`, `frozen 1`), for ever without a time.
/// Whether that has come.
pub fn wait_for(dir: &Path, line: &str, patience: Option<Duration>) -> Result<bool> {
    let path = dir.join("cgroup.events");
    let context = || format!("cannot wait for {}", path.display());
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut file = File::open(&path).with_context(context)?;
    loop {
        let mut text = String::new();
        match file.rewind().and_then(|()| file.read_to_string(&mut text)) {
            // The group has been removed, which takes that nobody is in it.
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return Ok(true),
            read => read.with_context(context)?,
        };
        if text.lines().any(|one| one == line) {
            return Ok(true);
        }
        let left = deadline.map(|deadline| deadline.checked_duration_since(Instant::now()));
        if left == Some(None) {
            return Ok(false);
        }
        wait(&mut [PollFd::new(&file, PollFlags::PRI)], left.flatten()).with_context(context)?;
    }
}

/// Waits for the end of each process.
pub fn wait_for_ends(fds: &[OwnedFd], deadline: Option<Instant>) -> Result<()> {
    for fd in fds {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        wait(&mut [PollFd::new(fd, PollFlags::IN)], left).context("cannot wait for a process: poll")?;
    }
    Ok(())
}

/// For the few things that no event tells.
pub fn pause(time: Duration) -> Result<()> {
    wait(&mut [], Some(time)).context("cannot wait: poll")
}

/// Between two looks at what no event tells.
pub const SHORT: Duration = Duration::from_millis(1);

fn wait(fds: &mut [PollFd], left: Option<Duration>) -> rustix::io::Result<()> {
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
