//! What each source adds of what is known of the place: found once for all of them, and rendered once for all files of one.

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
    /// Finds out and keeps up, for ever.
    pub async fn keep(self) {
        let Self { sources: Some(sources), shown } = self else { return std::future::pending().await };
        let (to, mut from) = watch::channel(Metadata::default());
        let showing = async {
            while from.changed().await.is_ok() {
                show(&shown, &from.borrow_and_update());
            }
        };
        tokio::join!(sources.keep(to), showing);
        std::future::pending::<()>().await;
    }
}

fn show(shown: &[(Chosen, watch::Sender<Arc<Known>>)], metadata: &Metadata) {
    for (chosen, to) in shown {
        let json = |value: Vec<u8>| String::from_utf8(value).unwrap_or_default();
        let objects = metadata.objects(chosen).into_iter().map(|(name, value)| (name, json(value)));
        to.send_replace(Arc::new(Known::new(objects)));
    }
}
