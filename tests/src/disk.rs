//! A disk that the kernel can slow down: a loop device.

use nix::fcntl::{Flock, FlockArg};

use crate::{Host, bins};

/// A loop device with 8 MiB of memory behind it. Its end takes it away.
pub struct Disk<'a> {
    host: &'a Host,
    file: String,
    /// `/dev/loop0`
    pub path: String,
    /// `7:0`
    pub number: String,
}

impl<'a> Disk<'a> {
    /// `None` where the kernel has no loop devices.
    pub fn new(host: &'a Host) -> Option<Disk<'a>> {
        if !std::path::Path::new("/dev/loop-control").exists() {
            return None;
        }
        let file = format!("/run/disk-{}", std::process::id());
        host.sh(&format!("dd if=/dev/zero of={file} bs=1M count=8 status=none")).ok();
        // All hosts of this machine share the devices: between finding a free one and taking it nobody else may.
        let lock = std::fs::File::create(bins::cache().join("loop.lock")).unwrap();
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
        let path = host.run(&["losetup", "--find", "--show", &file]).ok().trim().to_owned();
        let number = std::fs::read_to_string(format!("/sys/block/{}/dev", &path[5..])).unwrap();
        Some(Disk { host, file, path, number: number.trim().to_owned() })
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        self.host.sh(&format!("losetup -d {} && rm {}", self.path, self.file));
    }
}
