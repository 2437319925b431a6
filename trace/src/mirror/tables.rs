//! What was defined: strings, sites, stacks.

use std::fmt;
use std::sync::Arc;

use super::MirrorErrorKind;
use crate::record::{SiteRef, StackRef, Str};
use crate::strace::shown_dependency;

/// Frames of a stack that are shown.
const MAX_FRAMES: usize = 256;

/// The strings, sites and stacks of a trace.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    inner: Arc<Defined>,
}

#[derive(Clone, Debug, Default)]
struct Defined {
    /// All strings, one after the other: an empty one costs its end only.
    text: String,
    ends: Vec<u32>,
    sites: Vec<(Str, u32, u32)>,
    stacks: Vec<(SiteRef, StackRef)>,
}

/// A place in the source. It displays as `src/main.rs:12:5`, and of a dependency as `mio 1.2.5: poll.rs:12:5`.
///
/// ```
/// use trapline_trace::Site;
///
/// let file = "/home/me/.cargo/registry/src/some-index/mio-1.2.5/src/poll.rs";
/// assert_eq!(Site { file, line: 12, column: 5 }.to_string(), "mio 1.2.5: poll.rs:12:5");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site<'a> {
    /// The file, as the compiler names it.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match shown_dependency(self.file) {
            Some(file) => f.write_str(&file)?,
            None => f.write_str(self.file)?,
        }
        write!(f, ":{}:{}", self.line, self.column)
    }
}

impl Tables {
    /// A string; `?` if it was not defined.
    #[must_use]
    pub fn str(&self, name: Str) -> &str {
        self.get_str(name).unwrap_or("?")
    }

    /// A place in the source; `?:0:0` if it was not defined.
    #[must_use]
    pub fn site(&self, site: SiteRef) -> Site<'_> {
        match self.inner.sites.get(site.0 as usize) {
            Some(&(file, line, column)) => Site { file: self.str(file), line, column },
            None => Site { file: "?", line: 0, column: 0 },
        }
    }

    /// A place in the source, by its parts.
    pub(crate) fn site_parts(&self, site: SiteRef) -> Option<(Str, u32, u32)> {
        self.inner.sites.get(site.0 as usize).copied()
    }

    /// The lines of the frames around a call, innermost first; 256 at most.
    pub fn stack(&self, stack: StackRef) -> impl Iterator<Item = Site<'_>> {
        let mut next = stack;
        let frames = std::iter::from_fn(move || {
            let (site, around) = self.frame(next)?;
            next = around;
            Some(self.site(site))
        });
        frames.take(MAX_FRAMES)
    }

    /// The innermost frame of a stack, and the frames around it.
    #[must_use]
    pub fn frame(&self, stack: StackRef) -> Option<(SiteRef, StackRef)> {
        self.inner.stacks.get((stack.0 as usize).checked_sub(1)?).copied()
    }

    /// How many strings there are.
    #[must_use]
    pub fn strings(&self) -> usize {
        self.inner.ends.len()
    }

    /// How many sites there are.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.inner.sites.len()
    }

    /// How many stacks there are.
    #[must_use]
    pub fn stacks(&self) -> usize {
        self.inner.stacks.len()
    }

    pub(super) fn define_string(&mut self, text: &str) -> Result<(), MirrorErrorKind> {
        let inner = Arc::make_mut(&mut self.inner);
        let end = u32::try_from(inner.text.len() + text.len());
        inner.ends.push(end.map_err(|_| MirrorErrorKind::TooMuchText)?);
        inner.text.push_str(text);
        Ok(())
    }

    pub(super) fn define_site(
        &mut self,
        file: Str,
        line: u32,
        column: u32,
    ) -> Result<(), MirrorErrorKind> {
        self.check_str(file)?;
        Arc::make_mut(&mut self.inner).sites.push((file, line, column));
        Ok(())
    }

    pub(super) fn define_stack(
        &mut self,
        site: SiteRef,
        around: StackRef,
    ) -> Result<(), MirrorErrorKind> {
        self.check_site(site)?;
        self.check_stack(around)?;
        Arc::make_mut(&mut self.inner).stacks.push((site, around));
        Ok(())
    }

    pub(super) fn check_str(&self, name: Str) -> Result<(), MirrorErrorKind> {
        match (name.0 as usize) < self.inner.ends.len() {
            true => Ok(()),
            false => Err(MirrorErrorKind::NoString(name.0)),
        }
    }

    pub(super) fn check_site(&self, site: SiteRef) -> Result<(), MirrorErrorKind> {
        match (site.0 as usize) < self.inner.sites.len() {
            true => Ok(()),
            false => Err(MirrorErrorKind::NoSite(site.0)),
        }
    }

    pub(super) fn check_stack(&self, stack: StackRef) -> Result<(), MirrorErrorKind> {
        match (stack.0 as usize) <= self.inner.stacks.len() {
            true => Ok(()),
            false => Err(MirrorErrorKind::NoStack(stack.0)),
        }
    }

    pub(super) fn heap_size(&self) -> usize {
        let Defined { text, ends, sites, stacks } = &*self.inner;
        text.capacity()
            + ends.capacity() * size_of::<u32>()
            + sites.capacity() * size_of::<(Str, u32, u32)>()
            + stacks.capacity() * size_of::<(SiteRef, StackRef)>()
    }

    fn get_str(&self, name: Str) -> Option<&str> {
        let Defined { text, ends, .. } = &*self.inner;
        let place = name.0 as usize;
        let end = *ends.get(place)? as usize;
        let start = place.checked_sub(1).map_or(0, |before| ends[before] as usize);
        text.get(start..end)
    }
}
