//! msgpack, as far as reading it goes: one token after the other, borrowed from the bytes, and where a value ends before all of it is there. No
//! tree, no allocation: a length or a count is a claim of whoever sent it, and costs nothing until the bytes are there.

/// Arrays and maps within each other. Records of people have a handful of levels; what reads them downstream has limits of its own, often at 64.
pub(super) const MAX_DEPTH: usize = 64;
/// The levels of a whole message: a record is within an entry, in a list of them, in the message.
const MAX_LEVELS: usize = MAX_DEPTH + 3;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The value goes on after the last byte.
    #[error("a value is longer than what holds it")]
    Truncated,
    /// The one byte that begins nothing.
    #[error("byte 0xc1 begins no value of msgpack")]
    Invalid,
    /// Too many levels.
    #[error("a value is nested over {MAX_DEPTH} levels deep; send flatter records")]
    TooDeep,
    /// More than a message may have.
    #[error(
        "a message of at least {at_least} bytes is over the limit of {limit}; raise max_message_bytes or send smaller chunks"
    )]
    TooLarge {
        /// What the prefixes say it has at least.
        at_least: u64,
        /// What it may have.
        limit: usize,
    },
}

/// One value, or the head of one that has others in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    /// A negative number.
    Int(i64),
    F32(f32),
    F64(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext(i8, &'a [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs of values follow.
    Map(u32),
}

/// The kind of what has a length before it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Str,
    Bin,
    Ext,
}

/// What a first byte, and the number after it, say.
#[derive(Debug, Clone, Copy)]
enum Head {
    /// A value of no more bytes.
    Plain(Token<'static>),
    /// A number of so many bytes.
    Number(u8, usize),
    /// Bytes, after the type of an extension.
    Bytes(Kind, u32),
    Array(u32),
    Map(u32),
}

/// Reads values from the front of bytes. A copy stays where the original was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A big-endian number of one, two or four bytes.
    fn length(&mut self, width: usize) -> Result<u32, Error> {
        Ok(match width {
            1 => u32::from(self.byte()?),
            2 => u32::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?),
        })
    }

    fn head(&mut self) -> Result<Head, Error> {
        let byte = self.byte()?;
        Ok(match byte {
            0x00..=0x7f => Head::Plain(Token::Uint(u64::from(byte))),
            0x80..=0x8f => Head::Map(u32::from(byte & 0x0f)),
            0x90..=0x9f => Head::Array(u32::from(byte & 0x0f)),
            0xa0..=0xbf => Head::Bytes(Kind::Str, u32::from(byte & 0x1f)),
            0xc0 => Head::Plain(Token::Nil),
            0xc1 => return Err(Error::Invalid),
            0xc2 | 0xc3 => Head::Plain(Token::Bool(byte == 0xc3)),
            0xc4..=0xc6 => Head::Bytes(Kind::Bin, self.length(1 << (byte - 0xc4))?),
            0xc7..=0xc9 => Head::Bytes(Kind::Ext, self.length(1 << (byte - 0xc7))?),
            0xca | 0xcb => Head::Number(byte, if byte == 0xca { 4 } else { 8 }),
            0xcc..=0xcf => Head::Number(byte, 1 << (byte - 0xcc)),
            0xd0..=0xd3 => Head::Number(byte, 1 << (byte - 0xd0)),
            0xd4..=0xd8 => Head::Bytes(Kind::Ext, 1 << (byte - 0xd4)),
            0xd9..=0xdb => Head::Bytes(Kind::Str, self.length(1 << (byte - 0xd9))?),
            0xdc | 0xdd => Head::Array(self.length(2 << (byte - 0xdc))?),
            0xde | 0xdf => Head::Map(self.length(2 << (byte - 0xde))?),
            0xe0..=0xff => Head::Plain(Token::Int(i64::from(byte.cast_signed()))),
        })
    }

    fn number(&mut self, byte: u8) -> Result<Token<'a>, Error> {
        let signed = |n: i64| u64::try_from(n).map_or(Token::Int(n), Token::Uint);
        Ok(match byte {
            0xca => Token::F32(f32::from_be_bytes(self.array()?)),
            0xcb => Token::F64(f64::from_be_bytes(self.array()?)),
            0xcc => Token::Uint(u64::from(self.byte()?)),
            0xcd => Token::Uint(u64::from(u16::from_be_bytes(self.array()?))),
            0xce => Token::Uint(u64::from(u32::from_be_bytes(self.array()?))),
            0xcf => Token::Uint(u64::from_be_bytes(self.array()?)),
            0xd0 => signed(i64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => signed(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => signed(i64::from(i32::from_be_bytes(self.array()?))),
            _ => signed(i64::from_be_bytes(self.array()?)),
        })
    }

    /// The next value, or the head of the next one that has others in it.
    pub(super) fn token(&mut self) -> Result<Token<'a>, Error> {
        Ok(match self.head()? {
            Head::Plain(token) => token,
            Head::Number(byte, _) => self.number(byte)?,
            Head::Array(count) => Token::Array(count),
            Head::Map(count) => Token::Map(count),
            Head::Bytes(kind, length) => {
                let tag = if matches!(kind, Kind::Ext) { i8::from_be_bytes(self.array()?) } else { 0 };
                let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                match kind {
                    Kind::Str => Token::Str(bytes),
                    Kind::Bin => Token::Bin(bytes),
                    Kind::Ext => Token::Ext(tag, bytes),
                }
            }
        })
    }

    /// Passes over one value with all that is in it, and gives its bytes.
    pub(super) fn skip(&mut self) -> Result<&'a [u8], Error> {
        let before = self.rest;
        self.skip_at(0)?;
        let (skipped, _) = before.split_at_checked(before.len() - self.rest.len()).ok_or(Error::Truncated)?;
        Ok(skipped)
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), Error> {
        let inside = match self.token()? {
            Token::Array(count) => u64::from(count),
            Token::Map(count) => 2 * u64::from(count),
            _ => return Ok(()),
        };
        if depth >= MAX_LEVELS {
            return Err(Error::TooDeep);
        }
        for _ in 0..inside {
            self.skip_at(depth + 1)?;
        }
        Ok(())
    }
}

/// Which arrays and maps are open, and how many values each of them still lacks.
#[derive(Debug, Clone)]
struct Open {
    /// The outermost first. The very first is the value itself, which is no level of nesting.
    lacking: [u64; MAX_LEVELS + 1],
    depth: usize,
}

impl Default for Open {
    fn default() -> Self {
        Self { lacking: [0; MAX_LEVELS + 1], depth: 0 }
    }
}

impl Open {
    fn is_done(&self) -> bool {
        self.depth == 0
    }

    /// Opens a level of so many values. One of none has ended, and with it the value that it is.
    fn begin(&mut self, count: u64) -> Result<(), Error> {
        let lacking = self.lacking.get_mut(self.depth).ok_or(Error::TooDeep)?;
        if count == 0 {
            self.end_one();
            return Ok(());
        }
        *lacking = count;
        self.depth += 1;
        Ok(())
    }

    /// One value ended, and with it all those whose last it was.
    fn end_one(&mut self) {
        while let Some(lacking) = self.depth.checked_sub(1).and_then(|level| self.lacking.get_mut(level)) {
            *lacking = lacking.saturating_sub(1);
            if *lacking > 0 {
                return;
            }
            self.depth -= 1;
        }
    }
}

/// Finds where values end in bytes that come bit by bit. It looks at each head once, and at no text, however small the pieces are.
#[derive(Debug, Clone, Default)]
pub(super) struct Scanner {
    open: Open,
    /// Bytes of the value up to the next head. A text counts as soon as its head is there.
    passed: usize,
}

impl Scanner {
    /// How long the value at the front of these bytes is; none as long as its end is not among them. Until then the same bytes have to be
    /// given again, with more after them. A value that will be longer than the limit is refused as soon as a length says so.
    pub(super) fn find_end(&mut self, bytes: &[u8], limit: usize) -> Result<Option<usize>, Error> {
        if self.passed == 0 && self.open.is_done() {
            self.open.begin(1)?;
        }
        while !self.open.is_done() {
            let Some((_, rest)) = bytes.split_at_checked(self.passed) else { return Ok(None) };
            let mut reader = Reader::new(rest);
            let head = match reader.head() {
                Ok(head) => head,
                // Four bytes at most, which are looked at again.
                Err(Error::Truncated) => return Ok(None),
                Err(error) => return Err(error),
            };
            self.passed += rest.len() - reader.rest().len();
            self.step(head, limit)?;
        }
        if bytes.len() < self.passed {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.passed)))
    }

    /// How many bytes the value has at least, as far as it is known.
    pub(super) fn at_least(&self) -> usize {
        self.passed
    }

    fn step(&mut self, head: Head, limit: usize) -> Result<(), Error> {
        // Each value that is announced has one byte at least.
        let (bytes, values) = match head {
            Head::Plain(_) => (0, 0),
            Head::Number(_, width) => (width as u64, 0),
            Head::Bytes(kind, length) => (u64::from(length) + u64::from(matches!(kind, Kind::Ext)), 0),
            Head::Array(count) => (0, u64::from(count)),
            Head::Map(count) => (0, 2 * u64::from(count)),
        };
        let passed = self.passed as u64 + bytes;
        if passed + values > limit as u64 {
            return Err(Error::TooLarge { at_least: passed + values, limit });
        }
        self.passed = usize::try_from(passed).unwrap_or(usize::MAX);
        match head {
            Head::Array(_) | Head::Map(_) => self.open.begin(values)?,
            _ => self.open.end_one(),
        }
        Ok(())
    }
}
