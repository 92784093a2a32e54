//! Where netns keeps what it must remember.

use std::path::PathBuf;

use stage::Roots;

use crate::network::Definitions;

pub struct Dirs {
    /// The records of the containers; gone after a reboot, as the containers are.
    pub records: PathBuf,
    pub networks: Definitions,
}

impl Dirs {
    pub fn of(roots: &Roots) -> Dirs {
        Dirs { records: roots.run("netns"), networks: Definitions::below(&roots.kept("netns")) }
    }
}
