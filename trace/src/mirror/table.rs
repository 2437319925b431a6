//! Entries in the order of their keys, in blocks that copies of the table share until one changes them.

use std::sync::Arc;

/// Entries a block has at most: its copy after a checkpoint should cost less than reading what led to it.
const BLOCK: usize = 32;

/// What has a key that never changes.
pub(super) trait Keyed: Clone {
    fn key(&self) -> u64;
}

/// A sorted table. Keys mostly rise, so blocks are full; a clone copies a pointer a block.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    /// None is empty.
    blocks: Vec<Block<T>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Block<T> {
    /// At most its first key, and more than the last of the block before: a search looks at these only, which lie
    /// side by side.
    from: u64,
    entries: Arc<Vec<T>>,
}

impl<T: Keyed> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table { blocks: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: u64) -> Option<&T> {
        let (block, place) = self.find(key).ok()?;
        self.blocks.get(block)?.entries.get(place)
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let (block, place) = self.find(key).ok()?;
        Arc::make_mut(&mut self.blocks.get_mut(block)?.entries).get_mut(place)
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.find(key).is_ok()
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.blocks.first()?.entries.first()
    }

    pub(super) fn last(&self) -> Option<&T> {
        self.blocks.last()?.entries.last()
    }

    /// Puts an entry in; its key must not be there.
    pub(super) fn insert(&mut self, entry: T) {
        let Err((at, place)) = self.find(entry.key()) else { return };
        self.len += 1;
        let is_last = at + 1 >= self.blocks.len();
        let Some(block) = self.blocks.get_mut(at) else { return self.append(entry) };
        if block.entries.len() < BLOCK {
            block.from = block.from.min(entry.key());
            return own(&mut block.entries).insert(place, entry);
        }
        if is_last && place == BLOCK {
            return self.append(entry);
        }
        let entries = own(&mut block.entries);
        let mut upper = Vec::with_capacity(BLOCK);
        upper.extend(entries.drain(BLOCK / 2..));
        let from = upper.first().map_or(entry.key(), Keyed::key);
        block.from = block.from.min(entry.key());
        match place.checked_sub(BLOCK / 2).filter(|_| from < entry.key()) {
            None => entries.insert(place, entry),
            Some(place) => upper.insert(place, entry),
        }
        self.blocks.insert(at + 1, Block { from, entries: Arc::new(upper) });
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        let (block, place) = self.find(key).ok()?;
        let entries = own(&mut self.blocks.get_mut(block)?.entries);
        let removed = entries.remove(place);
        let left = entries.len();
        self.len -= 1;
        if left == 0 {
            self.blocks.remove(block);
        } else if left <= BLOCK / 4 {
            self.join(block);
        }
        Some(removed)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.blocks.iter().flat_map(|block| block.entries.iter())
    }

    pub(super) fn heap_size(&self) -> usize {
        let block = size_of::<Vec<T>>() + 2 * size_of::<usize>() + BLOCK * size_of::<T>();
        self.blocks.len() * block + self.blocks.capacity() * size_of::<Block<T>>()
    }

    /// Where the entry with this key is, or where it would have to be put.
    #[inline]
    fn find(&self, key: u64) -> Result<(usize, usize), (usize, usize)> {
        let block = self.blocks.partition_point(|block| block.from <= key).saturating_sub(1);
        let Some(Block { entries, .. }) = self.blocks.get(block) else { return Err((block, 0)) };
        match entries.binary_search_by_key(&key, Keyed::key) {
            Ok(place) => Ok((block, place)),
            Err(place) => Err((block, place)),
        }
    }

    /// Puts an entry behind all others, in a block of its own.
    fn append(&mut self, entry: T) {
        let from = entry.key();
        let mut entries = Vec::with_capacity(BLOCK);
        entries.push(entry);
        self.blocks.push(Block { from, entries: Arc::new(entries) });
    }

    /// Moves what is left of a block into the one after it, if there is room.
    fn join(&mut self, block: usize) {
        let few = self.blocks[block].entries.len();
        let Some(next) = self.blocks.get_mut(block + 1) else { return };
        if next.entries.len() + few > BLOCK / 2 {
            return;
        }
        let gone = self.blocks.remove(block);
        let into = &mut self.blocks[block];
        into.from = gone.from;
        own(&mut into.entries).splice(0..0, gone.entries.iter().cloned());
    }
}

/// The entries of a block, to be changed; with room for all that it may have.
fn own<T: Clone>(block: &mut Arc<Vec<T>>) -> &mut Vec<T> {
    let entries = Arc::make_mut(block);
    entries.reserve_exact(BLOCK - entries.len());
    entries
}
