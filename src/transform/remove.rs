//! `remove`: fields that nobody needs.

use super::glob::Glob;
use super::name::Name;
use crate::event::Event;

/// What is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remove {
    names: Vec<Name>,
    globs: Vec<Glob>,
}

impl Remove {
    /// Fields by their names, and those at the top whose names match.
    pub fn new(names: Vec<Name>, globs: Vec<Glob>) -> Self {
        Self { names, globs }
    }

    /// Removes, and answers whether there was anything to remove.
    pub(super) fn apply(&self, event: &mut Event<'_>) -> bool {
        let mut is_changed = false;
        for name in &self.names {
            is_changed |= name.take(event).is_some();
        }
        if !self.globs.is_empty() {
            let before = event.len();
            event.fields_mut().retain(|(name, _)| !self.globs.iter().any(|glob| glob.matches(name)));
            is_changed |= event.len() < before;
        }
        is_changed
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;

    #[test]
    fn fields_go_by_name_and_by_pattern() {
        let names = ["a", "n.x", "nowhere"].map(|name| Name::parse(name).unwrap()).to_vec();
        let remove = Remove::new(names, vec![Glob::new("debug_*")]);
        let mut event = event(r#"{"a":1,"n":{"x":1,"y":2},"debug_1":1,"a":2,"debug":3}"#);
        assert!(remove.apply(&mut event));
        assert_eq!(rendered(&event), r#"{"n":{"y":2},"debug":3}"#);
        assert!(!remove.apply(&mut event));
    }
}
