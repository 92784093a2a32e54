//! IoLimits that limit the input and output of block devices.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::amount::{Bytes, IoWeight};
use crate::resources::{Resources, Throttle, WeightDevice};

#[derive(Args, Debug, Default, PartialEq, Eq)]
pub struct IoLimits {
    /// Weight against other groups when a disk is busy, from 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<IoWeight>,
    /// The same for one disk
    #[arg(long, value_name = "DEVICE:N")]
    blkio_weight_device: Vec<OfDevice<IoWeight>>,
    /// Bytes read from a disk in each second
    #[arg(long, value_name = "DEVICE:BYTES")]
    device_read_bps: Vec<OfDevice<Bytes>>,
    /// Bytes written to it
    #[arg(long, value_name = "DEVICE:BYTES")]
    device_write_bps: Vec<OfDevice<Bytes>>,
    /// Reads from it in each second
    #[arg(long, value_name = "DEVICE:N")]
    device_read_iops: Vec<OfDevice<u64>>,
    /// Writes to it
    #[arg(long, value_name = "DEVICE:N")]
    device_write_iops: Vec<OfDevice<u64>>,
}

/// A block device, by its path, and a value for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfDevice<T> {
    device: PathBuf,
    value: T,
}

impl<T: FromStr<Err: Into<anyhow::Error>>> FromStr for OfDevice<T> {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<OfDevice<T>> {
        match text.rsplit_once(':') {
            Some((device, value)) if device.starts_with('/') => {
                Ok(OfDevice { device: device.into(), value: value.parse().map_err(Into::into)? })
            }
            _ => Err(anyhow!("this is no path of a block device with :VALUE behind it")),
        }
    }
}

impl IoLimits {
    pub fn add_to(&self, resources: &mut Resources) -> Result<()> {
        let block_io = resources.block_io.get_or_insert_default();
        block_io.weight = self.blkio_weight.and_then(|weight| weight.0).or(block_io.weight);
        for of in &self.blkio_weight_device {
            let (major, minor) = numbers(&of.device)?;
            block_io.weight_device.push(WeightDevice { major, minor, weight: of.value.0, leaf_weight: None });
        }
        let bytes = |of: &OfDevice<Bytes>| throttle(&of.device, of.value.0);
        let operations = |of: &OfDevice<u64>| throttle(&of.device, of.value);
        for of in &self.device_read_bps {
            block_io.throttle_read_bps_device.push(bytes(of)?);
        }
        for of in &self.device_write_bps {
            block_io.throttle_write_bps_device.push(bytes(of)?);
        }
        for of in &self.device_read_iops {
            block_io.throttle_read_iops_device.push(operations(of)?);
        }
        for of in &self.device_write_iops {
            block_io.throttle_write_iops_device.push(operations(of)?);
        }
        Ok(())
    }
}

fn throttle(device: &Path, rate: u64) -> Result<Throttle> {
    let (major, minor) = numbers(device)?;
    Ok(Throttle { major, minor, rate })
}

fn numbers(device: &Path) -> Result<(u32, u32)> {
    let context = || format!("cannot limit io of {}", device.display());
    let found = std::fs::metadata(device).with_context(context)?;
    if !found.file_type().is_block_device() {
        bail!("{}: it is no block device", context());
    }
    Ok((rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_behind_the_last_colon() {
        let of: OfDevice<Bytes> = "/dev/disk/by-path/pci-0:1:1m".parse().unwrap();
        assert_eq!(of, OfDevice { device: "/dev/disk/by-path/pci-0:1".into(), value: Bytes(1 << 20) });
        for wrong in ["", "/dev/sda", "sda:1m", "/dev/sda:x", "/dev/sda:"] {
            assert!(wrong.parse::<OfDevice<Bytes>>().is_err(), "{wrong}");
        }
    }
}
