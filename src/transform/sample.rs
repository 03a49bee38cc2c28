//! `sample`: a part of the events for all of them. With a key, either all events of a key stay or none, on every machine alike.

use super::Context;
use super::condition::Condition;
use super::table::stable_hash;
use super::text::Text;
use crate::event::{Event, Value};

/// The field that says of which part an event is: one in `1 / sample_rate`.
pub const RATE_FIELD: &str = "sample_rate";

/// A part of the events.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    rate: f64,
    /// The rate as JSON.
    written: String,
    key: Option<Text>,
    when: Option<Condition>,
}

impl Sample {
    /// The part that is kept, from 0 to 1, by key or by chance, of the events for which the condition holds.
    pub fn new(rate: f64, key: Option<Text>, when: Option<Condition>) -> Self {
        let rate = rate.clamp(0.0, 1.0);
        Self { rate, written: serde_json::Value::from(rate).to_string(), key, when }
    }

    /// Whether the event stays; one that does, and stands for others too, says so. An event without the key is left to chance.
    pub(super) fn keeps<'a>(
        &'a self,
        (random, scratch): (&mut fastrand::Rng, &mut String),
        event: &mut Event<'a>,
        at: &Context<'_>,
    ) -> Option<bool> {
        if self.when.as_ref().is_some_and(|when| !when.holds(event)) {
            return None;
        }
        scratch.clear();
        let is_keyed = self.key.as_ref().is_some_and(|key| key.write(event, at, scratch));
        let draw = if is_keyed { stable_hash(scratch.as_bytes()) >> 32 } else { u64::from(random.u32(..)) };
        let draw = f64::from(u32::try_from(draw).unwrap_or(u32::MAX)) / 2_f64.powi(32);
        if draw < self.rate {
            event.set(RATE_FIELD, Value::Raw(&self.written));
        }
        Some(draw < self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;

    fn kept(sample: &Sample, lines: impl Iterator<Item = String>) -> Vec<String> {
        let (mut random, mut scratch) = (fastrand::Rng::with_seed(7), String::new());
        let mut kept = Vec::new();
        for line in lines {
            let mut event = event(&line);
            if sample.keeps((&mut random, &mut scratch), &mut event, &Context::default()) != Some(false) {
                kept.push(rendered(&event));
            }
        }
        kept
    }

    #[test]
    fn by_chance_the_part_is_about_the_rate() {
        let some = kept(&Sample::new(0.1, None, None), (0..10_000).map(|n| format!("{{\"n\":{n}}}")));
        assert!((900..1100).contains(&some.len()), "{}", some.len());
        assert!(some.iter().all(|line| line.ends_with(r#","sample_rate":0.1}"#)));
        assert!(kept(&Sample::new(0.0, None, None), (0..1000).map(|_| "{}".to_owned())).is_empty());
        assert_eq!(kept(&Sample::new(1.0, None, None), (0..1000).map(|_| "{}".to_owned())).len(), 1000);
    }

    #[test]
    fn a_key_stays_or_goes_as_a_whole() {
        let sample = Sample::new(0.25, Some(Text::parse("{trace}").unwrap()), None);
        let lines = || (0..8000).map(|n| format!("{{\"trace\":\"t{}\"}}", n % 800));
        let some = kept(&sample, lines());
        assert_eq!(some.len() % 10, 0);
        assert!((1600..2400).contains(&some.len()), "{}", some.len());
        let mut traces: Vec<_> = some.iter().collect();
        traces.sort();
        traces.dedup();
        assert_eq!(traces.len() * 10, some.len());
    }

    #[test]
    fn what_it_is_not_for_is_not_touched() {
        let when = Some(Condition::parse("level == 'debug'").unwrap());
        let some = kept(
            &Sample::new(0.0, None, when),
            [r#"{"level":"debug"}"#, r#"{"level":"error"}"#].map(str::to_owned).into_iter(),
        );
        assert_eq!(some, [r#"{"level":"error"}"#]);
    }
}
