//! The presets: which lines are a stack trace, and which line of a logger one belongs to. A small state machine for each family of languages,
//! by hand; a line that is none of this costs a look at its first byte and a few searches.

mod language;

use super::Step;
use super::header::{self, Header};
use language::{At, Dart, Go, Python, Rust};

/// A language whose traces are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Preset {
    Java,
    Python,
    Go,
    Ruby,
    Node,
    Dotnet,
    Php,
    Rust,
    Dart,
}

impl Preset {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 9] = [
        ("java", Self::Java),
        ("python", Self::Python),
        ("go", Self::Go),
        ("ruby", Self::Ruby),
        ("node", Self::Node),
        ("dotnet", Self::Dotnet),
        ("php", Self::Php),
        ("rust", Self::Rust),
        ("dart", Self::Dart),
    ];
}

/// The languages that are on.
#[expect(clippy::struct_excessive_bools, reason = "a set of languages, which are looked at one by one")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presets {
    /// The languages whose frames begin with `at`: Java, Node, .NET.
    at: bool,
    python: bool,
    go: bool,
    ruby: bool,
    php: bool,
    rust: bool,
    dart: bool,
}

/// Where in a trace the next line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trace {
    /// In none.
    #[default]
    None,
    /// After a line of a logger, which a trace may belong to.
    Header(Header),
    /// In one of Java, Node or .NET.
    At(At),
    /// In one of Python.
    Python(Python),
    /// In one of Go.
    Go(Go),
    /// In one of Ruby.
    Ruby,
    /// In one of PHP.
    Php,
    /// In one of Rust.
    Rust(Rust),
    /// In one of Dart.
    Dart(Dart),
}

impl Presets {
    /// The presets of these languages.
    pub fn new(languages: impl IntoIterator<Item = Preset>) -> Self {
        let mut presets = Self::default();
        for language in languages {
            match language {
                Preset::Java | Preset::Node | Preset::Dotnet => presets.at = true,
                Preset::Python => presets.python = true,
                Preset::Go => presets.go = true,
                Preset::Ruby => presets.ruby = true,
                Preset::Php => presets.php = true,
                Preset::Rust => presets.rust = true,
                Preset::Dart => presets.dart = true,
            }
        }
        presets
    }

    /// What to do with the next line.
    pub(super) fn step(self, trace: &mut Trace, line: &[u8]) -> Step {
        if *trace != Trace::None {
            if line.trim_ascii().is_empty() {
                return Step::Maybe;
            }
            if let Some(next) = self.next(*trace, line) {
                *trace = next;
                return Step::Join;
            }
        }
        *trace = self.begin(line);
        if *trace == Trace::None { Step::Alone } else { Step::Start }
    }

    /// Where the trace goes on after this line, if it does.
    fn next(self, trace: Trace, line: &[u8]) -> Option<Trace> {
        match trace {
            Trace::None => None,
            Trace::Header(header) => self.after_header(header, line),
            Trace::At(at) => at.next(line).map(Trace::At),
            // Java announces a thread's exception in the same words.
            Trace::Python(Python::Thread) if self.at && At::Frames.next(line).is_some() => Some(Trace::At(At::Frames)),
            Trace::Python(python) => python.next(line).map(Trace::Python),
            Trace::Go(go) => go.next(line).map(Trace::Go),
            Trace::Ruby => language::ruby_goes_on(line).then_some(Trace::Ruby),
            Trace::Php => language::php_goes_on(line).then_some(Trace::Php),
            Trace::Rust(rust) => rust.next(line).map(Trace::Rust),
            Trace::Dart(dart) => dart.next(line).map(Trace::Dart),
        }
    }

    /// The trace that belongs to a line of a logger. What a runtime writes when the program ends is none of its own.
    fn after_header(self, header: Header, line: &[u8]) -> Option<Trace> {
        // Most lines after a line of a logger are the next one.
        if line.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        if self.at {
            match header {
                Header::JavaUtil if language::is_java_util_level(line) => return Some(Trace::Header(Header::Plain)),
                Header::Console if line.starts_with(b"      ") => return Some(Trace::Header(Header::Console)),
                _ => {}
            }
            if let Some(at) = At::in_record(line) {
                return Some(Trace::At(at));
            }
        }
        if self.python
            && let Some(python) = Python::begin(line)
        {
            return Some(Trace::Python(python));
        }
        if self.go && language::is_goroutine(line) {
            return Some(Trace::Go(Go::Frames));
        }
        if self.ruby && language::ruby_in_record(line) {
            return Some(Trace::Ruby);
        }
        if self.php && language::php_in_record(line) {
            return Some(Trace::Php);
        }
        if self.rust && language::rust_in_record(line) {
            return Some(Trace::Rust(Rust::Frames));
        }
        (self.dart && language::is_numbered(line)).then_some(Trace::Dart(Dart::Frames))
    }

    /// What a line begins.
    fn begin(self, line: &[u8]) -> Trace {
        // Structured lines are whole as they are.
        if line.first().is_none_or(|&b| b == b'{') {
            return Trace::None;
        }
        if let Some(header) = header::of(line) {
            return Trace::Header(header);
        }
        if self.dart && line.starts_with(b"Unhandled exception:") {
            return Trace::Dart(Dart::Message);
        }
        if self.python
            && let Some(python) = Python::begin(line)
        {
            return Trace::Python(python);
        }
        if self.go && language::go_begins(line) {
            return Trace::Go(Go::Message);
        }
        if self.rust
            && let Some(rust) = Rust::begin(line)
        {
            return Trace::Rust(rust);
        }
        if self.php && language::php_begins(line) {
            return Trace::Php;
        }
        if self.ruby && language::ruby_begins(line) {
            return Trace::Ruby;
        }
        if self.at
            && let Some(at) = At::begin(line)
        {
            return Trace::At(at);
        }
        Trace::None
    }
}
