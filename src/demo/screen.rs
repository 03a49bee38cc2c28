//! What the demo says on stdout: plain lines, and on a terminal colours and a progress line. It knows nothing of what it shows.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::time::Duration;

use serde::Deserialize;

/// Characters of an event that are shown.
const MAX_EVENT_CHARS: usize = 96;
/// Bytes that these have at most, and one more character, so that it shows that something is left out.
const MAX_EVENT_BYTES: usize = 4 * (MAX_EVENT_CHARS + 1);
/// Back to the first column, and nothing behind it.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// A colour of the terminal's own palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Colour {
    Red,
    Green,
    Yellow,
    Grey,
}

/// How much a screen can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ability {
    /// A line can be written over.
    pub progress: bool,
    /// Colours are shown, and wanted.
    pub colour: bool,
}

/// One of the events that nobody has seen yet.
#[derive(Debug, Default)]
struct Sample {
    seen: u64,
    event: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    shard: usize,
    colour: Option<Colour>,
    text: String,
    latency: Option<Duration>,
}

/// The standard output.
#[derive(Debug)]
pub struct Screen {
    ability: Ability,
    progress: String,
    sample: Sample,
    closed: bool,
    error: Option<io::Error>,
}

impl Screen {
    /// A screen that can do this.
    pub fn new(ability: Ability) -> Self {
        Self { ability, progress: String::new(), sample: Sample::default(), closed: false, error: None }
    }

    /// Whether nobody looks any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What kept stdout from taking everything, unless its reader left.
    pub fn error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Shows a line.
    pub fn line(&mut self, text: impl fmt::Display) {
        let clear = if self.progress.is_empty() { "" } else { CLEAR_LINE };
        let text = format!("{clear}{text}\n{}", self.progress);
        self.write(&text);
    }

    /// A text in a colour, where there are any.
    pub fn paint(&self, colour: Colour, text: impl fmt::Display) -> String {
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Grey => 90,
        };
        if self.ability.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Has an event ready that may be shown.
    pub fn offer(&mut self, shard: usize, event: &[u8], latency: Option<Duration>) {
        self.sample.seen += 1;
        // Each of them is the one with the same chance, so that the first of a record is not always shown.
        if fastrand::u64(..self.sample.seen) == 0 {
            let (colour, text) = describe(event);
            self.sample.event = Some(Shown { shard, colour, text, latency });
        }
    }

    /// Shows one of the events that were offered since the last time.
    pub fn show_event(&mut self) {
        let Some(Shown { shard, colour, text, latency }) = std::mem::take(&mut self.sample).event else { return };
        let latency = latency.map_or_else(|| "?".to_owned(), |latency| latency.as_millis().to_string());
        let place = self.paint(Colour::Grey, format_args!("shard {shard} {latency:>5} ms"));
        let text = colour.map_or_else(|| text.clone(), |colour| self.paint(colour, &text));
        self.line(format_args!("{place}  {text}"));
    }

    /// Replaces the progress line, where there can be one.
    pub fn progress(&mut self, text: String) {
        if self.ability.progress && text != self.progress {
            self.write(&format!("{CLEAR_LINE}{text}"));
            self.progress = text;
        }
    }

    fn write(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            self.closed = true;
            // Whoever closed the pipe, such as `head`, has seen enough.
            self.error = (error.kind() != ErrorKind::BrokenPipe).then_some(error);
        }
    }
}

/// What services have in common, if they log JSON.
#[derive(Deserialize)]
struct Known {
    time: String,
    level: String,
    service: String,
    message: String,
    latency_ms: u32,
}

/// An event in one short line, whatever bytes it has, and its colour.
fn describe(event: &[u8]) -> (Option<Colour>, String) {
    let Ok(known) = serde_json::from_slice::<Known>(event) else {
        return (None, shorten(&String::from_utf8_lossy(event.get(..MAX_EVENT_BYTES).unwrap_or(event))));
    };
    let colour = match known.level.as_str() {
        "ERROR" => Colour::Red,
        "WARN" => Colour::Yellow,
        "DEBUG" => Colour::Grey,
        _ => Colour::Green,
    };
    let Known { time, level, service, message, latency_ms } = known;
    (Some(colour), shorten(&format!("{time} {level:<5} {service:<8} {message} ({latency_ms} ms)")))
}

/// The first characters, with nothing in them that a terminal would obey.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_EVENT_CHARS).flat_map(escape).collect();
    if text.chars().nth(MAX_EVENT_CHARS).is_some() {
        short.push('…');
    }
    short
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_harmless_line() {
        let (colour, text) = describe(b"\x1b[31mred\0\r\xff");
        assert_eq!((colour, text.as_str()), (None, "\\u{1b}[31mred\\u{0}\\r\u{fffd}"));
        let (_, text) = describe("é".repeat(5000).as_bytes());
        assert_eq!(text.chars().count(), MAX_EVENT_CHARS + 1);
    }

    #[test]
    fn a_services_event_is_told_in_words() {
        let event = br#"{"time":"t","level":"WARN","service":"search","message":"a\nb","latency_ms":7,"more":{}}"#;
        assert_eq!(describe(event), (Some(Colour::Yellow), "t WARN  search   a\\nb (7 ms)".to_owned()));
    }

    #[test]
    fn colours_are_shown_only_where_they_are_wanted() {
        assert_eq!(Screen::new(Ability::default()).paint(Colour::Red, "x"), "x");
        let colour = Ability { colour: true, progress: false };
        assert_eq!(Screen::new(colour).paint(Colour::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
