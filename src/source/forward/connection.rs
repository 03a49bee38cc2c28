//! One connection: reads what is there, makes lines of all messages that are complete, has them kept, and only then acknowledges them. What a
//! message is, others know.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::rustls::crypto::ring;

use super::dispatch::Route;
use super::handshake::{self, Handshake, MAX_PING_BYTES, NONCE_BYTES, SharedKey};
use super::layout::Layout;
use super::line::{About, Lines, Made};
use super::listen::Wire;
use super::message::{self, Body, Compression, Entries, Message};
use super::msgpack::{self, Scanner};
use super::partial::{Added, Joins, Part, Released};
use super::{DRAIN_PAUSE, DRAIN_TIME, LARGE_BYTES, Shared};
use crate::clock;
use crate::spool::Lines as Spooled;

/// A first read; a connection that fills it reads more at once. Ten thousand that say little take 40 MB.
const MIN_READ_BYTES: usize = 4 * 1024;
/// What is read at once from a connection that has it.
const MAX_READ_BYTES: usize = 64 * 1024;
/// Lines are handed over when there are so many, even in the middle of a message.
const FLUSH_BYTES: usize = 256 * 1024;

/// Heartbeats over TCP: nil, and the byte that goes over UDP.
const HEARTBEATS: [u8; 2] = [0xc0, 0x00];

/// Why a connection is closed before its client closes it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Message(#[from] message::Error),
    #[error(transparent)]
    Handshake(#[from] handshake::Error),
    #[error("the system gives no random numbers")]
    Random,
    #[error("the connection ended within a message")]
    Cut,
    #[error("a message was not complete in time; raise message_timeout, or look what holds up the client")]
    Late,
    #[error("acknowledgements are not read in time")]
    AcksUnread,
    #[error("nothing came for as long as idle_timeout")]
    Idle,
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the agent stops")]
    Closed,
}

impl From<msgpack::Error> for Ended {
    fn from(error: msgpack::Error) -> Self {
        Self::Message(error.into())
    }
}

impl From<crate::spool::Closed> for Ended {
    fn from(_: crate::spool::Closed) -> Self {
        Self::Closed
    }
}

impl Ended {
    /// The word for it in metrics; none if nobody did anything wrong.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Message(error) => Some(error.reason()),
            Self::Handshake(_) => Some("handshake"),
            Self::Cut => Some("cut"),
            Self::Late | Self::AcksUnread => Some("timeout"),
            Self::Idle => Some("idle"),
            Self::Random | Self::Io(_) | Self::Closed => None,
        }
    }
}

/// Something that a connection waited for.
#[derive(Debug)]
enum Next {
    /// Bytes came; none are the end.
    Read(usize),
    /// A message is not complete in time, or nothing came for too long.
    Late,
    /// A line that came in parts waits for too long.
    PartsDue,
    /// The agent stops.
    Stop,
}

/// A connection.
pub(super) struct Connection {
    io: Box<dyn Wire>,
    peer: String,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    /// When a connection is closed that the client does not close, once the agent stops.
    drained: Option<Instant>,
    buffer: BytesMut,
    read_bytes: usize,
    /// Held while the buffer is larger than that of most.
    large: Option<OwnedSemaphorePermit>,
    scanner: Scanner,
    /// Where the buffer begins in what was received.
    offset: u64,
    /// Since when the rest of a message, or the next one, is waited for.
    waiting: Instant,
    /// Of each outlet.
    lines: Vec<Lines>,
    /// Where the events of the last tag go: those of the next one probably do too.
    route: Option<(Vec<u8>, Route)>,
    acks: Vec<u8>,
    ack_count: u64,
    joins: Joins,
}

impl Connection {
    pub(super) fn new(io: Box<dyn Wire>, peer: String, shared: Arc<Shared>, stop: watch::Receiver<bool>) -> Self {
        let joins = Joins::new(Arc::clone(&shared.join_room));
        let lines = shared.dispatch.outlets().iter().map(|_| Lines::default()).collect();
        Self {
            io,
            peer,
            shared,
            stop,
            drained: None,
            buffer: BytesMut::new(),
            read_bytes: MIN_READ_BYTES,
            large: None,
            scanner: Scanner::default(),
            offset: 0,
            waiting: Instant::now(),
            lines,
            route: None,
            acks: Vec::new(),
            ack_count: 0,
            joins,
        }
    }

    /// Serves it to its end. False if nothing is kept any more.
    pub(super) async fn run(mut self, key: Option<&SharedKey>) -> bool {
        let mut ended = self.serve(key).await;
        let released = self.joins.end();
        if self.release(released, "ended").is_err() || self.write().await.is_err() {
            ended = Err(Ended::Closed);
        }
        // What was sent still arrives, and TLS says that this is the end. A client that is gone needs neither.
        timeout(DRAIN_PAUSE, self.io.shutdown()).await.ok();
        if let Err(error) = &ended {
            self.tell(error);
        }
        !matches!(ended, Err(Ended::Closed))
    }

    /// Says once why a connection is closed, and counts it if its client is to blame.
    fn tell(&self, error: &Ended) {
        let (peer, offset) = (&self.peer, self.offset);
        let Some(reason) = error.reason() else {
            tracing::debug!(peer, offset, %error, "a Forward connection ended");
            return;
        };
        self.shared.counters.rejected.with_label_values(&[reason]).inc();
        tracing::warn!(peer, offset, reason, %error, "a Forward connection is closed; what was complete before is kept");
    }

    async fn serve(&mut self, key: Option<&SharedKey>) -> Result<(), Ended> {
        if let Some(key) = key
            && !self.shake_hands(key).await?
        {
            return Ok(());
        }
        loop {
            match self.next().await? {
                Next::Read(0) => {
                    return if self.buffer.is_empty() { Ok(()) } else { Err(Ended::Cut) };
                }
                Next::Read(_) => self.take_messages().await?,
                Next::Late if self.drained.is_some() => return Ok(()),
                Next::Late => return Err(if self.buffer.is_empty() { Ended::Idle } else { Ended::Late }),
                Next::PartsDue => {
                    let released = self.joins.expire(Instant::now());
                    self.release(released, "age")?;
                    self.write().await?;
                }
                Next::Stop => self.drained = Some(Instant::now() + DRAIN_TIME),
            }
        }
    }

    /// False if the client went away before.
    async fn shake_hands(&mut self, key: &SharedKey) -> Result<bool, Ended> {
        let mut nonce = [0; NONCE_BYTES];
        ring::default_provider().secure_random.fill(&mut nonce).map_err(|_| Ended::Random)?;
        let shared = Arc::clone(&self.shared);
        let handshake = Handshake { key, hostname: &shared.config.self_hostname, nonce };
        self.send(&handshake.helo()).await?;
        let length = loop {
            if let Some(length) = self.scanner.find_end(&self.buffer, MAX_PING_BYTES)? {
                break length;
            }
            // Who says nothing is as late as who says half of it.
            let deadline = self.waiting + shared.config.message_timeout;
            let read = timeout_at(deadline, self.next()).await.map_err(|_| Ended::Late)??;
            match read {
                Next::Read(0) | Next::Stop => return Ok(false),
                Next::Late => return Err(Ended::Late),
                Next::Read(_) | Next::PartsDue => {}
            }
        };
        let (pong, result) = handshake.answer(&self.buffer.split_to(length));
        self.send(&pong).await?;
        result?;
        self.advance(0, length);
        // A client may not wait for the answer.
        self.take_messages().await?;
        Ok(true)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let sending = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        Ok(timeout(self.shared.config.message_timeout, sending).await.map_err(|_| Ended::AcksUnread)??)
    }

    /// Waits for more bytes, or whatever else comes first.
    async fn next(&mut self) -> Result<Next, Ended> {
        self.make_room().await;
        let config = &self.shared.config;
        let patience = if self.buffer.is_empty() { config.idle_timeout } else { Some(config.message_timeout) };
        let mut late = patience.map(|patience| self.waiting + patience);
        if let Some(drained) = self.drained {
            // What the client has sent by now is there at once.
            late = Some(drained.min(Instant::now() + DRAIN_PAUSE));
        }
        if self.drained.is_some_and(|drained| drained <= Instant::now()) {
            return Ok(Next::Late);
        }
        let parts = self.joins.due();
        let is_stopping = self.drained.is_some();
        // What a client that never pauses could hold off comes first.
        tokio::select! {
            biased;
            // A sender that is gone wants no stop any less than one that says so.
            _ = self.stop.wait_for(|stop| *stop), if !is_stopping => Ok(Next::Stop),
            () = until(parts) => Ok(Next::PartsDue),
            read = self.io.read_buf(&mut self.buffer) => {
                let read = read?;
                if read >= self.read_bytes {
                    self.read_bytes = (2 * self.read_bytes).min(MAX_READ_BYTES);
                }
                if read == self.buffer.len() {
                    self.waiting = Instant::now();
                }
                Ok(Next::Read(read))
            }
            () = until(late) => Ok(Next::Late),
        }
    }

    /// A buffer that is nearly full grows by what came, never by what was announced.
    async fn make_room(&mut self) {
        if self.buffer.len() < LARGE_BYTES {
            if self.large.take().is_some() {
                // What is left goes to a buffer of the usual size.
                self.buffer = BytesMut::from(&*self.buffer);
            }
        } else if self.large.is_none() {
            // A few have room for a message that is large. They are given time to complete it, so that everybody's turn comes.
            self.large = Arc::clone(&self.shared.large).acquire_owned().await.ok();
            self.waiting = Instant::now();
        }
        self.buffer.reserve(self.read_bytes);
    }

    /// Keeps and acknowledges all messages that are complete.
    async fn take_messages(&mut self) -> Result<(), Ended> {
        let shared = Arc::clone(&self.shared);
        let turn = shared.turns.acquire().await.map_err(|_| Ended::Closed)?;
        // It goes back at the end; until then, messages are parts of it.
        let buffer = std::mem::take(&mut self.buffer);
        let (taken, result) = self.take_from(&buffer).await;
        self.buffer = buffer;
        self.advance(taken, taken);
        let kept = self.write().await;
        drop(turn);
        kept?;
        self.acknowledge().await?;
        result
    }

    /// Goes on behind messages. Those that took time are over, and the time for the next one begins.
    fn advance(&mut self, in_buffer: usize, received: usize) {
        self.buffer.advance(in_buffer);
        self.offset += received as u64;
        if received > 0 || self.buffer.is_empty() {
            self.waiting = Instant::now();
        }
    }

    /// Makes lines of the messages at the front of bytes, and gives how many bytes they are.
    async fn take_from(&mut self, bytes: &[u8]) -> (usize, Result<(), Ended>) {
        let (mut rest, now) = (bytes, clock::now());
        let limit = self.shared.config.max_message_bytes;
        loop {
            let taken = bytes.len() - rest.len();
            if self.scanner.at_least() == 0
                && let Some((first, behind)) = rest.split_first()
                && HEARTBEATS.contains(first)
            {
                rest = behind;
                continue;
            }
            let message = match self.scanner.find_end(rest, limit) {
                Ok(Some(length)) => rest.split_at_checked(length),
                Ok(None) => return (taken, Ok(())),
                Err(error) => return (taken, Err(error.into())),
            };
            let Some((message, behind)) = message else { return (taken, Ok(())) };
            if let Err(error) = self.message(message, now).await {
                return (taken, Err(error));
            }
            self.shared.counters.messages.inc();
            self.shared.counters.bytes.inc_by(message.len() as u64);
            rest = behind;
        }
    }

    async fn message(&mut self, bytes: &[u8], now: SystemTime) -> Result<(), Ended> {
        let message = Message::read(bytes)?;
        let compression = message.options.compression;
        match message.body {
            Body::Packed(packed) if compression != Compression::None => {
                let shared = Arc::clone(&self.shared);
                let _room = shared.decompressing.acquire().await.map_err(|_| Ended::Closed)?;
                let plain = message::decompress(packed, compression, shared.config.max_message_bytes)?;
                self.events(&message, Entries::new(Body::Packed(&plain)), now).await?;
            }
            body => self.events(&message, Entries::new(body), now).await?,
        }
        if let Some(chunk) = message.options.chunk {
            self.acks.extend_from_slice(b"\x81\xa3ack");
            self.acks.extend_from_slice(chunk);
            self.ack_count += 1;
        }
        Ok(())
    }

    /// Where the events of a tag go.
    fn route(&mut self, tag: &[u8]) -> Route {
        if let Some((_, route)) = self.route.as_ref().filter(|(last, _)| last == tag) {
            return route.clone();
        }
        let route = self.shared.dispatch.route(tag);
        self.route = Some((tag.to_vec(), route.clone()));
        route
    }

    /// Has a message's events made to lines, or counted if they go nowhere.
    async fn events(&mut self, message: &Message<'_>, mut entries: Entries<'_>, now: SystemTime) -> Result<(), Ended> {
        let reason = match self.route(message.tag) {
            Route::To(outlet, layout) => {
                let about = About { layout: &layout, tag: message.tag, now };
                return self.lines_of(outlet, &about, entries, message.options.chunk.is_none()).await;
            }
            Route::Dropped(reason) => Some(reason),
            Route::NoLog => None,
        };
        let mut events = 0;
        while let Some(entry) = entries.next()? {
            entry.skip()?;
            entry.skip()?;
            events += 1;
        }
        if let Some(reason) = reason {
            self.shared.counters.drop(None, reason, events);
        }
        Ok(())
    }

    /// Makes lines of a message's events. Of one that cannot be read to its end none are kept, unless it is so large, or joined parts of lines,
    /// that some were kept before that was seen. A part that is held is not kept, so that it could not be acknowledged; and its client may wait for
    /// that before it sends the next: then none are joined.
    async fn lines_of(
        &mut self,
        outlet: usize,
        about: &About<'_>,
        mut entries: Entries<'_>,
        join: bool,
    ) -> Result<(), Ended> {
        let Some(mut mark) = self.lines.get(outlet).map(Lines::mark) else { return Ok(()) };
        loop {
            let Some(lines) = self.lines.get_mut(outlet) else { return Ok(()) };
            let made = match entries.next() {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) => lines.event(about, entry, join).map_err(message::Error::from),
                Err(error) => Err(error),
            };
            match made {
                Ok(Made::Line) => {}
                Ok(Made::Dropped(reason)) => self.drop(outlet, reason),
                Ok(Made::Part(part)) => {
                    self.part((outlet, about.layout), about.tag, part, about.now)?;
                    // A joined line has parts of other messages in it, so that it stays.
                    mark = self.lines.get(outlet).map_or(mark, Lines::mark);
                }
                Err(error) => {
                    lines.undo(mark);
                    return Err(error.into());
                }
            }
            if self.lines.get(outlet).is_some_and(|lines| lines.len() >= FLUSH_BYTES) {
                self.write().await?;
                mark = self.lines.get(outlet).map_or(mark, Lines::mark);
            }
        }
    }

    /// Counts an event that its layout has no line for.
    fn drop(&self, outlet: usize, reason: &str) {
        let source = self.shared.dispatch.outlets().get(outlet).map(|outlet| &*outlet.source);
        self.shared.counters.drop(source, reason, 1);
    }

    /// Joins a part, or makes a line of it if it cannot be joined.
    fn part(
        &mut self,
        (outlet, layout): (usize, &Layout),
        tag: &[u8],
        part: Part<'_>,
        now: SystemTime,
    ) -> Result<(), Ended> {
        match self.joins.add(tag, part, Instant::now()) {
            Added::Held => {}
            Added::Whole(Released { tag, entries }) => {
                let parts: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
                let about = About { layout, tag: &tag, now };
                let lines = self.lines.get_mut(outlet).ok_or(Ended::Closed)?;
                if let Some(reason) = lines.joined(&about, &parts).map_err(message::Error::from)? {
                    self.drop(outlet, reason);
                }
                self.shared.counters.partials.with_label_values(&["joined"]).inc_by(parts.len() as u64);
            }
            Added::Refused(before) => {
                self.release(vec![before], "room")?;
                let alone = Released { tag: tag.to_vec(), entries: vec![part.entry.to_vec()] };
                self.release(vec![alone], "room")?;
            }
        }
        Ok(())
    }

    /// Makes lines of parts that will not be joined, each as it came.
    fn release(&mut self, released: Vec<Released>, outcome: &str) -> Result<(), Ended> {
        let now = clock::now();
        for Released { tag, entries } in released {
            // Only of what goes somewhere are there parts.
            let Route::To(outlet, layout) = self.route(&tag) else { continue };
            let about = About { layout: &layout, tag: &tag, now };
            for entry in &entries {
                let mut entry = msgpack::Reader::new(entry);
                let lines = self.lines.get_mut(outlet).ok_or(Ended::Closed)?;
                let made = lines.event(&about, &mut entry, false).map_err(message::Error::from)?;
                if let Made::Dropped(reason) = made {
                    self.drop(outlet, reason);
                }
            }
            self.shared.counters.partials.with_label_values(&[outcome]).inc_by(entries.len() as u64);
        }
        Ok(())
    }

    /// Has all lines kept.
    async fn write(&mut self) -> Result<(), Ended> {
        for (lines, outlet) in self.lines.iter_mut().zip(self.shared.dispatch.outlets()) {
            let (bytes, events) = lines.take();
            if events > 0 {
                outlet.feed.write(Spooled { bytes, events }).await?;
                self.shared.counters.events.inc_by(events);
            }
        }
        Ok(())
    }

    /// Acknowledges what was kept.
    async fn acknowledge(&mut self) -> Result<(), Ended> {
        let (acks, count) = (std::mem::take(&mut self.acks), std::mem::take(&mut self.ack_count));
        if count > 0 {
            self.send(&acks).await?;
            self.shared.counters.acks.inc_by(count);
        }
        Ok(())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
