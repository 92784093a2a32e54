//! What the payload's stdin, stdout and stderr are.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::OFlags;

use crate::call::Call;
use crate::container::root::{Root, is_null_device};
use crate::document::Source;

/// Where stdin comes from when there is no terminal of the payload's own.
#[derive(Debug)]
pub enum Stdin {
    /// `/dev/null`, the container's.
    Null,
    /// The caller's.
    Inherited,
    /// The caller's terminal, when stdin was the document.
    Terminal(OwnedFd),
}

impl Stdin {
    pub fn of(interactive: bool, document: Source) -> Result<Stdin> {
        match (interactive, document) {
            (false, _) => Ok(Stdin::Null),
            (true, Source::Elsewhere) => Ok(Stdin::Inherited),
            (true, Source::Stdin) => callers_terminal().map(Stdin::Terminal),
        }
    }
}

/// The terminal of the session that nsrun was started in.
pub fn callers_terminal() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open("/dev/tty", flags, rustix::fs::Mode::empty())
        .call("open /dev/tty")
        .context("cannot find the terminal: stdin was the document")
}

/// Arranges stdin, and gives the payload the container's own null device in place of the host's: a chmod of
/// `/dev/stdout` must not change the host's `/dev/null`.
pub fn arrange(stdin: &Stdin, root: &Root) -> Result<()> {
    let mut null = None;
    match stdin {
        Stdin::Inherited => {}
        Stdin::Terminal(terminal) => rustix::stdio::dup2_stdin(terminal).call("dup2")?,
        Stdin::Null => rustix::stdio::dup2_stdin(container_null(root, &mut null)?).call("dup2")?,
    }
    if matches!(stdin, Stdin::Inherited) && is_null_device(rustix::stdio::stdin()) {
        rustix::stdio::dup2_stdin(container_null(root, &mut null)?).call("dup2")?;
    }
    if is_null_device(rustix::stdio::stdout()) {
        rustix::stdio::dup2_stdout(container_null(root, &mut null)?).call("dup2")?;
    }
    if is_null_device(rustix::stdio::stderr()) {
        rustix::stdio::dup2_stderr(container_null(root, &mut null)?).call("dup2")?;
    }
    Ok(())
}

fn container_null<'a>(root: &Root, null: &'a mut Option<OwnedFd>) -> Result<BorrowedFd<'a>> {
    if null.is_none() {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let fd =
            root.open_file(Path::new("/dev/null"), flags).call("openat2").context("cannot open /dev/null")?;
        anyhow::ensure!(
            is_null_device(fd.as_fd()),
            "cannot use the container's /dev/null: it is not the null device"
        );
        *null = Some(fd);
    }
    null.as_ref().map(AsFd::as_fd).context("cannot open /dev/null")
}

/// Makes the terminal this process's stdin, stdout and stderr, and its session's controlling one.
pub fn take_terminal(slave: BorrowedFd) -> Result<()> {
    let take = || {
        rustix::process::ioctl_tiocsctty(slave).call("ioctl TIOCSCTTY")?;
        rustix::stdio::dup2_stdin(slave).call("dup2")?;
        rustix::stdio::dup2_stdout(slave).call("dup2")?;
        rustix::stdio::dup2_stderr(slave).call("dup2")
    };
    take().context("cannot take the terminal")
}
