//! The one thread that talks to the network, and how the others, which know no futures, get its answers.

use std::future::Future;
use std::io::{self, Read};

use anyhow::{Context, Result, bail};
use reqwest::Response;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::error;
use crate::interrupt;

/// Pieces of a body that may wait: what makes the registry wait in turn.
const WAITING: usize = 8;

/// The thread. It ends with the process, or when the work is to end.
pub struct Net {
    handle: Handle,
}

impl Net {
    pub fn start() -> Result<Net> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_stack_size(256 << 10)
            .build()
            .context("cannot start the network thread")?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        interrupt::on_end(move || {
            stop.send(()).ok();
        });
        std::thread::Builder::new().name("net".to_owned()).spawn(move || {
            runtime.block_on(stopped).ok();
            // Whoever waits for an answer learns that there will be none.
            runtime.shutdown_background();
        })?;
        Ok(Net { handle })
    }

    /// The result of a future.
    pub fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.handle.spawn(async move { drop(sender.send(future.await)) });
        match receiver.blocking_recv() {
            Ok(result) => result,
            Err(_closed) => {
                interrupt::check()?;
                bail!("the network thread has ended")
            }
        }
    }

    /// A response's body as a stream of bytes.
    pub fn body(&self, mut response: Response) -> Body {
        let (sender, pieces) = mpsc::channel::<Piece>(WAITING);
        self.handle.spawn(async move {
            loop {
                let piece = match response.chunk().await {
                    Ok(Some(bytes)) => Piece::Bytes(Box::new(bytes)),
                    Ok(None) => Piece::End,
                    Err(error) => Piece::Failed(format!("{:#}", error::of_request(&error))),
                };
                let last = !matches!(piece, Piece::Bytes(_));
                if sender.send(piece).await.is_err() || last {
                    return;
                }
            }
        });
        Body { pieces, piece: Box::new(Vec::new()), at: 0, ended: None }
    }
}

type Bytes = Box<dyn AsRef<[u8]> + Send>;

enum Piece {
    Bytes(Bytes),
    End,
    Failed(String),
}

/// A body that is read as it comes.
pub struct Body {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    at: usize,
    ended: Option<Result<(), String>>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = &(*self.piece).as_ref()[self.at..];
            if !rest.is_empty() {
                let n = rest.len().min(buffer.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                self.at += n;
                return Ok(n);
            }
            match &self.ended {
                Some(Ok(())) => return Ok(0),
                Some(Err(why)) => return Err(io::Error::other(why.clone())),
                None => self.next(),
            }
        }
    }
}

impl Body {
    fn next(&mut self) {
        match self.pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => (self.piece, self.at) = (bytes, 0),
            Some(Piece::End) => self.ended = Some(Ok(())),
            Some(Piece::Failed(why)) => self.ended = Some(Err(why)),
            None => {
                let why = interrupt::check().err().map(|error| error.to_string());
                self.ended = Some(Err(why.unwrap_or_else(|| "the network thread has ended".to_owned())));
            }
        }
    }
}
