//! What each source adds of what is known of the place: found once for all of them, and rendered once for all files of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Chosen, Metadata, Settings, Sources};
use crate::parse::Known;

/// What the sources add.
#[derive(Debug, Default)]
pub struct Places {
    names: Vec<String>,
    shown: Vec<(Chosen, watch::Sender<Arc<Known>>)>,
}

/// What is shown already, by what was chosen: sources that add the same share it, also one that comes later.
#[derive(Debug, Default, Clone)]
pub struct Shared(BTreeMap<Vec<String>, watch::Receiver<Arc<Known>>>);

impl Shared {
    /// What a source that adds the fields of these names is shown; `places` has to find it if it is the first.
    pub fn show(&mut self, names: &[String], places: &mut Places) -> Option<watch::Receiver<Arc<Known>>> {
        if let Some(shown) = self.0.get(names) {
            return Some(shown.clone());
        }
        let shown = places.show(names)?;
        self.0.insert(names.to_vec(), shown.clone());
        Some(shown)
    }

    /// Forgets what no source of these adds any more.
    pub fn retain<'n>(&mut self, used: impl Iterator<Item = &'n [String]> + Clone) {
        self.0.retain(|names, _| used.clone().any(|used| used == names));
    }
}

/// The same, with what is to be asked.
#[derive(Debug)]
pub struct Keeping {
    sources: Option<Sources>,
    shown: Vec<(Chosen, watch::Sender<Arc<Known>>)>,
}

impl Places {
    /// A source that adds the fields of these names, which have been checked. Its end changes as more is known; none if it adds nothing.
    pub fn show(&mut self, names: &[String]) -> Option<watch::Receiver<Arc<Known>>> {
        let chosen = Chosen::parse(names).ok().filter(|chosen| !chosen.is_empty())?;
        let (to, from) = watch::channel(Arc::default());
        self.names.extend_from_slice(names);
        self.shown.push((chosen, to));
        Some(from)
    }

    /// Looks what there is to ask, and shows what is known at once.
    pub fn find(self, host: &str, env: impl Fn(&str) -> Option<String>) -> Keeping {
        let Self { names, shown } = self;
        let chosen = Chosen::parse(&names).ok().filter(|chosen| !chosen.is_empty());
        let sources = chosen.map(|chosen| Sources::find(&chosen, Settings::default(), host, env));
        let keeping = Keeping { sources, shown };
        if let Some(sources) = &keeping.sources {
            show(&keeping.shown, &sources.at_once());
        }
        keeping
    }
}

impl Keeping {
    /// Finds out and keeps up, for as long as a source adds something of it.
    pub async fn keep(self) {
        let Self { sources: Some(sources), shown } = self else { return };
        let (to, mut from) = watch::channel(Metadata::default());
        let showing = async {
            while from.changed().await.is_ok() {
                show(&shown, &from.borrow_and_update());
            }
        };
        let unused = async {
            for (_, to) in &shown {
                to.closed().await;
            }
        };
        let keeping = async {
            tokio::join!(sources.keep(to), showing);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = keeping => {}
            () = unused => {}
        }
    }
}

fn show(shown: &[(Chosen, watch::Sender<Arc<Known>>)], metadata: &Metadata) {
    for (chosen, to) in shown {
        let json = |value: Vec<u8>| String::from_utf8(value).unwrap_or_default();
        let objects = metadata.objects(chosen).into_iter().map(|(name, value)| (name, json(value)));
        to.send_replace(Arc::new(Known::new(objects)));
    }
}
