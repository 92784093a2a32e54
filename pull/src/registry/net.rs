//! The one thread that talks to the network, and how the others, which know no futures, get its answers.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::{RequestBuilder, Response};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::failure::{Again, Failure, without_secrets};
use crate::interrupt;

/// Pieces of a body that may wait: what makes the registry wait in turn.
const WAITING: usize = 8;
/// Bytes in a second below which a registry does as if it were sending.
const SLOWEST: u64 = 256;

/// The thread. It ends with the process, or when the work is to end.
#[derive(Clone)]
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
        future: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.handle.spawn(async move { drop(sender.send(future.await)) });
        match receiver.blocking_recv() {
            Ok(result) => result,
            Err(_closed) => Err(ended().into()),
        }
    }

    /// A response's body as a stream of bytes. `stall`: how long it may bring next to nothing.
    pub fn body(&self, response: Response, stall: Duration) -> Body {
        let (sender, pieces) = mpsc::channel::<Piece>(WAITING);
        self.handle.spawn(send_on(response, stall, sender));
        Body { pieces, piece: Box::new(Vec::new()), at: 0, ended: false }
    }
}

fn ended() -> anyhow::Error {
    interrupt::check().err().unwrap_or_else(|| anyhow::anyhow!("the network thread has ended"))
}

/// The answer to a request, or that it does not come: a server that sends its header byte by byte never stalls.
pub async fn in_time(request: RequestBuilder, url: &str, limit: Duration) -> Result<Response, Failure> {
    match tokio::time::timeout(limit, request.send()).await {
        Ok(sent) => sent.map_err(|error| Failure::of_request(&error)),
        Err(_elapsed) => Err(Failure::new(format!("GET {url}: no answer in time"), Again::Soon)),
    }
}

async fn send_on(mut response: Response, stall: Duration, sender: mpsc::Sender<Piece>) {
    let mut pace = Pace::new(stall);
    loop {
        let piece = match pace.chunk(&mut response).await {
            Ok(Some(bytes)) => Piece::Bytes(Box::new(bytes)),
            Ok(None) => Piece::End,
            Err(failure) => Piece::Failed(failure),
        };
        let last = !matches!(piece, Piece::Bytes(_));
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// Watches how fast a body comes while it is waited for: time that our own disk takes does not count.
pub struct Pace {
    stall: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub fn new(stall: Duration) -> Pace {
        Pace { stall, waited: Duration::ZERO, bytes: 0 }
    }

    /// The next piece of a body.
    pub async fn chunk(
        &mut self,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + Send + use<>>, Failure> {
        let since = Instant::now();
        let chunk = tokio::time::timeout(self.stall, response.chunk()).await;
        self.waited += since.elapsed();
        let Ok(chunk) = chunk else { return Err(self.stalled(response)) };
        let chunk = chunk.map_err(|error| Failure::of_body(&error, response.url()))?;
        self.bytes += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if self.waited >= self.stall {
            if chunk.is_some() && self.bytes < SLOWEST.saturating_mul(self.stall.as_secs().max(1)) {
                return Err(self.stalled(response));
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        Ok(chunk)
    }

    fn stalled(&self, response: &Response) -> Failure {
        let (url, seconds) = (without_secrets(response.url()), self.stall.as_secs());
        Failure::new(format!("GET {url}: stalled: {} bytes in {seconds} s", self.bytes), Again::Soon)
    }
}

type Bytes = Box<dyn AsRef<[u8]> + Send>;

enum Piece {
    Bytes(Bytes),
    End,
    Failed(Failure),
}

/// A body that is read as it comes.
pub struct Body {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    at: usize,
    ended: bool,
}

impl Body {
    /// The next bytes; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            let rest = &(*self.piece).as_ref()[self.at..];
            if !rest.is_empty() {
                let n = rest.len().min(buffer.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                self.at += n;
                return Ok(n);
            }
            if self.ended {
                return Ok(0);
            }
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => (self.piece, self.at) = (bytes, 0),
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed(failure)) => return Err(failure),
                None => return Err(ended().into()),
            }
        }
    }
}
