//! Which source an event is of, by its tag: one server may feed several. What is of none is dropped, for a reason that is counted.

use std::sync::Arc;

use super::layout::Layout;
use crate::firelens;
use crate::spool::Feed;

/// A source that a server feeds.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// Its name.
    pub source: Arc<str>,
    /// Its spool.
    pub feed: Feed,
    /// What its events look like.
    pub layout: Layout,
}

/// The sources that a server feeds.
#[derive(Debug, Clone)]
pub struct Dispatch {
    outlets: Vec<Outlet>,
    /// The one layout there is, where tags make no difference.
    plain: Arc<Layout>,
    firelens: Option<Arc<firelens::Dispatch>>,
}

/// Where the events of one tag go.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// To the outlet of this number.
    To(usize, Arc<Layout>),
    /// Nowhere, for this reason.
    Dropped(&'static str),
    /// They are no logs.
    NoLog,
}

impl Dispatch {
    /// All events are of one source.
    pub fn to(outlet: Outlet) -> Self {
        Self { plain: Arc::new(outlet.layout.clone()), outlets: vec![outlet], firelens: None }
    }

    /// Events are of these sources as `FireLens` says.
    pub fn by_tag(outlets: Vec<Outlet>, firelens: Arc<firelens::Dispatch>) -> Self {
        Self { outlets, plain: Arc::default(), firelens: Some(firelens) }
    }

    pub(super) fn outlets(&self) -> &[Outlet] {
        &self.outlets
    }

    /// Where the events of a tag go.
    pub(super) fn route(&self, tag: &[u8]) -> Route {
        let Some(firelens) = &self.firelens else { return Route::To(0, Arc::clone(&self.plain)) };
        let tag = String::from_utf8_lossy(tag);
        match firelens.goes(&tag) {
            firelens::Goes::NoLog => Route::NoLog,
            firelens::Goes::Dropped(reason) => Route::Dropped(reason),
            firelens::Goes::To(source, output) => {
                let found = self.outlets.iter().enumerate().find(|(_, outlet)| *outlet.source == *source);
                let Some((at, outlet)) = found else { return Route::Dropped("elsewhere") };
                Route::To(at, Arc::new(outlet.layout.clone().with_plan(firelens.plan(), &tag, output)))
            }
        }
    }
}
