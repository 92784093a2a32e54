//! A file of the command line, or stdin.

use std::convert::Infallible;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Stdin,
    File(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Source, Infallible> {
        Ok(if text == "-" { Source::Stdin } else { Source::File(text.into()) })
    }
}

impl Source {
    pub fn read(&self) -> std::io::Result<String> {
        let mut text = String::new();
        match self {
            Source::Stdin => std::io::stdin().lock().read_to_string(&mut text)?,
            Source::File(path) => std::fs::File::open(path)?.read_to_string(&mut text)?,
        };
        Ok(text)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Source::Stdin => f.write_str("stdin"),
            Source::File(path) => path.display().fmt(f),
        }
    }
}
