//! Where saved files go: into a tar archive or into a directory, which appears under its name when it is whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::{Builder, EntryType, Header};

/// An archive or a directory in the making.
pub struct Sink {
    files: Files,
    /// What is written, and the name that it gets in the end.
    pending: Option<(PathBuf, PathBuf)>,
}

enum Files {
    Tar(Builder<Box<dyn Write>>),
    Dir(PathBuf),
}

impl Sink {
    /// To a file, or to stdout.
    pub fn archive(output: Option<&Path>) -> Result<Sink> {
        let Some(path) = output else {
            return Ok(Sink { files: Files::Tar(Builder::new(Box::new(io::stdout()))), pending: None });
        };
        // A pipe or a device is written to, not replaced.
        if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
            let file = File::options().write(true).open(path).context("open")?;
            return Ok(Sink { files: Files::Tar(Builder::new(Box::new(file))), pending: None });
        }
        let temporary = beside(path)?;
        let file = File::create(&temporary).context("open")?;
        let builder = Builder::new(Box::new(io::BufWriter::new(file)) as Box<dyn Write>);
        Ok(Sink { files: Files::Tar(builder), pending: Some((temporary, path.to_owned())) })
    }

    /// To a directory that is not there yet.
    pub fn directory(output: Option<&Path>) -> Result<Sink> {
        let path = output.context("no directory")?;
        if path.exists() {
            bail!("it exists");
        }
        let temporary = beside(path)?;
        fs::create_dir(&temporary).context("mkdir")?;
        Ok(Sink { files: Files::Dir(temporary.clone()), pending: Some((temporary, path.to_owned())) })
    }

    /// A file of this length.
    ///
    /// # Errors
    /// The content has another length, or cannot be read or written.
    pub fn add(&mut self, name: &str, length: u64, content: impl Read) -> Result<()> {
        let mut content = Exactly { content, left: length };
        match &mut self.files {
            Files::Tar(builder) => builder.append_data(&mut header(length), name, &mut content)?,
            Files::Dir(dir) => {
                let path = dir.join(name);
                fs::create_dir_all(path.parent().unwrap_or(dir)).context("mkdir")?;
                io::copy(&mut content, &mut File::create(&path).context("open")?)?;
            }
        }
        // The end of the content is where it is checked; what is longer than it says is, too.
        if content.content.read(&mut [0])? != 0 || content.left != 0 {
            bail!("{name} has not {length} bytes");
        }
        Ok(())
    }

    /// A small file.
    pub fn text(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.add(name, content.len() as u64, content)
    }

    /// Gives it its name.
    pub fn finish(self) -> Result<()> {
        if let Files::Tar(builder) = self.files {
            let mut writer = builder.into_inner().context("write")?;
            writer.flush().context("write")?;
        }
        match self.pending {
            Some((temporary, path)) => fs::rename(temporary, path).context("rename"),
            None => Ok(()),
        }
    }

    /// Removes what was written.
    pub fn discard(self) -> Result<()> {
        match self.pending {
            Some((temporary, _)) => stage::remove_tree(&temporary),
            None => Ok(()),
        }
    }
}

fn beside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().context("it has no name")?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

/// The same image is the same archive, whenever it is saved.
fn header(length: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(length);
    header
}

/// At most so many bytes of the content.
struct Exactly<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.content.read(&mut buffer[..want])?;
        self.left -= n as u64;
        Ok(n)
    }
}
