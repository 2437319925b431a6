//! A set of calls.

use std::collections::HashMap;

use super::names::Quickly;

/// Calls, by their serials: which rise, so that nearly all that is asked for lies in the page of the last one.
#[derive(Debug)]
pub(crate) struct Serials {
    number: u64,
    page: Page,
    others: HashMap<u64, Page, Quickly>,
}

const PAGE_WORDS: usize = 64;

type Page = Box<[u64; PAGE_WORDS]>;

impl Serials {
    #[inline]
    pub(crate) fn insert(&mut self, serial: u64) {
        let (page, word, bit) = place(serial);
        if page != self.number {
            self.turn_to(page);
        }
        self.page[word] |= bit;
    }

    /// Takes a call out; says whether it was in.
    #[inline]
    pub(crate) fn remove(&mut self, serial: u64) -> bool {
        let (page, word, bit) = place(serial);
        if page != self.number {
            return self.remove_elsewhere(page, word, bit);
        }
        let was_in = self.page[word] & bit != 0;
        self.page[word] &= !bit;
        was_in
    }

    pub(crate) fn contains(&self, serial: u64) -> bool {
        let (page, word, bit) = place(serial);
        let page = if page == self.number { Some(&self.page) } else { self.others.get(&page) };
        page.is_some_and(|page| page[word] & bit != 0)
    }

    pub(crate) fn clear(&mut self) {
        *self = Serials::default();
    }

    #[cold]
    #[inline(never)]
    fn turn_to(&mut self, number: u64) {
        let page = self.others.remove(&number).unwrap_or_else(blank);
        let before = std::mem::replace(&mut self.page, page);
        let number = std::mem::replace(&mut self.number, number);
        if before.iter().any(|word| *word != 0) {
            self.others.insert(number, before);
        }
    }

    #[inline(never)]
    fn remove_elsewhere(&mut self, number: u64, word: usize, bit: u64) -> bool {
        let Some(page) = self.others.get_mut(&number) else { return false };
        let was_in = page[word] & bit != 0;
        page[word] &= !bit;
        // Looked at only where a word has become empty: so a page that goes is looked at 64 times.
        if was_in && page[word] == 0 && page.iter().all(|word| *word == 0) {
            self.others.remove(&number);
        }
        was_in
    }
}

impl Default for Serials {
    fn default() -> Serials {
        Serials { number: 0, page: blank(), others: HashMap::default() }
    }
}

fn blank() -> Page {
    Box::new([0; PAGE_WORDS])
}

#[inline]
fn place(serial: u64) -> (u64, usize, u64) {
    let index = serial / 64;
    (index / PAGE_WORDS as u64, (index % PAGE_WORDS as u64) as usize, 1 << (serial % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Serials;

    /// A set beside it, which is slower and simpler.
    #[test]
    fn serials_of_many_pages_are_in_until_they_are_taken_out() {
        let (mut serials, mut model) = (Serials::default(), BTreeSet::new());
        let mut state = 1_u64;
        for round in 0..50_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let near = round.saturating_sub((state >> 33) % 20_000);
            if state >> 63 == 0 {
                serials.insert(round);
                model.insert(round);
            }
            assert_eq!(serials.contains(near), model.contains(&near), "{near}");
            assert_eq!(serials.remove(near), model.remove(&near), "{near}");
        }
        for serial in 0..50_000 {
            assert_eq!(serials.remove(serial), model.remove(&serial), "{serial}");
        }
        assert!(serials.others.is_empty());
    }
}
