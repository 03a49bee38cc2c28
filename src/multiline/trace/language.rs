//! What the lines of a stack trace look like, language by language. Each function looks at one line.

use memchr::memmem;

/// Where in a trace of Java, Node or .NET the next line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After the exception, a frame or a cause.
    Frames,
    /// After the words that announce another exception in the next line.
    Nested,
    /// In an object that Node shows after the frames.
    Object,
    /// After the place of an error of Node's: its source follows, ...
    Source,
    /// ... a caret ...
    Caret,
    /// ... and the error.
    Error,
}

impl At {
    /// What begins a trace by itself.
    pub(super) fn begin(line: &[u8]) -> Option<Self> {
        if is_exception(line) || mentions_exception(line) {
            return Some(Self::Frames);
        }
        is_node_place(line).then_some(Self::Source)
    }

    /// What belongs to the logger's line before it.
    pub(super) fn in_record(line: &[u8]) -> Option<Self> {
        if is_exception(line) {
            return Some(Self::Frames);
        }
        Self::Frames.next(line)
    }

    pub(super) fn next(self, line: &[u8]) -> Option<Self> {
        let (indent, rest) = indent(line);
        match self {
            Self::Nested | Self::Error => return Some(Self::Frames),
            Self::Source => return Some(Self::Caret),
            Self::Caret => return rest.starts_with(b"^").then_some(Self::Error),
            Self::Object if rest.starts_with(b"}") => return Some(Self::Frames),
            Self::Object => return (indent > 0).then_some(Self::Object),
            Self::Frames => {}
        }
        let is_frame = indent > 0 && starts_with_any(rest, &[b"at ", b"eval at "]);
        let is_rest = rest.strip_prefix(b"... ").is_some_and(|n| n.first().is_some_and(u8::is_ascii_digit));
        let is_cause = starts_with_any(
            rest,
            &[b"Caused by: ", b"Suppressed: ", b"Wrapped by: ", b"[CIRCULAR REFERENCE", b"---> ", b"--- End of "],
        );
        let is_inner = indent > 0 && starts_with_any(rest, &[b"[cause]: ", b"[errors]: "]);
        if indent > 0 && rest.starts_with(b"nested exception is:") {
            return Some(Self::Nested);
        }
        // Node shows an error's own fields after its last frame.
        let opens = line.ends_with(b" {") || line.ends_with(b": [");
        (is_frame || is_rest || is_cause || is_inner).then_some(if opens { Self::Object } else { Self::Frames })
    }
}

/// `java.lang.IllegalStateException: text`, `TypeError [ERR_X]: text`, and what stands before such.
fn is_exception(line: &[u8]) -> bool {
    const ENDS: [&[u8]; 9] = [
        b"Exception",
        b"Error",
        b"Throwable",
        b"Failure",
        b"Fault",
        b"Death",
        b"Timeout",
        b"Interrupt",
        b"Cancellation",
    ];
    if starts_with_any(
        line,
        &[b"Exception in thread ", b"Unhandled exception. ", b"Unhandled Exception: ", b"Uncaught "],
    ) {
        return true;
    }
    let (name, rest) = class_name(line);
    let is_named = rest.is_empty() || rest.starts_with(b":") || rest.starts_with(b" [");
    is_named && ENDS.iter().any(|end| name.ends_with(end))
}

/// A line that says something of an exception in its own words. What follows shows whether one is shown.
fn mentions_exception(line: &[u8]) -> bool {
    let contains = |needle: &str| memmem::find(line, needle.as_bytes()).is_some();
    contains("xception") || contains("rror:") || contains("hrowable") || contains("stack trace")
}

/// `/app/index.js:10`, `node:internal/x:10`: the place before the source of an error that nothing caught.
fn is_node_place(line: &[u8]) -> bool {
    let is_path = starts_with_any(line, &[b"/", b"file://", b"node:"]) && !line.contains(&b' ');
    let digits = line.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    is_path && digits > 0 && line.len() > digits && line[line.len() - digits - 1] == b':'
}

/// Whether a line is the second one of a record of java.util.logging.
pub(super) fn is_java_util_level(line: &[u8]) -> bool {
    starts_with_any(line, &[b"SEVERE: ", b"WARNING: ", b"INFO: ", b"CONFIG: ", b"FINE: ", b"FINER: ", b"FINEST: "])
}

/// Where in a trace of Python the next line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Python {
    /// In the frames; what is not indented ends them, and is the exception.
    Frames,
    /// After the exception.
    Exception,
    /// After the words that announce another trace.
    Chained,
    /// Before the first trace, which a thread's name announced.
    Thread,
    /// In a group of exceptions, which is indented to its end.
    Group,
}

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";

impl Python {
    pub(super) fn begin(line: &[u8]) -> Option<Self> {
        if let Some(before) = line.strip_suffix(TRACEBACK) {
            return Some(if before.ends_with(b"+ Exception Group ") { Self::Group } else { Self::Frames });
        }
        starts_with_any(line, &[b"Exception in thread ", b"Exception ignored in"]).then_some(Self::Thread)
    }

    pub(super) fn next(self, line: &[u8]) -> Option<Self> {
        let (indent, rest) = indent(line);
        match self {
            Self::Frames if indent > 0 => Some(Self::Frames),
            Self::Frames => {
                let (name, rest) = class_name(line);
                (!name.is_empty() && (rest.is_empty() || rest.starts_with(b":"))).then_some(Self::Exception)
            }
            Self::Exception => {
                let chained = line.starts_with(b"During handling of the above exception")
                    || line.starts_with(b"The above exception was the direct cause");
                // What drivers of databases append to the messages of theirs.
                let more =
                    [&b"DETAIL:"[..], b"HINT:", b"CONTEXT:", b"[SQL:", b"[parameters:", b"(Background on this error"];
                if chained { Some(Self::Chained) } else { starts_with_any(line, &more).then_some(Self::Exception) }
            }
            Self::Chained | Self::Thread => Self::begin(line),
            Self::Group => (indent > 0 && !rest.starts_with(b"+ Exception Group ")).then_some(Self::Group),
        }
    }
}

/// Where in a trace of Go the next line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    /// After the panic, before the first goroutine.
    Message,
    /// In the goroutines.
    Frames,
}

impl Go {
    pub(super) fn next(self, line: &[u8]) -> Option<Self> {
        let (indent, _) = indent(line);
        if is_goroutine(line) || line.starts_with(b"runtime stack:") {
            return Some(Self::Frames);
        }
        let goes_on = match self {
            Self::Message => indent > 0 || starts_with_any(line, &[b"[signal ", b"panic: ", b"PC=", b"goroutine "]),
            Self::Frames => {
                indent > 0
                    || is_go_function(line)
                    || starts_with_any(line, &[b"created by ", b"exit status ", b"...additional frames"])
            }
        };
        goes_on.then_some(self)
    }
}

pub(super) fn go_begins(line: &[u8]) -> bool {
    is_goroutine(line)
        || starts_with_any(
            line,
            &[b"panic: ", b"fatal error: ", b"SIGQUIT: quit", b"SIGABRT: abort", b"unexpected fault address"],
        )
}

/// `goroutine 4 [running]:`
pub(super) fn is_goroutine(line: &[u8]) -> bool {
    line.strip_prefix(b"goroutine ")
        .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit) && rest.ends_with(b"]:"))
}

/// `net/http.(*Server).Serve(0xc000, {0x1, 0x2})`
fn is_go_function(line: &[u8]) -> bool {
    let name = line.iter().position(|&b| b == b'(').unwrap_or(0);
    name > 0 && line.ends_with(b")") && !line[..name].contains(&b' ')
}

pub(super) fn ruby_begins(line: &[u8]) -> bool {
    is_ruby_frame(line) || is_ruby_exception(line)
}

/// What belongs to the logger's line before it.
pub(super) fn ruby_in_record(line: &[u8]) -> bool {
    ruby_begins(line)
}

pub(super) fn ruby_goes_on(line: &[u8]) -> bool {
    let (indent, rest) = indent(line);
    (indent > 0 && starts_with_any(rest, &[b"from ", b"... ", b"^"]))
        || starts_with_any(rest, &[b"Causes:", b"Caused by:"])
        // Another one that is not indented is another error, as a rule: frames of loggers are not either, and their last part is a name.
        || (is_ruby_frame(line) && (indent > 0 || !line.ends_with(b")")))
}

/// `app/models/user.rb:69:in 'save'`, after blanks or after `from`.
fn is_ruby_frame(line: &[u8]) -> bool {
    let at = memmem::find(line, b":in ").unwrap_or(0);
    at > 0 && line[at - 1].is_ascii_digit() && matches!(line.get(at + 4), Some(b'`' | b'\'' | b'<'))
}

/// `ActiveRecord::RecordNotFound (Couldn't find User):`
fn is_ruby_exception(line: &[u8]) -> bool {
    let (_, rest) = indent(line);
    let name = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_')).count();
    let is_named = rest.first().is_some_and(u8::is_ascii_uppercase);
    is_named && rest[name..].starts_with(b" (") && line.ends_with(b"):")
}

pub(super) fn php_begins(line: &[u8]) -> bool {
    starts_with_any(
        line,
        &[b"exception '", b"PHP Fatal error", b"Fatal error: ", b"PHP Stack trace:", b"PHP Warning:  Uncaught"],
    )
}

/// What belongs to the logger's line before it.
pub(super) fn php_in_record(line: &[u8]) -> bool {
    starts_with_any(line, &[b"Stack trace:", b"[stacktrace]", b"#0 "])
}

pub(super) fn php_goes_on(line: &[u8]) -> bool {
    let (indent, rest) = indent(line);
    let is_listed = line.strip_prefix(b"PHP ").is_some_and(|rest| {
        let (indent, rest) = self::indent(rest);
        indent > 0 && rest.first().is_some_and(u8::is_ascii_digit)
    });
    let heads = [&b"Stack trace:"[..], b"PHP Stack trace:", b"[stacktrace]", b"[previous exception]", b"\"}"];
    is_numbered(line) || is_listed || starts_with_any(line, &heads) || (indent > 0 && rest.starts_with(b"thrown in "))
}

/// `#0 ...`
pub(super) fn is_numbered(line: &[u8]) -> bool {
    let digits = line.iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
    line.first() == Some(&b'#') && digits > 0 && line.get(digits + 1) == Some(&b' ')
}

/// Where in a panic of Rust the next line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rust {
    /// After the place; the message follows.
    Message,
    /// In the backtrace.
    Frames,
}

impl Rust {
    pub(super) fn begin(line: &[u8]) -> Option<Self> {
        if line.starts_with(b"thread '") && memmem::find(line, b"panicked at ").is_some() {
            return Some(if line.ends_with(b":") { Self::Message } else { Self::Frames });
        }
        // An error that `main` returned, whose causes may follow.
        line.starts_with(b"Error: ").then_some(Self::Frames)
    }

    pub(super) fn next(self, line: &[u8]) -> Option<Self> {
        let goes_on = self == Self::Message
            || indent(line).0 > 0
            || rust_in_record(line)
            || starts_with_any(line, &[b"note: ", b"Location:"]);
        goes_on.then_some(Self::Frames)
    }
}

/// What belongs to the logger's line before it.
pub(super) fn rust_in_record(line: &[u8]) -> bool {
    starts_with_any(line, &[b"stack backtrace:", b"Stack backtrace:", b"Caused by:"])
}

/// Where in a trace of Dart the next line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dart {
    /// The exception's own words come next.
    Message,
    /// After their first line.
    Body,
    /// In the frames.
    Frames,
}

impl Dart {
    pub(super) fn next(self, line: &[u8]) -> Option<Self> {
        if is_numbered(line) {
            return Some(Self::Frames);
        }
        let details = [&b"Receiver:"[..], b"Tried calling:", b"Found:"];
        match self {
            Self::Message => Some(Self::Body),
            Self::Body => (indent(line).0 > 0 || starts_with_any(line, &details)).then_some(Self::Body),
            Self::Frames => line.starts_with(b"<asynchronous suspension>").then_some(Self::Frames),
        }
    }
}

/// The width of the blanks at a line's start, and what follows them.
fn indent(line: &[u8]) -> (usize, &[u8]) {
    let width = line.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    (width, &line[width..])
}

/// The name of a class that a line begins with, packages and all, and what follows it.
fn class_name(line: &[u8]) -> (&[u8], &[u8]) {
    let is_name = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.' | b'`' | b'+' | b'/');
    let starts = line.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    line.split_at(if starts { line.iter().take_while(is_name).count() } else { 0 })
}

fn starts_with_any(line: &[u8], prefixes: &[&[u8]]) -> bool {
    prefixes.iter().any(|prefix| line.starts_with(prefix))
}
