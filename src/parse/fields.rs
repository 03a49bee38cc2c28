//! Appending fields whose names come from the line: how many there may be, and what becomes of a name that comes twice.

use std::borrow::Cow;

use crate::event::{Event, Value};

/// How many fields a line may have. More is not a log line, and an event's fields take several times the memory of the shortest text they can be in.
pub const MAX_FIELDS: usize = 4096;

/// Up to this many names, comparing each with each is quicker than sorting them.
const FEW: usize = 32;

/// Appends a field.
#[inline]
pub fn push<'a>(event: &mut Event<'a>, name: impl Into<Cow<'a, str>>, value: Value<'a>) -> Result<(), &'static str> {
    if event.len() >= MAX_FIELDS {
        return Err("more than 4096 fields");
    }
    event.push(name, value);
    Ok(())
}

/// Whether a name comes more than once.
pub fn repeat<T: AsRef<str>>(names: &[T]) -> bool {
    if names.len() <= FEW {
        return names.iter().enumerate().any(|(at, name)| {
            names.get(..at).is_some_and(|before| before.iter().any(|other| other.as_ref() == name.as_ref()))
        });
    }
    let mut sorted: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair.first() == pair.last())
}

/// Of the fields from a place on, those of one name become one, in the place of the first: an array of their values. Nothing is lost, and no
/// reader of JSON sees a name twice.
pub fn join_repeated(event: &mut Event<'_>, from: usize) {
    if !any_repeated(event.fields().get(from..).unwrap_or_default()) {
        return;
    }
    let fields = event.fields_mut();
    let mut order: Vec<usize> = (from..fields.len()).collect();
    order.sort_by(|&a, &b| fields[a].0.cmp(&fields[b].0));
    let mut gone = vec![false; fields.len()];
    let mut arrays = Vec::new();
    for group in order.chunk_by(|&a, &b| fields[a].0 == fields[b].0).filter(|group| group.len() > 1) {
        let mut array = vec![b'['];
        for (i, &at) in group.iter().enumerate() {
            if i > 0 {
                array.push(b',');
                gone[at] = true;
            }
            fields[at].1.write_to(&mut array);
        }
        array.push(b']');
        arrays.push((group[0], array));
    }
    for (at, array) in arrays {
        fields[at].1 = Value::Json(String::from_utf8(array).expect("values are written as UTF-8"));
    }
    let mut at = 0;
    fields.retain(|_| {
        at += 1;
        !gone[at - 1]
    });
}

fn any_repeated(fields: &[(Cow<'_, str>, Value<'_>)]) -> bool {
    if fields.len() > FEW {
        let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
        return repeat(&names);
    }
    let mut seen = [0_u64; 16];
    let collides = fields.iter().any(|(name, _)| {
        let mark = mark(name);
        let word = &mut seen[mark / 64];
        let before = *word;
        *word |= 1 << (mark % 64);
        *word == before
    });
    collides && fields.iter().enumerate().any(|(at, (name, _))| fields.iter().take(at).any(|(other, _)| other == name))
}

/// A number below 1024 that is the same for the same name, and seldom for another: most lines need no comparison of names.
fn mark(name: &str) -> usize {
    let bytes = name.as_bytes();
    let at = |at: usize| usize::from(bytes.get(at).copied().unwrap_or_default());
    let len = bytes.len();
    (len * 131 + at(0) * 37 + at(len / 2) * 11 + at(len.saturating_sub(1)) * 5 + at(len.saturating_sub(2)) * 71) % 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(names: &[&str]) -> String {
        let mut event = Event::default();
        event.push("a", Value::NULL);
        for (n, name) in names.iter().enumerate() {
            push(&mut event, name.to_string(), Value::Number(n as u64)).unwrap();
        }
        join_repeated(&mut event, 1);
        let mut out = Vec::new();
        event.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_name_that_repeats_holds_all_its_values() {
        assert_eq!(joined(&["x", "y"]), r#"{"a":null,"x":0,"y":1}"#);
        assert_eq!(joined(&["x", "y", "x", "z", "x"]), r#"{"a":null,"x":[0,2,4],"y":1,"z":3}"#);
    }

    #[test]
    fn many_names_are_joined_as_few_are() {
        let mut names: Vec<String> = (0..40).map(|n| format!("n{n}")).collect();
        assert!(!repeat(&names));
        names.push("n7".to_owned());
        assert!(repeat(&names) && repeat(&names[7..]) && !repeat(&names[8..]));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(joined(&names).contains(r#""n7":[7,40],"n8":8"#));
    }

    #[test]
    fn there_is_an_end_to_fields() {
        let mut event = Event::default();
        let pushed = (0..5000).take_while(|_| push(&mut event, "x", Value::NULL).is_ok()).count();
        assert_eq!(pushed, MAX_FIELDS);
    }
}
