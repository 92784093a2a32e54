//! `process.execCPUAffinity`: on which processors a process runs that enters a container, before and after it is in the
//! container's cgroup. It says nothing of the container's first process (runtime-spec, config.md "Linux Process").

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use oci_spec::runtime::Process;

use super::settings::numbers;

/// `None`: as it is.
#[derive(Debug, Default)]
pub struct Affinity {
    initial: Option<CpuSet>,
    last: Option<CpuSet>,
}

impl Affinity {
    /// # Errors
    /// What is no list of processors, by the name of its field.
    pub fn of(process: &Process) -> Result<Affinity> {
        let Some(wanted) = process.exec_cpu_affinity() else { return Ok(Affinity::default()) };
        Ok(Affinity {
            initial: processors("initial", wanted.initial().as_deref())?,
            last: processors("final", wanted.cpu_affinity_final().as_deref())?,
        })
    }

    /// For nsrun, and by it for what it forks.
    pub fn begin(&self) -> Result<()> {
        set("initial", self.initial.as_ref())
    }

    /// For the process that is in its cgroup.
    pub fn end(&self) -> Result<()> {
        set("final", self.last.as_ref())
    }
}

fn set(which: &str, processors: Option<&CpuSet>) -> Result<()> {
    let Some(processors) = processors else { return Ok(()) };
    sched_setaffinity(Pid::from_raw(0), processors)
        .context("sched_setaffinity")
        .with_context(|| format!("cannot set process.execCPUAffinity.{which}"))
}

fn processors(which: &str, list: Option<&str>) -> Result<Option<CpuSet>> {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
    let set = || {
        let mut set = CpuSet::new();
        numbers(list)?.into_iter().try_for_each(|number| set.set(usize::try_from(number).ok()?).ok())?;
        Some(set)
    };
    let context = || format!("cannot use process.execCPUAffinity.{which}: {list:?} is no list of processors");
    set().with_context(context).map(Some)
}
