//! `rename`: fields under other names. A field that is not there stays not there.

use std::borrow::Cow;

use super::name::Name;
use crate::event::Event;

/// Old names, each with the new one; in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    names: Vec<(Name, Name)>,
}

impl Rename {
    /// Old names with the new ones.
    pub fn new(names: Vec<(Name, Name)>) -> Self {
        Self { names }
    }

    /// Renames, and answers whether there was anything to rename. A field that had the new name is replaced.
    pub(super) fn apply<'a>(&'a self, event: &mut Event<'a>) -> bool {
        let mut is_changed = false;
        for (old, new) in &self.names {
            if old == new {
                continue;
            }
            is_changed |= in_place(event, old.text(), new) || moved(event, old, new);
        }
        is_changed
    }
}

/// A field at the top keeps its place.
fn in_place<'a>(event: &mut Event<'a>, old: &str, new: &'a Name) -> bool {
    let fields = event.fields_mut();
    let Some(at) = fields.iter().rposition(|(name, _)| name == old) else { return false };
    // Where the new name leads into an object, the field moves there.
    if new.text().contains('.') {
        return false;
    }
    fields[at].0 = Cow::Borrowed(new.text());
    let mut index = 0;
    fields.retain(|(name, _)| {
        index += 1;
        index - 1 == at || (name != old && name != new.text())
    });
    true
}

fn moved<'a>(event: &mut Event<'a>, old: &'a Name, new: &'a Name) -> bool {
    let Some(value) = old.take(event) else { return false };
    new.put(event, value);
    true
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;

    fn renamed(json: &str, old: &str, new: &str) -> String {
        let rename = Rename::new(vec![(Name::parse(old).unwrap(), Name::parse(new).unwrap())]);
        let mut event = event(json);
        rename.apply(&mut event);
        rendered(&event)
    }

    #[test]
    fn a_field_keeps_its_place_and_its_value() {
        assert_eq!(renamed(r#"{"a":1,"old":1.50,"b":2}"#, "old", "new"), r#"{"a":1,"new":1.50,"b":2}"#);
        assert_eq!(renamed(r#"{"new":1,"old":2,"old":3,"b":4}"#, "old", "new"), r#"{"new":3,"b":4}"#);
        assert_eq!(renamed(r#"{"a":1}"#, "old", "a"), r#"{"a":1}"#);
        assert_eq!(renamed(r#"{"a":1}"#, "a", "a"), r#"{"a":1}"#);
    }

    #[test]
    fn it_goes_into_objects_and_out_of_them() {
        assert_eq!(
            renamed(r#"{"http":{"code":200,"x":1}}"#, "http.code", "status"),
            r#"{"http":{"x":1},"status":200}"#
        );
        assert_eq!(renamed(r#"{"status":200,"http":{}}"#, "status", "http.code"), r#"{"http":{"code":200}}"#);
        assert_eq!(renamed(r#"{"status":200}"#, "status", "http.code"), r#"{"http.code":200}"#);
    }
}
