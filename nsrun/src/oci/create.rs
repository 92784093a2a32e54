//! `create`: the container is there, and waits for `start`. No process of nsrun's stays.

use anyhow::{Result, bail};
use stage::Explain;

use super::make::{self, Paths, Way};
use super::options::MakeOptions;
use super::{bundle, delete};
use crate::gate::Gate;
use crate::record::StateRoot;
use crate::report::Heard;
use crate::wait::Signals;

pub fn create(roots: &StateRoot, options: &MakeOptions) -> Result<()> {
    make::check_descriptors(options.preserve_fds)?;
    stage::need_root()?;
    let signals = Signals::hold()?;
    let paths = Paths::of(options)?;
    let loaded = bundle::load(&options.bundle)?;
    let way = Way { signals: &signals, callers: None, outlives: true, gate: Gate::at };
    let made = make::make(roots, options, &loaded, &paths, &way)?;
    let released = made.line.go(made.state.pid).and_then(|()| match made.line.hear()? {
        // It no longer depends on this process, which may end now.
        Heard::Closed => Ok(()),
        Heard::Failed(error) => Err(error),
        heard => bail!("cannot make container {}: it says {heard:?}", made.state.id),
    });
    match released {
        Ok(()) => Ok(()),
        Err(error) => {
            let left = delete::take_back(&made.record, &made.state).err();
            Err(error).left(left.map(|left| format!("{left:#}")).into_iter().collect())
        }
    }
}
