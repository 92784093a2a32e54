//! Man pages, `--help`, the README and the lints that are not clippy's.
