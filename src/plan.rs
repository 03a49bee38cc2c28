//! What a load needs of a stream, and what it costs: shards with headroom, the risk of hot keys, the month's bill provisioned and on demand,
//! packed and not. Pure arithmetic on a load that was measured; where it was measured is the business of `plan/`.

pub mod exposition;
pub mod measured;
pub mod prices;
pub mod report;
pub mod sample;

use std::collections::BTreeMap;

use crate::kinesis::hash::hash_key;
use prices::Prices;

/// What a shard takes in a second (Kinesis Data Streams quotas).
pub const SHARD_BYTES: f64 = 1_048_576.0;
/// Records that a shard takes in a second.
pub const SHARD_RECORDS: f64 = 1_000.0;
/// Hours of a month, as AWS' price examples count.
pub const MONTH_HOURS: f64 = 730.0;
/// How far above what bytes and records need shards are looked for against skewed keys.
const MAX_SKEW_FACTOR: u64 = 8;

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a sample are far below 2^52")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// What is sent in a second, on average.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sent {
    /// Kinesis records.
    pub records: f64,
    /// Their bytes, partition keys with them.
    pub bytes: f64,
    /// PUT payload units, which provisioned streams bill.
    pub payload_units: f64,
    /// Bytes, each record's rounded up to 1 KiB, which on-demand streams bill.
    pub rounded_bytes: f64,
}

/// A partition key's part of all bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyShare {
    /// The key.
    pub key: String,
    /// Between 0 and 1.
    pub share: f64,
}

/// A load as it was measured, of all agents together.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Events a second.
    pub events: f64,
    /// Their bytes, with their delimiter.
    pub event_bytes: f64,
    /// As the configuration packs them.
    pub sent: Sent,
    /// As records of one event each.
    pub alone: Sent,
    /// The partition keys that events bring, the largest first; what is of no key here is spread evenly.
    pub keys: Vec<KeyShare>,
}

/// What is planned for beyond the average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// How many times the average the busiest seconds have.
    pub peak: f64,
    /// What stays free even then, as a part of what is used: 0.25 is a quarter more.
    pub headroom: f64,
}

/// Shards, and why so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards {
    /// For the bytes.
    pub for_bytes: u64,
    /// For the records.
    pub for_records: u64,
    /// For the busiest shard, as the keys fall; none if no number of shards is enough.
    pub for_keys: Option<u64>,
}

impl Shards {
    /// What it takes; without an answer for the keys, what the rest needs.
    pub fn needed(&self) -> u64 {
        self.for_bytes.max(self.for_records).max(self.for_keys.unwrap_or(0))
    }
}

/// A month's bill, in the prices' currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bill {
    /// A provisioned stream: its shards, and PUT payload units.
    pub provisioned: f64,
    /// An on-demand stream: the stream, and its data.
    pub on_demand: f64,
}

/// What a load needs and costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Shards for events as they are packed.
    pub shards: Shards,
    /// Shards for the same events one by one.
    pub alone_shards: Shards,
    /// What events cost as they are packed.
    pub bill: Bill,
    /// What they would cost one by one.
    pub alone_bill: Bill,
    /// The part of a shard's bytes that the hottest key takes in the busiest seconds.
    pub hottest: Option<(KeyShare, f64)>,
}

impl Plan {
    /// The plan for a load.
    pub fn new(load: &Load, margin: Margin, prices: &Prices) -> Self {
        let shards = shards(&load.sent, &load.keys, margin);
        let alone_shards = self::shards(&load.alone, &load.keys, margin);
        let hottest =
            load.keys.first().map(|key| (key.clone(), key.share * load.sent.bytes * margin.peak / SHARD_BYTES));
        let bill = bill(&load.sent, shards.needed(), prices);
        let alone_bill = self::bill(&load.alone, alone_shards.needed(), prices);
        Self { shards, alone_shards, bill, alone_bill, hottest }
    }

    /// Whether a provisioned stream is the cheaper one.
    pub fn provisioned(&self) -> bool {
        self.bill.provisioned <= self.bill.on_demand
    }
}

fn shards(sent: &Sent, keys: &[KeyShare], margin: Margin) -> Shards {
    let factor = margin.peak * (1.0 + margin.headroom);
    let for_bytes = ceil(sent.bytes * factor / SHARD_BYTES);
    let for_records = ceil(sent.records * factor / SHARD_RECORDS);
    let least = for_bytes.max(for_records);
    let fits = |count: &u64| busiest(keys, *count) * sent.bytes * factor <= SHARD_BYTES;
    let for_keys =
        if keys.is_empty() { Some(least) } else { (least..=least.saturating_mul(MAX_SKEW_FACTOR)).find(fits) };
    Shards { for_bytes, for_records, for_keys }
}

/// The part of all bytes that goes to the busiest of so many even shards: that of its keys, and an even part of what is of none of them.
fn busiest(keys: &[KeyShare], count: u64) -> f64 {
    let width = u128::MAX / u128::from(count);
    let mut parts = BTreeMap::<u128, f64>::new();
    for key in keys {
        let shard = (hash_key(&key.key) / width).min(u128::from(count - 1));
        *parts.entry(shard).or_default() += key.share;
    }
    let rest = (1.0 - keys.iter().map(|key| key.share).sum::<f64>()).max(0.0);
    parts.into_values().fold(0.0, f64::max) + rest / float(count)
}

fn bill(sent: &Sent, shards: u64, prices: &Prices) -> Bill {
    let seconds = MONTH_HOURS * 3_600.0;
    let units = sent.payload_units * seconds / 1_000_000.0;
    let gigabytes = sent.rounded_bytes * seconds / float(1 << 30);
    Bill {
        provisioned: float(shards) * prices.shard_hour * MONTH_HOURS + units * prices.million_put_payload_units,
        on_demand: prices.on_demand_stream_hour * MONTH_HOURS + gigabytes * prices.on_demand_gb_in,
    }
}

/// At least one, and no more than there could ever be.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 1 and a million")]
fn ceil(number: f64) -> u64 {
    number.ceil().clamp(1.0, 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Margin = Margin { peak: 2.0, headroom: 0.25 };

    fn load(keys: &[(&str, f64)]) -> Load {
        Load {
            events: 10_000.0,
            event_bytes: 3_000_000.0,
            sent: Sent { records: 60.0, bytes: 3_072_000.0, payload_units: 120.0, rounded_bytes: 3_072_000.0 },
            alone: Sent { records: 10_000.0, bytes: 3_200_000.0, payload_units: 10_000.0, rounded_bytes: 10_240_000.0 },
            keys: keys.iter().map(|&(key, share)| KeyShare { key: key.to_owned(), share }).collect(),
        }
    }

    /// 3,072,000 B/s at twice that and a quarter more are 7.32 shards; 60 records a second are nothing, 10,000 are 25.
    #[test]
    fn shards_are_for_bytes_or_for_records() {
        let plan = Plan::new(&load(&[]), MARGIN, &Prices::default());
        assert_eq!(plan.shards, Shards { for_bytes: 8, for_records: 1, for_keys: Some(8) });
        assert_eq!(plan.alone_shards, Shards { for_bytes: 8, for_records: 25, for_keys: Some(25) });
    }

    /// 120 units a second are 315.36 million in 730 hours.
    #[test]
    fn the_bill_is_the_sum_of_its_parts() {
        let prices = Prices {
            shard_hour: 0.015,
            million_put_payload_units: 0.014,
            on_demand_stream_hour: 0.04,
            on_demand_gb_in: 0.08,
            ..Prices::default()
        };
        let plan = Plan::new(&load(&[]), MARGIN, &prices);
        assert!((plan.bill.provisioned - (8.0 * 0.015 * 730.0 + 315.36 * 0.014)).abs() < 1e-6);
        let gigabytes = 3_072_000.0 * 2_628_000.0 / 1_073_741_824.0;
        assert!((plan.bill.on_demand - (0.04 * 730.0 + gigabytes * 0.08)).abs() < 1e-6);
        assert!(plan.alone_bill.provisioned > plan.bill.provisioned && plan.provisioned());
    }

    #[test]
    fn one_key_with_most_of_it_is_more_than_any_shard_takes() {
        let plan = Plan::new(&load(&[("a", 0.9), ("b", 0.1)]), MARGIN, &Prices::default());
        assert_eq!((plan.shards.for_keys, plan.shards.needed()), (None, 8));
        let (hottest, part) = plan.hottest.unwrap();
        assert_eq!(hottest.key, "a");
        assert!((part - 0.9 * 3_072_000.0 * 2.0 / 1_048_576.0).abs() < 1e-9);
    }

    /// Half of 3,072,000 B/s at 2.5 times that is of one key: three and a half shards' bytes, too much for one; a tenth is 0.73 of one, which needs shards
    /// of which the rest fills no more than 0.27: 6.59 shards' bytes in 25 parts.
    #[test]
    fn what_is_of_no_key_is_spread_evenly() {
        let needed = |share| Plan::new(&load(&[("a", share)]), MARGIN, &Prices::default()).shards.for_keys;
        assert_eq!((needed(0.5), needed(0.1), needed(0.01)), (None, Some(25), Some(8)));
    }

    #[test]
    fn many_even_keys_need_some_shards_more_than_an_even_spread() {
        let keys: Vec<(String, f64)> = (0..1_000).map(|n| (format!("user-{n}"), 0.001)).collect();
        let keys: Vec<(&str, f64)> = keys.iter().map(|(key, share)| (key.as_str(), *share)).collect();
        let needed = Plan::new(&load(&keys), MARGIN, &Prices::default()).shards.for_keys.unwrap();
        assert!((8..=12).contains(&needed), "{needed}");
        // The busiest of so many really has room, and of one less it has not, or one less is what bytes need.
        let keys = load(&keys).keys;
        assert!(busiest(&keys, needed) * 3_072_000.0 * 2.5 <= SHARD_BYTES);
        assert!(needed == 8 || busiest(&keys, needed - 1) * 3_072_000.0 * 2.5 > SHARD_BYTES);
    }
}
