//! A line by way of its fields: parsed, shaped, and rendered in one pass. Lines that need none of it go the direct way.

use super::Lines;
use super::emit::{Emitter, Text};
use crate::config::OnParseError;
use crate::event::{Event, Rejected, Value};
use crate::parse::{self, MESSAGE, Parsed};

/// What goes from line to line: memory, and what transforms remember. It is a source's; whoever reads several files of one hands it on.
#[derive(Debug, Default)]
pub struct Shaping {
    /// The memory of an event's list of fields.
    memory: Event<'static>,
}

impl Emitter {
    /// Makes an event of a line, unless it is refused, blank or dropped.
    pub(super) fn shaped(&self, text: Text<'_>, lines: &mut Lines, invalid_utf8: &mut bool) -> Parsed {
        let bytes = parse::without_return(text.bytes);
        if bytes.trim_ascii().is_empty() && !self.config.parse.takes_blank() {
            return Parsed::Blank;
        }
        let line = parse::text(bytes);
        *invalid_utf8 |= matches!(line, std::borrow::Cow::Owned(_));
        let mut event = std::mem::take(&mut lines.shaping.memory).recycle();
        let parsed = self.make(&line, text, &mut event, lines);
        if parsed == Parsed::Rendered {
            event.write_to(&mut lines.rendered);
        }
        lines.shaping.memory = event.recycle();
        parsed
    }

    fn make<'a>(&'a self, line: &'a str, text: Text<'a>, event: &mut Event<'a>, lines: &mut Lines) -> Parsed {
        let trail = &mut lines.trail;
        let mut refusals = |parser: &str, reason: &str| {
            if let Some(trail) = trail {
                trail.push(format!("{parser}: refused, since {reason}"));
            }
        };
        match self.config.parse.parse(line, event, &mut refusals) {
            Ok(fit) => {
                lines.counts.nested_errors += u64::from(fit.nested_refused);
                note(lines, || format!("{}: fits", fit.step.label()));
            }
            Err(_) => {
                lines.counts.parse_errors += 1;
                match self.config.on_parse_error {
                    OnParseError::Keep => event.push(MESSAGE, Value::text(line)),
                    OnParseError::Drop => {
                        lines.counts.dropped_parse += 1;
                        return Parsed::Refused;
                    }
                    OnParseError::DeadLetter => {
                        lines.rejected.push(Rejected { line: text.bytes.to_vec(), reason: "parse_error" });
                        return Parsed::Refused;
                    }
                }
            }
        }
        self.fields(text.start, text.origin).set_on(event);
        Parsed::Rendered
    }
}

/// Says what was done, if somebody asks.
fn note(lines: &mut Lines, text: impl FnOnce() -> String) {
    if let Some(trail) = &mut lines.trail {
        trail.push(text());
    }
}
