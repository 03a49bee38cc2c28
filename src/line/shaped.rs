//! A line by way of its fields: parsed, shaped, and rendered in one pass. Lines that need none of it go the direct way.

use std::borrow::Cow;

use super::Lines;
use super::emit::{Emitter, Text};
use crate::config::OnParseError;
use crate::event::{Event, Rejected, Value};
use crate::names;
use crate::parse::sink::Writer;
use crate::parse::{self, Fields, MESSAGE, Parsed, Step};
use crate::shape::{Stamp, Told};
use crate::times;
use crate::transform::{Context, Outcome};

/// What transforms drop events for, in the words of the `reason` label.
pub const DROP_REASONS: [&str; 5] = ["keep", "drop", "sample", "rate_limit", "dedupe"];

/// What became of the times and the drops of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shaped {
    /// Events that transforms dropped, by [`DROP_REASONS`].
    pub dropped: [u64; DROP_REASONS.len()],
    /// Events without a time of their own.
    pub times_missing: u64,
    /// Events whose time could not be read.
    pub times_unreadable: u64,
    /// By how many nanoseconds the last event that says its time is older than its reading.
    pub skew_nanos: Option<i64>,
    /// The oldest time of an event that is known, by itself or by the runtime (of whose times only the first is looked at), in nanoseconds since 1970.
    pub oldest: Option<u64>,
}

impl Shaped {
    fn drop_one(&mut self, reason: &str) {
        let place = DROP_REASONS.iter().position(|known| *known == reason);
        // A reason that has no place here would be one of a new transform.
        self.dropped[place.unwrap_or_default()] += 1;
    }

    /// An event's time is known.
    fn note_time(&mut self, nanos: i128) {
        let nanos = u64::try_from(nanos).unwrap_or(0);
        self.oldest = Some(self.oldest.map_or(nanos, |oldest| oldest.min(nanos)));
    }

    /// When the runtime wrote the first line.
    pub(super) fn note_runtime(&mut self, time: &str) {
        if self.oldest.is_none()
            && !time.is_empty()
            && let Some(nanos) = times::parse_rfc3339(time)
        {
            self.note_time(nanos);
        }
    }

    fn time(&mut self, told: Told, read_at: u64) {
        match told {
            Told::Own(skew) => {
                self.note_time(i128::from(read_at) - skew);
                let nearest = if skew < 0 { i64::MIN } else { i64::MAX };
                self.skew_nanos = Some(i64::try_from(skew).unwrap_or(nearest));
            }
            Told::Runtime => {}
            Told::Missing => self.times_missing += 1,
            Told::Unreadable => self.times_unreadable += 1,
        }
    }
}

impl Emitter {
    /// Makes an event of a line, unless it is refused, blank or dropped.
    pub(super) fn shaped(&self, text: Text<'_>, lines: &mut Lines, invalid_utf8: &mut bool) -> Parsed {
        let bytes = parse::without_return(text.bytes);
        if bytes.trim_ascii().is_empty() && !self.config.parse.takes_blank() {
            return Parsed::Blank;
        }
        let line = parse::text(bytes);
        *invalid_utf8 |= matches!(line, Cow::Owned(_));
        // Where nothing is done to an event, it needs no list of its fields.
        if self.config.shape.is_empty() && lines.trail.is_none() {
            let writer = Writer::new(self.fields(text.start, text.origin), &mut lines.rendered);
            if self.config.parse.write(&line, writer) {
                return Parsed::Rendered;
            }
        }
        let stamp = Stamp::new();
        let mut event = std::mem::take(&mut lines.shaping.memory).recycle();
        let parsed = self.make(&line, text, &mut event, &stamp, lines);
        if parsed == Parsed::Rendered {
            event.write_to(&mut lines.rendered);
        }
        lines.shaping.memory = event.recycle();
        parsed
    }

    fn make<'a>(
        &'a self,
        line: &'a str,
        text: Text<'a>,
        event: &mut Event<'a>,
        stamp: &'a Stamp,
        lines: &mut Lines,
    ) -> Parsed {
        let (parser, (time, level)) = match self.fields_of(line, event, lines) {
            Some(step) => (step.parser(), step.customs()),
            None => match self.config.on_parse_error {
                OnParseError::Keep => {
                    event.push(MESSAGE, Value::text(line));
                    ("raw", (None, None))
                }
                OnParseError::Drop => {
                    lines.counts.dropped_parse += 1;
                    return Parsed::Refused;
                }
                OnParseError::DeadLetter => {
                    self.reject(text.bytes, "parse_error", lines);
                    return Parsed::Refused;
                }
            },
        };
        let shape = &self.config.shape;
        if let Some(timestamp) = &shape.timestamp {
            let runtime = text.origin.map(|origin| origin.time).filter(|time| !time.is_empty());
            let told = timestamp.apply(&mut lines.shaping, time, runtime, event, stamp);
            lines.counts.shaped.time(told, lines.shaping.read_at);
            note(lines, || match told {
                Told::Own(_) => format!("{}: the time of the event", timestamp.name),
                Told::Runtime => format!("{}: the time of the container runtime", timestamp.name),
                Told::Missing => format!("{}: when it was read, since no field says a time", timestamp.name),
                Told::Unreadable => format!("{}: when it was read, since its time cannot be read", timestamp.name),
            });
        }
        if let Some(wanted) = &shape.level {
            let is_known = wanted.apply(level, event);
            note(lines, || format!("{}: {}", wanted.name, if is_known { "normalised" } else { "none that is known" }));
        }
        if let Some(scheme) = shape.names {
            names::rename(scheme, parser, event);
        }
        let fields = self.fields(text.start, text.origin);
        Fields { id: None, ..fields }.set_on(event);
        let parsed = self.transformed(event, lines);
        // What names an event is none of its words.
        fields.set_id_on(event);
        parsed
    }

    /// Parses, and answers what fitted; nothing if the line is refused.
    fn fields_of<'a>(&'a self, line: &'a str, event: &mut Event<'a>, lines: &mut Lines) -> Option<&'a Step> {
        let trail = &mut lines.trail;
        let mut refusals = |parser: &str, reason: &str| {
            if let Some(trail) = trail {
                trail.push(format!("{parser}: refused, since {reason}"));
            }
        };
        let Ok(fit) = self.config.parse.parse(line, event, &mut refusals) else {
            lines.counts.parse_errors += 1;
            return None;
        };
        lines.counts.nested_errors += u64::from(fit.nested_refused);
        note(lines, || format!("{}: fits", fit.step.label()));
        Some(fit.step)
    }

    /// Renders an event that is not of a line, with what all events of the file get but a name.
    pub(super) fn told(&self, event: &str, start: u64, lines: &mut Lines) {
        let stamp = Stamp::new();
        let Ok(mut event) = Event::from_json(event) else { return };
        if let Some(timestamp) = &self.config.shape.timestamp {
            timestamp.apply(&mut lines.shaping, None, None, &mut event, &stamp);
        }
        Fields { id: None, ..self.fields(start, None) }.set_on(&mut event);
        event.write_to(&mut lines.rendered);
    }

    /// Says what became of a line that went the direct way.
    pub(super) fn explain_direct(&self, text: Text<'_>, parsed: Parsed, lines: &mut Lines) {
        let label = self.config.parse.label();
        if parsed != Parsed::Refused {
            return note(lines, || format!("{label}: fits"));
        }
        let line = parse::text(text.bytes.trim_ascii());
        let reason = Event::default().read_json(&line).err().unwrap_or("it cannot be read");
        note(lines, || format!("{label}: refused, since {reason}"));
    }

    /// Has a line set aside, without the secrets that events are to have none of.
    pub(super) fn reject(&self, line: &[u8], reason: &'static str, lines: &mut Lines) {
        let line = match self.redacted(line, lines) {
            Some(redacted) => redacted.into_bytes(),
            None => line.to_vec(),
        };
        lines.rejected.push(Rejected { line, reason });
    }

    /// A text that is no event without its secrets; nothing if there are none.
    pub(super) fn redacted(&self, bytes: &[u8], lines: &mut Lines) -> Option<String> {
        let shape = &self.config.shape;
        if !shape.pipeline.redacts() {
            return None;
        }
        let context = self.context(lines.shaping.read_at);
        match lines.shaping.redact(shape, &parse::text(bytes), &context) {
            Cow::Borrowed(_) => None,
            Cow::Owned(redacted) => Some(redacted),
        }
    }

    fn context(&self, now_nanos: u64) -> Context<'_> {
        let whence = self.added.whence();
        Context { now_nanos, source: &whence.source, path: &whence.path, host: &whence.host }
    }

    fn transformed<'a>(&'a self, event: &mut Event<'a>, lines: &mut Lines) -> Parsed {
        let shape = &self.config.shape;
        if shape.pipeline.is_empty() {
            return Parsed::Rendered;
        }
        let context = self.context(lines.shaping.read_at);
        match lines.shaping.transform(shape, event, &context, lines.trail.as_mut()) {
            Outcome::Kept => Parsed::Rendered,
            Outcome::Dropped { reason, .. } => {
                lines.counts.shaped.drop_one(reason);
                Parsed::Dropped
            }
        }
    }
}

/// Says what was done, if somebody asks.
fn note(lines: &mut Lines, text: impl FnOnce() -> String) {
    if let Some(trail) = &mut lines.trail {
        trail.push(text());
    }
}
