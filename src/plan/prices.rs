//! Prices, with the day they are of. They are inputs: they differ by region and change, and a file can say others.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What AWS charges, in one region and currency.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prices {
    /// Since when, and where from; shown with every figure.
    pub of: String,
    /// The sign or code of the currency.
    pub currency: String,
    /// One shard of a provisioned stream, an hour.
    pub shard_hour: f64,
    /// A million PUT payload units of 25 KiB.
    pub million_put_payload_units: f64,
    /// One on-demand stream, an hour.
    pub on_demand_stream_hour: f64,
    /// A GiB into an on-demand stream, each record rounded up to 1 KiB.
    pub on_demand_gb_in: f64,
}

impl Default for Prices {
    /// us-east-1 as published articles quote the price list; AWS' own page has the last word.
    fn default() -> Self {
        Self {
            of: "us-east-1, list prices as quoted in 2023; see aws.amazon.com/kinesis/data-streams/pricing".to_owned(),
            currency: "USD".to_owned(),
            shard_hour: 0.015,
            million_put_payload_units: 0.014,
            on_demand_stream_hour: 0.04,
            on_demand_gb_in: 0.08,
        }
    }
}

/// Why a file of prices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("--prices {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no table of prices.
    #[error("--prices {}: {source}; it is a JSON object with any of of, currency, shard_hour, million_put_payload_units, on_demand_stream_hour and on_demand_gb_in", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A price that is none.
    #[error("--prices {}: {name} is {value}; a price is a number from 0 on", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The price.
        name: &'static str,
        /// What it is.
        value: f64,
    },
}

impl Prices {
    /// Reads a JSON object; what it does not name stays as it is here.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let prices: Self =
            serde_json::from_str(&text).map_err(|source| Error::Json { path: path.to_owned(), source })?;
        for (name, value) in prices.all() {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::Value { path: path.to_owned(), name, value });
            }
        }
        Ok(prices)
    }

    fn all(&self) -> [(&'static str, f64); 4] {
        [
            ("shard_hour", self.shard_hour),
            ("million_put_payload_units", self.million_put_payload_units),
            ("on_demand_stream_hour", self.on_demand_stream_hour),
            ("on_demand_gb_in", self.on_demand_gb_in),
        ]
    }
}
