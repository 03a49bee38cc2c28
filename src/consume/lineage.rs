//! Which shards may be read: a shard that came of others is begun when those are read to their end, so that the events of a key keep their order
//! through splits and merges. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::kinesis::client::{Place, ReadShard};

/// How far a shard is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Up to here.
    At(Place),
    /// To its end, or nothing of it is wanted.
    Finished,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It has not begun.
    Waiting(Place),
    Reading,
    Finished,
}

#[derive(Debug, Clone)]
struct Node {
    shard: ReadShard,
    state: State,
    /// It was read to its end, and what came of it is not known yet.
    childless: bool,
}

/// All shards that are known, and how far they are.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    nodes: BTreeMap<String, Node>,
}

impl Lineage {
    /// Adds shards that are not known yet, which begin where `place` says.
    pub fn add(&mut self, shards: impl IntoIterator<Item = ReadShard>, place: impl Fn(&ReadShard) -> Progress) {
        for shard in shards {
            for parent in &shard.parents {
                if let Some(parent) = self.nodes.get_mut(parent) {
                    parent.childless = false;
                }
            }
            let state = match place(&shard) {
                Progress::At(place) => State::Waiting(place),
                Progress::Finished => State::Finished,
            };
            self.nodes.entry(shard.id.clone()).or_insert(Node { shard, state, childless: false });
        }
    }

    /// The shards that may begin now; from here on they count as begun.
    pub fn take_ready(&mut self) -> Vec<(ReadShard, Place)> {
        let is_done = |id: &String| self.nodes.get(id).is_none_or(|parent| parent.state == State::Finished);
        let is_ready = |node: &&Node| matches!(node.state, State::Waiting(_)) && node.shard.parents.iter().all(is_done);
        let ready: Vec<String> = self.nodes.values().filter(is_ready).map(|node| node.shard.id.clone()).collect();
        let mut taken = Vec::with_capacity(ready.len());
        for id in ready {
            if let Some(node) = self.nodes.get_mut(&id)
                && let State::Waiting(place) = std::mem::replace(&mut node.state, State::Reading)
            {
                taken.push((node.shard.clone(), place));
            }
        }
        taken
    }

    /// A shard is read to its end. Whoever knows of its children adds them after this.
    pub fn finish(&mut self, id: &str) {
        let has_child = self.nodes.values().any(|node| node.shard.parents.iter().any(|parent| parent == id));
        if let Some(node) = self.nodes.get_mut(id) {
            node.state = State::Finished;
            node.childless = !has_child;
        }
    }

    /// Whether a shard was read to its end of which something has to have come, and is not known.
    pub fn is_incomplete(&self) -> bool {
        self.nodes.values().any(|node| node.childless)
    }

    /// Nothing comes of these any more.
    pub fn give_up_children(&mut self) {
        for node in self.nodes.values_mut() {
            node.childless = false;
        }
    }

    /// Forgets what is finished, which the service does not list any more and nothing that waits came of.
    pub fn forget_trimmed(&mut self, listed: &BTreeSet<String>) {
        let waiting = self.nodes.values().filter(|node| matches!(node.state, State::Waiting(_)));
        let needed: BTreeSet<String> = waiting.flat_map(|node| node.shard.parents.iter().cloned()).collect();
        let is_needed = |id: &String, node: &Node| {
            node.state != State::Finished || node.childless || listed.contains(id) || needed.contains(id)
        };
        self.nodes.retain(|id, node| is_needed(id, node));
    }

    /// How far each shard is that is not being read.
    pub fn resting(&self) -> impl Iterator<Item = (&str, Progress)> {
        self.nodes.iter().filter_map(|(id, node)| match &node.state {
            State::Waiting(place) => Some((id.as_str(), Progress::At(place.clone()))),
            State::Finished => Some((id.as_str(), Progress::Finished)),
            State::Reading => None,
        })
    }

    /// How many shards are known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> ReadShard {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        ReadShard { id: id.to_owned(), range: 0..=u128::MAX, parents, open: true }
    }

    fn horizon(_: &ReadShard) -> Progress {
        Progress::At(Place::Horizon)
    }

    fn ready(lineage: &mut Lineage) -> Vec<String> {
        lineage.take_ready().into_iter().map(|(shard, _)| shard.id).collect()
    }

    #[test]
    fn children_wait_for_all_their_parents() {
        let mut lineage = Lineage::default();
        // The parent of `a` is past the retention, and `m` is `a` and `b` merged.
        lineage.add([shard("a", &["gone"]), shard("b", &[]), shard("m", &["a", "b"])], horizon);
        assert_eq!(ready(&mut lineage), ["a", "b"]);
        assert!(ready(&mut lineage).is_empty());
        lineage.finish("a");
        assert!(ready(&mut lineage).is_empty());
        lineage.finish("b");
        assert_eq!(ready(&mut lineage), ["m"]);
        assert!(!lineage.is_incomplete());
        lineage.finish("m");
        assert!(lineage.is_incomplete());
        lineage.add([shard("x", &["m"]), shard("y", &["m"]), shard("a", &["gone"])], horizon);
        assert_eq!(ready(&mut lineage), ["x", "y"]);
        assert!(!lineage.is_incomplete());
    }

    #[test]
    fn what_is_not_wanted_holds_up_nobody() {
        let mut lineage = Lineage::default();
        let open = |shard: &ReadShard| {
            if shard.id == "a" { Progress::Finished } else { Progress::At(Place::Latest) }
        };
        lineage.add([shard("b", &["a"]), shard("a", &[])], open);
        assert_eq!(lineage.take_ready().into_iter().map(|(_, place)| place).collect::<Vec<_>>(), [Place::Latest]);
        assert_eq!(lineage.resting().collect::<Vec<_>>(), [("a", Progress::Finished)]);
    }

    #[test]
    fn finished_shards_are_forgotten_with_the_service() {
        let mut lineage = Lineage::default();
        lineage.add([shard("a", &[]), shard("b", &["a"]), shard("c", &["b"])], horizon);
        assert_eq!(ready(&mut lineage), ["a"]);
        lineage.finish("a");
        lineage.forget_trimmed(&BTreeSet::new());
        assert_eq!(lineage.len(), 3, "b waits for a");
        assert_eq!(ready(&mut lineage), ["b"]);
        lineage.forget_trimmed(&BTreeSet::from(["b".to_owned(), "c".to_owned()]));
        assert_eq!(lineage.len(), 2);
    }
}
