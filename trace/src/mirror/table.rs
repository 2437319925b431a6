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
    blocks: Vec<Arc<Vec<T>>>,
    len: usize,
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
        self.blocks.get(block)?.get(place)
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let (block, place) = self.find(key).ok()?;
        Arc::make_mut(self.blocks.get_mut(block)?).get_mut(place)
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.find(key).is_ok()
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.blocks.first()?.first()
    }

    pub(super) fn last(&self) -> Option<&T> {
        self.blocks.last()?.last()
    }

    /// Puts an entry in; its key must not be there.
    pub(super) fn insert(&mut self, entry: T) {
        let Err((block, place)) = self.find(entry.key()) else { return };
        self.len += 1;
        let Some(entries) = self.blocks.get_mut(block) else {
            return self.append(entry);
        };
        if entries.len() < BLOCK {
            return own(entries).insert(place, entry);
        }
        let entries = own(entries);
        let mut upper = Vec::with_capacity(BLOCK);
        upper.extend(entries.drain(BLOCK / 2..));
        match place.checked_sub(BLOCK / 2) {
            None => entries.insert(place, entry),
            Some(place) => upper.insert(place, entry),
        }
        self.blocks.insert(block + 1, Arc::new(upper));
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        let (block, place) = self.find(key).ok()?;
        let entries = self.blocks.get_mut(block)?;
        let removed = own(entries).remove(place);
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
        self.blocks.iter().flat_map(|block| block.iter())
    }

    pub(super) fn heap_size(&self) -> usize {
        let block = size_of::<Vec<T>>() + 2 * size_of::<usize>() + BLOCK * size_of::<T>();
        self.blocks.len() * block + self.blocks.capacity() * size_of::<usize>()
    }

    /// Where the entry with this key is, or where it would have to be put.
    #[inline]
    fn find(&self, key: u64) -> Result<(usize, usize), (usize, usize)> {
        let block =
            self.blocks.partition_point(|block| block.last().is_some_and(|e| e.key() < key));
        let Some(entries) = self.blocks.get(block) else { return Err((block, 0)) };
        match entries.binary_search_by_key(&key, Keyed::key) {
            Ok(place) => Ok((block, place)),
            Err(place) => Err((block, place)),
        }
    }

    /// Puts an entry behind all others.
    fn append(&mut self, entry: T) {
        if let Some(last) = self.blocks.last_mut().filter(|last| last.len() < BLOCK) {
            return own(last).push(entry);
        }
        let mut entries = Vec::with_capacity(BLOCK);
        entries.push(entry);
        self.blocks.push(Arc::new(entries));
    }

    /// Moves what is left of a block into the one after it, if there is room.
    fn join(&mut self, block: usize) {
        let few = self.blocks[block].len();
        let Some(next) = self.blocks.get_mut(block + 1) else { return };
        if next.len() + few > BLOCK / 2 {
            return;
        }
        let gone = self.blocks.remove(block);
        own(&mut self.blocks[block]).splice(0..0, gone.iter().cloned());
    }
}

/// The entries of a block, to be changed; with room for all that it may have.
fn own<T: Clone>(block: &mut Arc<Vec<T>>) -> &mut Vec<T> {
    let entries = Arc::make_mut(block);
    entries.reserve_exact(BLOCK - entries.len());
    entries
}
