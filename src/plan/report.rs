//! A plan in words, as JSON, and as the variables of the Terraform module `stream`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::measured::Measured;
use super::prices::Prices;
use super::{Bill, Load, Margin, Plan, Sent, Shards};

/// Keys that are shown by name.
const SHOWN_KEYS: usize = 5;

/// All that a report is about.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The load.
    pub load: &'a Load,
    /// What was planned for.
    pub margin: Margin,
    /// The prices.
    pub prices: &'a Prices,
    /// What came of it.
    pub plan: &'a Plan,
    /// How the load was measured, if a running agent was asked; where it is; and how many like it there are.
    pub measured: Option<(&'a Measured, &'a str, u32)>,
}

impl Report<'_> {
    /// For people.
    pub fn text(&self) -> String {
        let Self { load, margin, prices, plan, .. } = self;
        let mut out = self.measured();
        let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("a String takes every write");
        line(format_args!("load        {:.1} events/s, {} of events", load.events, rate(load.event_bytes)));
        line(format_args!("packed      {}", sent(&load.sent)));
        line(format_args!("one by one  {}", sent(&load.alone)));
        line(format_args!(
            "gain        {:.1} times fewer records, {:.1} times fewer PUT payload units, {:.1} times fewer bytes billed on demand",
            load.alone.records / load.sent.records,
            load.alone.payload_units / load.sent.payload_units,
            load.alone.rounded_bytes / load.sent.rounded_bytes,
        ));
        line(format_args!(""));
        line(format_args!("shards      {}: {}", plan.shards.needed(), self.why(plan.shards)));
        line(format_args!("            one by one {}: {}", plan.alone_shards.needed(), self.why(plan.alone_shards)));
        line(format_args!(
            "            for {} times the average, and {:.0} % more",
            margin.peak,
            margin.headroom * 100.0
        ));
        for key in load.keys.iter().take(SHOWN_KEYS) {
            line(format_args!("key         {:?} has {:.1} % of the bytes", key.key, key.share * 100.0));
        }
        if let Some(warning) = self.hot_key() {
            line(format_args!("hot key     {warning}"));
        }
        line(format_args!(""));
        line(format_args!("a month     {:>14} {:>14}", "provisioned", "on demand"));
        line(format_args!("packed      {}", bill(plan.bill)));
        line(format_args!("one by one  {}", bill(plan.alone_bill)));
        line(format_args!(
            "            {} a month of 730 hours, without reads, extended retention and KMS requests",
            prices.currency
        ));
        line(format_args!("            prices: {}; --prices FILE has yours", prices.of));
        line(format_args!("choose      {}", if plan.provisioned() { "provisioned" } else { "on demand" }));
        out
    }

    /// How the load was measured, for people; nothing for a sample.
    fn measured(&self) -> String {
        let Some((measured, from, agents)) = self.measured else { return String::new() };
        let shards = measured.open_shards.map_or(String::new(), |shards| {
            format!(", which has {shards} open shard{}", if shards > 1.0 { "s" } else { "" })
        });
        let like = if agents > 1 { format!("; {agents} agents like it are planned for") } else { String::new() };
        let mut out = format!(
            "measured    {:.0} s of {from}: {} events delivered to {}{shards}{like}\n",
            measured.seconds, measured.events, measured.stream
        );
        for note in measured.notes(self.margin.peak) {
            writeln!(out, "note        {note}").expect("a String takes every write");
        }
        out
    }

    fn why(&self, shards: Shards) -> String {
        let keys = match shards.for_keys {
            _ if self.load.keys.is_empty() => String::new(),
            Some(count) => format!(", {count} as the keys fall"),
            None => ", and no number is enough for the keys as they are".to_owned(),
        };
        format!("{} for bytes, {} for records{keys}", shards.for_bytes, shards.for_records)
    }

    /// What is to be said of the hottest key.
    fn hot_key(&self) -> Option<String> {
        let (key, part) = self.plan.hottest.as_ref()?;
        (*part * (1.0 + self.margin.headroom) > 1.0).then(|| {
            format!(
                "{:?} alone takes {:.0} % of a shard in the busiest seconds, and a key cannot be split: take a key that is finer, such as one with a second field, or random",
                key.key,
                part * 100.0
            )
        })
    }

    /// For programs: the same figures, a second where nothing else is said.
    pub fn json(&self) -> Value {
        let Self { load, margin, prices, plan, .. } = self;
        let measured = self.measured.map(|(m, from, agents)| {
            json!({
                "from": from, "agents": agents, "stream": m.stream, "seconds": m.seconds, "delivered_events": m.events, "open_shards": m.open_shards,
                "throttled_share": m.throttled_share, "behind": m.behind, "catching_up": m.catching_up, "busiest": m.busiest,
                "notes": m.notes(margin.peak),
            })
        });
        let sent = |s: &Sent| json!({"records": s.records, "bytes": s.bytes, "payload_units": s.payload_units, "rounded_bytes": s.rounded_bytes});
        let shards = |s: &Shards| json!({"needed": s.needed(), "for_bytes": s.for_bytes, "for_records": s.for_records, "for_keys": s.for_keys});
        let month = |b: &Bill| json!({"provisioned": b.provisioned, "on_demand": b.on_demand});
        json!({
            "measured": measured,
            "load": {"events": load.events, "event_bytes": load.event_bytes, "packed": sent(&load.sent), "one_by_one": sent(&load.alone)},
            "margin": {"peak": margin.peak, "headroom": margin.headroom},
            "shards": {"packed": shards(&plan.shards), "one_by_one": shards(&plan.alone_shards)},
            "keys": load.keys.iter().take(SHOWN_KEYS).map(|k| json!({"partition_key": k.key, "share": k.share})).collect::<Vec<_>>(),
            "hot_key": self.hot_key(),
            "month": {"currency": prices.currency, "prices": prices.of, "packed": month(&plan.bill), "one_by_one": month(&plan.alone_bill)},
            "choose": if plan.provisioned() { "PROVISIONED" } else { "ON_DEMAND" },
        })
    }

    /// Variables of the module in `deploy/terraform/modules/stream`.
    pub fn terraform(&self) -> String {
        if self.plan.provisioned() {
            format!("mode        = \"PROVISIONED\"\nshard_count = {}\n", self.plan.shards.needed())
        } else {
            "mode = \"ON_DEMAND\"\n".to_owned()
        }
    }
}

fn sent(sent: &Sent) -> String {
    format!(
        "{:.1} records/s, {}, {:.1} PUT payload units/s, {} billed on demand",
        sent.records,
        rate(sent.bytes),
        sent.payload_units,
        rate(sent.rounded_bytes)
    )
}

fn bill(bill: Bill) -> String {
    format!("{:>14.2} {:>14.2}", bill.provisioned, bill.on_demand)
}

fn rate(bytes: f64) -> String {
    let (unit, size) =
        [("MiB", 1_048_576.0), ("KiB", 1_024.0)].into_iter().find(|(_, size)| bytes >= *size).unwrap_or(("B", 1.0));
    format!("{:.1} {unit}/s", bytes / size)
}
