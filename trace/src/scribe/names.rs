//! The definitions of a trace: short numbers for strings, source lines and stacks of frames.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::Location;

use trapline_abi::StackId;

use super::Paper;
use crate::record::{Record, SiteRef, StackRef, Str};

/// So many strings, or bytes of them, and a trace begins its definitions anew: a server that names each of
/// its tasks would otherwise fill the memory of whoever reads along.
const MOST_STRINGS: usize = 1 << 16;
const MOST_STRING_BYTES: usize = 4 << 20;

/// What has been defined since the last reset.
///
/// What is `'static` is known by its address, which is all that is looked at from the second time on; the
/// same text at another address is found by its content.
#[derive(Debug, Default)]
pub(crate) struct Names {
    words_lately: Lately<Str>,
    strings_at: HashMap<(usize, usize), Str, Quickly>,
    strings: HashMap<Box<str>, Str>,
    string_bytes: usize,
    sites_lately: Lately<SiteRef>,
    sites_at: HashMap<usize, SiteRef, Quickly>,
    sites: HashMap<(u64, u64), SiteRef, Quickly>,
    /// By the kernel's number, from 1; 0 where it is not defined.
    stacks: Vec<StackRef>,
    stacks_defined: u32,
    frames: Frames,
}

impl Names {
    /// Forgets what was defined, but not what the kernel tells of only once.
    pub(crate) fn reset(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        *self = Names { frames, ..Names::default() };
    }

    /// Whether the definitions are to begin anew.
    pub(crate) fn is_full(&self) -> bool {
        self.strings.len() > MOST_STRINGS || self.string_bytes > MOST_STRING_BYTES
    }

    /// The number of a text that will be there for ever.
    #[inline]
    pub(crate) fn word(&mut self, text: &'static str, out: &mut impl Paper) -> Str {
        let key = (text.as_ptr().addr(), text.len());
        match self.words_lately.get(key) {
            Some(known) => known,
            None => self.word_not_lately(key, text, out),
        }
    }

    #[cold]
    #[inline(never)]
    fn word_not_lately(
        &mut self,
        key: (usize, usize),
        text: &'static str,
        out: &mut impl Paper,
    ) -> Str {
        let number = match self.strings_at.get(&key) {
            Some(known) => *known,
            None => {
                let number = self.text(text, out);
                self.strings_at.insert(key, number);
                number
            }
        };
        self.words_lately.put(key, number);
        number
    }

    /// The number of any text.
    pub(crate) fn text(&mut self, text: &str, out: &mut impl Paper) -> Str {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let number = Str(self.strings.len() as u32);
        self.strings.insert(text.into(), number);
        self.string_bytes += text.len();
        out.push(Record::DefineString(text.to_owned()));
        number
    }

    /// The number of a place in the source.
    #[inline]
    pub(crate) fn site(
        &mut self,
        site: &'static Location<'static>,
        out: &mut impl Paper,
    ) -> SiteRef {
        let key = std::ptr::from_ref(site).addr();
        match self.sites_lately.get((key, 0)) {
            Some(known) => known,
            None => self.site_not_lately(key, site, out),
        }
    }

    #[cold]
    #[inline(never)]
    fn site_not_lately(
        &mut self,
        key: usize,
        site: &'static Location<'static>,
        out: &mut impl Paper,
    ) -> SiteRef {
        let number = match self.sites_at.get(&key) {
            Some(known) => *known,
            None => {
                let number = self.new_site(site, out);
                self.sites_at.insert(key, number);
                number
            }
        };
        self.sites_lately.put((key, 0), number);
        number
    }

    fn new_site(&mut self, site: &'static Location<'static>, out: &mut impl Paper) -> SiteRef {
        let (line, column) = (site.line(), site.column());
        let file = self.text(site.file(), out);
        let next = SiteRef(self.sites.len() as u32);
        *self
            .sites
            .entry((u64::from(file.0), u64::from(line) << 32 | u64::from(column)))
            .or_insert_with(|| {
                out.push(Record::DefineSite { file, line, column });
                next
            })
    }

    /// Hears of a frame. The kernel tells of each once, before its first use.
    pub(crate) fn learn_frame(
        &mut self,
        stack: StackId,
        site: &'static Location<'static>,
        around: StackId,
    ) {
        let index = stack.number() as usize;
        self.frames.resize(self.frames.len().max(index + 1), None);
        self.frames[index] = Some((site, around));
    }

    /// The number of the frames around a call.
    #[inline]
    pub(crate) fn stack(&mut self, stack: StackId, out: &mut impl Paper) -> StackRef {
        if stack == StackId::EMPTY {
            return StackRef(0);
        }
        match self.stacks.get(stack.number() as usize) {
            Some(known) if known.0 != 0 => *known,
            _ => self.new_stack(stack, out),
        }
    }

    /// Defines the frames that are not defined yet, from the outermost in.
    fn new_stack(&mut self, stack: StackId, out: &mut impl Paper) -> StackRef {
        let (mut inner, mut at) = (Vec::new(), stack);
        let mut around = loop {
            let index = at.number() as usize;
            match self.stacks.get(index) {
                Some(known) if known.0 != 0 => break *known,
                _ => {}
            }
            // What was never told of is as none: also 0.
            let Some(Some((site, next))) = self.frames.get(index) else { break StackRef(0) };
            inner.push((index, *site));
            at = *next;
        };
        while let Some((index, site)) = inner.pop() {
            let site = self.site(site, out);
            out.push(Record::DefineStack { site, around });
            self.stacks_defined += 1;
            around = StackRef(self.stacks_defined);
            self.stacks.resize(self.stacks.len().max(index + 1), StackRef(0));
            self.stacks[index] = around;
        }
        around
    }
}

/// What was asked for lately, by address and length: most of what a program does, it does again and again, and
/// a look here is a fifth of one into a map.
#[derive(Debug)]
struct Lately<T> {
    slots: [((usize, usize), T); LATELY],
}

/// So many words, and so many places: a loop has fewer.
const LATELY: usize = 64;

impl<T: Copy> Lately<T> {
    /// Nothing: at address 0 lies neither a text nor a place.
    fn of(number: T) -> Lately<T> {
        Lately { slots: [((0, 0), number); LATELY] }
    }

    #[inline]
    fn get(&self, key: (usize, usize)) -> Option<T> {
        let (known, number) = self.slots[Lately::<T>::place(key)];
        (known == key).then_some(number)
    }

    fn put(&mut self, key: (usize, usize), number: T) {
        self.slots[Lately::<T>::place(key)] = (key, number);
    }

    #[inline]
    fn place((address, length): (usize, usize)) -> usize {
        let mixed = (address ^ length) as u64;
        (mixed.wrapping_mul(GOLDEN_RATIO) >> 32) as usize % LATELY
    }
}

impl Default for Lately<Str> {
    fn default() -> Self {
        Lately::of(Str(0))
    }
}

impl Default for Lately<SiteRef> {
    fn default() -> Self {
        Lately::of(SiteRef(0))
    }
}

const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// Each frame and the frames around it, by the kernel's number.
type Frames = Vec<Option<(&'static Location<'static>, StackId)>>;

pub(super) type Quickly = BuildHasherDefault<Mix>;

/// Hashes a few words. The keys are addresses and numbers of ours, so nobody can choose them to collide.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        // The rotation brings the well mixed bits to where the table looks.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(GOLDEN_RATIO);
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

/// A set of numbers that are mostly given out in turn.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pages: Vec<Option<Box<[u64; PAGE_WORDS]>>>,
}

const PAGE_WORDS: usize = 64;

impl Numbers {
    /// Puts a number in; says whether it was not in before.
    #[inline]
    pub(crate) fn insert(&mut self, number: u32) -> bool {
        let (page, word, bit) = Numbers::place(number);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let word = &mut self.pages[page].get_or_insert_with(|| Box::new([0; PAGE_WORDS]))[word];
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes a number out; says whether it was in.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        let (page, word, bit) = Numbers::place(number);
        let Some(slot) = self.pages.get_mut(page) else { return false };
        let Some(words) = slot else { return false };
        let was_in = words[word] & bit != 0;
        words[word] &= !bit;
        if was_in && words.iter().all(|word| *word == 0) {
            *slot = None;
        }
        was_in
    }

    pub(crate) fn clear(&mut self) {
        self.pages.clear();
    }

    fn place(number: u32) -> (usize, usize, u64) {
        let (index, bit) = (number as usize / 64, number % 64);
        (index / PAGE_WORDS, index % PAGE_WORDS, 1 << bit)
    }
}
