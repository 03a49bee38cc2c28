//! The injector: a mutating admission webhook, which gives pods the sidecar that their annotations ask for. It never keeps a pod from being made:
//! what cannot be done is left, and told of in a warning. It asks Kubernetes nothing, and keeps nothing.

pub mod annotations;
mod certificates;
mod configuration;
mod injection;
pub mod metrics;
mod patch;
mod pod;
mod review;
pub mod server;
pub mod settings;
mod share;
mod sidecar;
mod yaml;

pub use certificates::CertificatePaths;
pub use server::{Error, Injector, Options};
pub use settings::Settings;
