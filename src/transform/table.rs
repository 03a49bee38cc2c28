//! A table of bounded size, by hash: what was used longest ago makes room for what is new. It is divided into small sets, so that finding who goes
//! costs the same however large the table is.

/// Entries that share a place. The more, the nearer is the one that goes to the one that was used longest ago in all of the table.
const SET_LEN: usize = 8;

/// A table of bounded size.
#[derive(Debug, Clone)]
pub(super) struct Table<T> {
    sets: Vec<Vec<Entry<T>>>,
    uses: u64,
    /// How many entries had to make room.
    pub(super) evicted: u64,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    hash: u64,
    used: u64,
    value: T,
}

impl<T> Table<T> {
    /// A table of about so many entries. Memory is taken as it fills.
    pub(super) fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(SET_LEN).max(1);
        Self { sets: std::iter::repeat_with(Vec::new).take(sets).collect(), uses: 0, evicted: 0 }
    }

    /// The entry of a hash, made if there is none; with what made room for it.
    pub(super) fn entry(&mut self, hash: u64, make: impl FnOnce() -> T) -> (&mut T, Option<T>) {
        self.uses += 1;
        let sets = u64::try_from(self.sets.len()).unwrap_or(u64::MAX);
        let set = usize::try_from(hash % sets).map_or(0, |at| at);
        let set = &mut self.sets[set];
        let mut evicted = None;
        let at = set.iter().position(|entry| entry.hash == hash).unwrap_or_else(|| {
            if set.len() == SET_LEN {
                let oldest = (0..SET_LEN).min_by_key(|at| set[*at].used).unwrap_or_default();
                evicted = Some(set.swap_remove(oldest).value);
                self.evicted += 1;
            }
            set.push(Entry { hash, used: 0, value: make() });
            set.len() - 1
        });
        let entry = &mut set[at];
        entry.used = self.uses;
        (&mut entry.value, evicted)
    }

    /// All entries.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.sets.iter_mut().flatten().map(|entry| &mut entry.value)
    }
}

/// A hash that is the same in every version, on every machine: FNV-1a, whose bits are mixed so that each of them can be used alone.
pub(super) fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut table = Table::new(SET_LEN);
        for hash in 0..8 {
            assert!(table.entry(hash, || hash).1.is_none());
        }
        table.entry(0, || 99);
        assert_eq!(table.entry(8, || 8).1, Some(1));
        assert_eq!((*table.entry(0, || 99).0, *table.entry(1, || 77).0), (0, 77));
        assert_eq!(table.evicted, 2);
        assert_eq!(table.values_mut().count(), 8);
    }

    #[test]
    fn the_hash_stays_what_it_is() {
        assert_eq!(stable_hash(b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(stable_hash(b"trace-1"), stable_hash(b"trace-1"));
        let ones: u32 = (0..1000_u32).map(|n| stable_hash(&n.to_be_bytes()).count_ones()).sum();
        assert!((31_000..33_000).contains(&ones), "{ones}");
    }
}
