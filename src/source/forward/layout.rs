//! What an event looks like beyond its record, by its tag: fields that are added or left out, a `log` that is an object itself, and which events are
//! kept at all. It writes nothing.

use crate::firelens::{Grep, Output, Plan, TimeFormat};

/// What the events of some tags look like.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Whether they have their tag, where the record has no such field.
    pub(super) tag: bool,
    /// Whether they have their time, where the record has no such field.
    pub(super) time: bool,
    /// Whether the members of a `log` that is a JSON object take its place.
    pub(super) parse_log: bool,
    /// What `FireLens` has more; nothing if there is none of it, and the record stays as it is.
    pub(super) more: Option<Box<More>>,
}

/// What Fluent Bit's filters and outputs make of records.
#[derive(Debug, Clone, Default)]
pub(super) struct More {
    /// Fields that are added, in place of the record's own.
    pub(super) members: Vec<Member>,
    /// The field that the time is put in, and how.
    pub(super) stamp: Option<(String, TimeFormat)>,
    /// The only fields that are kept, unless there are none.
    pub(super) only: Vec<String>,
    /// The field whose value alone is the event.
    pub(super) bare: Option<String>,
    /// Patterns that an event has to pass.
    pub(super) greps: Vec<Grep>,
}

/// A field that is added.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) value: String,
}

impl Default for Layout {
    /// The record with its tag and its time.
    fn default() -> Self {
        Self::new(true, true, false)
    }
}

impl Layout {
    /// Records with their tag and time, if that is so, and their `log` as what it says.
    pub fn new(tag: bool, time: bool, parse_log: bool) -> Self {
        Self { tag, time, parse_log, more: None }
    }

    /// The same with what a plan says of a tag's events.
    #[must_use]
    pub fn with_plan(self, plan: &Plan, tag: &str, output: Option<&Output>) -> Self {
        let records = plan.added(tag).fold(Vec::new(), |mut members: Vec<Member>, record| {
            members.retain(|member| member.name != record.name);
            members.push(Member { name: record.name.clone(), value: record.value.clone() });
            members
        });
        let stamp = output.and_then(|output| {
            let name = output.time_key.clone()?;
            Some((name, TimeFormat::parse(&output.time_key_format).0))
        });
        let more = More {
            members: records,
            stamp,
            only: output.map(|output| output.data_keys.clone()).unwrap_or_default(),
            bare: output.and_then(|output| output.log_key.clone()),
            greps: plan.greps.iter().filter(|grep| grep.pattern.matches(tag)).cloned().collect(),
        };
        let is_empty = more.members.is_empty()
            && more.stamp.is_none()
            && more.only.is_empty()
            && more.bare.is_none()
            && more.greps.is_empty();
        Self { more: (!is_empty).then(|| Box::new(more)), ..self }
    }

    /// Whether records stay as they are, but for a tag and a time.
    pub(super) fn is_plain(&self) -> bool {
        !self.parse_log && self.more.is_none()
    }
}

impl More {
    /// Whether a field of this name is kept.
    pub(super) fn keeps(&self, name: &[u8]) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only.as_bytes() == name)
    }

    /// Whether a field of this name is put in place of the record's own.
    pub(super) fn replaces(&self, name: &[u8]) -> bool {
        self.members.iter().any(|member| member.name.as_bytes() == name) || self.stamps(name)
    }

    /// Whether the time is put there.
    pub(super) fn stamps(&self, name: &[u8]) -> bool {
        self.stamp.as_ref().is_some_and(|(stamp, _)| stamp.as_bytes() == name)
    }
}
