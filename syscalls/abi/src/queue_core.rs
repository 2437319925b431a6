//! What a wait queue is, how many tokens are free, and who holds some: and the one place where all of it is
//! told, where somebody listens.

use std::cell::Cell;
use std::panic::Location;

use crate::holder::Holders;
use crate::id::TaskId;
use crate::note::{Note, NoteValue, Object, ObjectTag, somebody_listens};
use crate::ring::Ring;
use crate::wait_queue::Home;

/// What becomes of tokens, and whether who has them holds something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// Tokens that nobody waits for are kept.
    Keeps,
    /// The same, and whoever has some is said to hold the thing.
    Held,
    /// Tokens that nobody waits for are forgotten.
    Forgets,
}

/// What a queue is called, and by which rule it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sort {
    label: Option<&'static str>,
    kind: Option<&'static str>,
    rule: Rule,
    /// Whether it is told how many tokens are free.
    tells_free: bool,
}

impl Sort {
    pub(crate) const fn new(
        label: Option<&'static str>,
        kind: Option<&'static str>,
        rule: Rule,
    ) -> Sort {
        Sort { label, kind, rule, tells_free: true }
    }

    pub(crate) const fn telling_free(mut self, tells_free: bool) -> Sort {
        self.tells_free = tells_free;
        self
    }
}

/// What object and ring share of a queue.
///
/// What changes is told by whoever changes it, with the [`Home`] that this lies in, if it does: that has
/// the name, and knows the ring.
pub(crate) struct Core {
    /// The tokens that are free to be taken; none while somebody waits.
    free: Cell<usize>,
    holders: Holders,
    sort: Sort,
    tag: ObjectTag,
}

/// What of a queue is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Free,
    Holder,
}

impl Core {
    pub(crate) const fn new(tokens: usize, sort: Sort, tag: ObjectTag) -> Core {
        Core { free: Cell::new(tokens), holders: Holders::none(), sort, tag }
    }

    /// The same, for the home from which all is told from now on.
    pub(crate) fn handed_on(&self) -> Core {
        let Core { free, holders, sort, tag } = self;
        Core { free: free.clone(), holders: holders.clone(), sort: *sort, tag: tag.clone() }
    }

    #[inline]
    pub(crate) fn rule(&self) -> Rule {
        self.sort.rule
    }

    pub(crate) fn label(&self) -> Option<&'static str> {
        self.sort.label
    }

    pub(crate) fn kind(&self) -> Option<&'static str> {
        self.sort.kind
    }

    pub(crate) fn holders(&self) -> &Holders {
        &self.holders
    }

    /// Who alone holds the thing, if that is known.
    #[inline(always)]
    pub(crate) fn holder(&self, life: u64) -> Option<TaskId> {
        match self.sort.rule {
            Rule::Held => self.holders.sole_task(life),
            Rule::Keeps | Rule::Forgets => None,
        }
    }

    #[inline(always)]
    pub(crate) fn free(&self) -> usize {
        self.free.get()
    }

    #[inline(always)]
    pub(crate) fn set_free(&self, home: Option<&Home>, free: usize) {
        self.free.set(free);
        if somebody_listens() && self.sort.tells_free {
            self.tell(home, Field::Free);
        }
    }

    /// Takes tokens without a word, for whoever runs now and comes in: nobody listens.
    #[inline(always)]
    pub(crate) fn hold_unheard(&self, n: u32, since: &'static Location<'static>) -> bool {
        let Some(left) = self.free.get().checked_sub(n as usize) else { return false };
        self.free.set(left);
        self.holders.enter(since);
        true
    }

    /// One who came in at `since` leaves without a word: nobody listens.
    #[inline(always)]
    pub(crate) fn leave_unheard(&self, since: &'static Location<'static>) {
        self.holders.leave(since);
    }

    /// Keeps tokens without a word, or forgets them: nobody listens.
    #[inline(always)]
    pub(crate) fn keep_unheard(&self, tokens: usize) {
        if self.sort.rule != Rule::Forgets {
            self.free.set(self.free.get().saturating_add(tokens));
        }
    }

    /// The same without a word: it is the kernel's own, and nothing has happened.
    pub(crate) fn reset_free(&self, free: usize) {
        self.free.set(free);
    }

    /// Keeps tokens that nobody waits for, or forgets them.
    #[inline]
    pub(crate) fn keep(&self, home: Option<&Home>, tokens: usize) {
        if self.sort.rule != Rule::Forgets && tokens > 0 {
            self.set_free(home, self.free.get().saturating_add(tokens));
        }
    }

    /// Whoever runs now has come in.
    #[inline]
    pub(crate) fn enter(&self, home: Option<&Home>, since: &'static Location<'static>) {
        self.holders.enter(since);
        if somebody_listens() {
            self.tell(home, Field::Holder);
        }
    }

    /// Tokens were given to one who waited: if that is to hold the thing, it has come in.
    #[inline(always)]
    pub(crate) fn grant(
        &self,
        home: &Home,
        task: Option<TaskId>,
        life: u64,
        since: &'static Location<'static>,
    ) {
        if self.sort.rule != Rule::Held {
            return;
        }
        self.holders.enter_as(task, life, since);
        if somebody_listens() {
            self.tell(Some(home), Field::Holder);
        }
    }

    /// One who came in at `since` has left.
    #[inline]
    pub(crate) fn leave(&self, home: Option<&Home>, since: &'static Location<'static>) {
        self.holders.leave(since);
        if somebody_listens() {
            self.tell(home, Field::Holder);
        }
    }

    /// So many have left whom nobody saw leave: their scheduler is gone, and there is nobody to be told.
    pub(crate) fn leave_unseen(&self, count: usize) {
        if self.sort.rule == Rule::Held {
            self.holders.leave_unseen(count);
        }
    }

    pub(crate) fn begin_anew(&self, site: Option<&'static Location<'static>>) {
        self.tag.begin_anew(site);
    }
}

/// What is told of a queue, and where it is told.
impl Core {
    pub(crate) fn object(&self, ring: &Ring, home: Option<&Home>) -> Object {
        let kind = self.sort.kind.or(self.sort.label).unwrap_or("wait queue");
        let name = home.and_then(Home::name);
        Object { id: self.tag.id(ring), kind, name, site: self.tag.site() }
    }

    /// Where somebody listens: the ring that the queue is bound to, or else the one at work.
    fn listener(home: Option<&Home>) -> Option<&'static Ring> {
        let bound = home.and_then(Home::binding).map(|(ring, _)| ring);
        bound.or_else(Ring::at_work).filter(|ring| ring.is_listened_to())
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, home: Option<&Home>, changed: Field) {
        let Some(ring) = Core::listener(home) else { return };
        if self.tag.known_in(ring).is_none() {
            self.tell_rest(ring, home, changed);
        }
        match changed {
            Field::Free => self.tell_free(ring, home),
            Field::Holder => self.tell_holder(ring, home),
        }
    }

    /// Tells of what is not known yet in the ring to which the queue was just bound.
    #[inline]
    pub(crate) fn tell_anew(&self, home: &Home) {
        if somebody_listens()
            && let Some(ring) = Core::listener(Some(home))
            && self.tag.known_in(ring).is_none()
        {
            self.tell_rest(ring, Some(home), Field::Free);
            self.tell_rest(ring, Some(home), Field::Holder);
        }
    }

    /// Tells of a field of the thing that is not the queue's own.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell_field(&self, home: Option<&Home>, field: &'static str, value: u64) {
        if let Some(ring) = Core::listener(home) {
            let (object, value) = (self.object(ring, home), NoteValue::Count(value));
            ring.note(Note::Set { object, field, value });
        }
    }

    /// Tells what there is to tell beside `changed`, of a thing that was not known before.
    fn tell_rest(&self, ring: &Ring, home: Option<&Home>, changed: Field) {
        if changed == Field::Free && self.holders.shown_in(ring.life()).is_some() {
            self.tell_holder(ring, home);
        }
        if changed == Field::Holder && self.free.get() > 0 {
            self.tell_free(ring, home);
        }
    }

    fn tell_free(&self, ring: &Ring, home: Option<&Home>) {
        if self.sort.tells_free {
            let value = NoteValue::Count(self.free.get() as u64);
            ring.note(Note::Set { object: self.object(ring, home), field: "free", value });
        }
    }

    fn tell_holder(&self, ring: &Ring, home: Option<&Home>) {
        let holder = self.holders.shown_in(ring.life());
        let count = holder
            .as_ref()
            .map_or(0, |holder| u64::from(holder.others) + u64::from(holder.since.is_some()));
        let last = holder.and_then(|holder| Some((holder.since?, holder.task)));
        let value = match last {
            Some((since, task)) => NoteValue::Held { task, since },
            None => NoteValue::Nothing,
        };
        let object = self.object(ring, home);
        ring.note(Note::Set { object: object.clone(), field: "holder", value });
        ring.note(Note::Set { object, field: "holders", value: NoteValue::Count(count) });
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn tell_gone(&self, home: Option<&Home>) {
        if let Some(ring) = Core::listener(home) {
            self.tag.note_gone(ring);
        }
    }
}
