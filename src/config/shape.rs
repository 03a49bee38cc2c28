//! The meaning of `timestamp`, `level` and `names`, and how they are shown. What is done with them is not decided here.

use serde_json::{Value, json};

use super::limits;
use super::raw::{RawLevel, RawNames, RawNumbers, RawTimestamp, Written};
use super::resolve::Resolver;
use super::transforms::RawTransform;
use crate::level::Numbers;
use crate::names::Scheme;
use crate::parse::{Parser, Step};
use crate::shape::{Level, Shape, Timestamp};
use crate::times::{Times, TimesError};
use crate::transform::{Name, Nested, Pipeline};

impl Resolver<'_> {
    pub(super) fn shape(
        &mut self,
        path: &str,
        timestamp: Option<RawTimestamp>,
        level: Option<RawLevel>,
        names: Option<RawNames>,
        transforms: Vec<Written<RawTransform>>,
    ) -> Shape {
        let names = names.map(|raw| match raw {
            RawNames::Otel => Scheme::Otel,
            RawNames::Ecs => Scheme::Ecs,
        });
        let timestamp = timestamp.map(|raw| self.timestamp(&format!("{path}.timestamp"), raw, names));
        let level = level.map(|raw| self.level(&format!("{path}.level"), raw, names));
        let (transforms, mut written): (Vec<RawTransform>, Vec<Value>) =
            transforms.into_iter().map(|Written { raw, text }| (raw, text)).unzip();
        written.iter_mut().for_each(mask_salt);
        let mut parsers = Vec::new();
        let transforms = self.transforms(&format!("{path}.transforms"), transforms, &mut |this, path, value| {
            this.parsed_field(path, value, &mut parsers)
        });
        Shape { timestamp, level, names, pipeline: Pipeline::new(transforms), parsers, written }
    }

    /// The transform that parses a field, with its parser among the others.
    fn parsed_field(&mut self, path: &str, value: &Value, parsers: &mut Vec<Parser>) -> Option<Nested> {
        let Some((Step::Field(nested), _)) = self.step(path, value) else {
            if !self.is_bad(path) && !self.has_bad_part(path) {
                let message =
                    "has no field, which names what is parsed; write a mapping such as {field: log, as: json}";
                self.report(path, message.to_owned());
            }
            return None;
        };
        let name = Name::parse(&nested.field).map_err(|error| self.report(&format!("{path}.field"), error.to_string()));
        parsers.push(nested.parser);
        Some(Nested::new(name.ok()?, parsers.len() - 1))
    }

    fn timestamp(&mut self, path: &str, raw: RawTimestamp, names: Option<Scheme>) -> Timestamp {
        let formats = match raw.format {
            None => Vec::new(),
            Some(Value::String(format)) => vec![format],
            Some(Value::Array(items)) => {
                let texts = items.iter().enumerate().filter_map(|(index, item)| {
                    if item.is_string() {
                        return item.as_str().map(str::to_owned);
                    }
                    self.report(&format!("{path}.format[{index}]"), format!("{item} is no format; allowed: text"));
                    None
                });
                texts.collect()
            }
            Some(other) => {
                self.report(
                    &format!("{path}.format"),
                    format!("{other} is no format; allowed: text, or a list of texts"),
                );
                Vec::new()
            }
        };
        if let Err(error) = Times::new(&formats, raw.zone.as_deref()) {
            let field = match error {
                TimesError::UnknownZone { .. } | TimesError::NoLocalZone => "zone",
                _ => "format",
            };
            self.report(&format!("{path}.{field}"), error.to_string());
        }
        Timestamp {
            field: self.field_name(&format!("{path}.field"), raw.field),
            formats,
            zone: raw.zone,
            name: self
                .field_name(&format!("{path}.name"), raw.name)
                .unwrap_or_else(|| names.map_or(limits::TIMESTAMP_NAME, Scheme::time).to_owned()),
        }
    }

    fn level(&mut self, path: &str, raw: RawLevel, names: Option<Scheme>) -> Level {
        Level {
            field: self.field_name(&format!("{path}.field"), raw.field),
            numbers: match raw.numbers {
                None | Some(RawNumbers::Tens) => Numbers::Tens,
                Some(RawNumbers::Syslog) => Numbers::Syslog,
                Some(RawNumbers::Otel) => Numbers::Otel,
            },
            name: self
                .field_name(&format!("{path}.name"), raw.name)
                .unwrap_or_else(|| names.map_or(limits::LEVEL_NAME, Scheme::level).to_owned()),
        }
    }

    fn field_name(&mut self, path: &str, name: Option<String>) -> Option<String> {
        if name.as_deref() == Some("") {
            self.report(path, "is empty; write a field's name, or remove it".to_owned());
        }
        name
    }
}

/// What nobody may see is not shown.
fn mask_salt(transform: &mut Value) {
    if let Some(salt) = transform.get_mut("redact").and_then(|redact| redact.get_mut("salt")) {
        *salt = "***".into();
    }
}

/// As `timestamp` is written.
pub(super) fn written_timestamp(timestamp: &Timestamp) -> Value {
    let format = match &timestamp.formats[..] {
        [] => json!("auto"),
        [one] => json!(one),
        several => json!(several),
    };
    json!({
        "field": timestamp.field, "format": format, "zone": timestamp.zone.as_deref().unwrap_or("UTC"), "name": timestamp.name
    })
}

/// As `level` is written.
pub(super) fn written_level(level: &Level) -> Value {
    let numbers = match level.numbers {
        Numbers::Tens => "tens",
        Numbers::Syslog => "syslog",
        Numbers::Otel => "otel",
    };
    json!({ "field": level.field, "numbers": numbers, "name": level.name })
}
