//! I/O sources: who waits for which descriptor, and what is registered with the driver.
//!
//! A source that the library owns is registered once, for both directions, and its readiness is
//! kept in the ring. A borrowed descriptor is registered while anybody waits for it, re-armed at
//! each wait, and so behaves as `poll(2)` does. One entry a descriptor number, whoever came first.

use std::io;
use std::os::fd::RawFd;

use slab::Slab;
use trapline_abi::{CallId, Direction, Errno, KernelRing, ListHead, On, Reply, SourceId, Target};

use crate::driver::{Driver, Interest, IoEvent};
use crate::kernel::Fate;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Source {
    fd: RawFd,
    /// The library's source, if it is one.
    owned: Option<SourceId>,
    /// Tells this owner of the place from the next, in the events of the driver.
    generation: u32,
    readers: ListHead,
    writers: ListHead,
}

impl Source {
    fn list(&mut self, direction: Direction) -> &mut ListHead {
        match direction {
            Direction::Read => &mut self.readers,
            Direction::Write => &mut self.writers,
        }
    }

    fn interest(&self) -> Interest {
        match (self.owned, self.readers.is_empty(), self.writers.is_empty()) {
            (None, false, true) => Interest::Read,
            (None, true, false) => Interest::Write,
            _ => Interest::Both,
        }
    }

    fn is_unused(&self) -> bool {
        self.owned.is_none() && self.readers.is_empty() && self.writers.is_empty()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sources {
    table: Slab<Source>,
    /// Descriptor number to place; descriptors are small numbers.
    by_fd: Vec<u32>,
    waiting: usize,
    last_generation: u32,
}

fn on_of(place: usize, direction: Direction) -> On {
    match direction {
        Direction::Read => On::Readable(place as u64),
        Direction::Write => On::Writable(place as u64),
    }
}

/// Calls that an event or an error has answered, in the order in which they came.
pub(crate) type Answers = Vec<(CallId, Reply)>;

impl Sources {
    /// How many calls wait for readiness.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    fn place_of(&self, fd: RawFd) -> Option<usize> {
        let place = *self.by_fd.get(usize::try_from(fd).ok()?)?;
        (place != NONE).then_some(place as usize)
    }

    fn token(&self, place: usize) -> u64 {
        u64::from(self.table[place].generation) << 32 | place as u64
    }

    /// Serves a wait: answered if the source is ready or cannot be waited for, else blocked.
    pub(crate) fn wait(
        &mut self,
        ring: &KernelRing,
        driver: &mut dyn Driver,
        (target, direction): (Target, Direction),
        answers: &mut Answers,
    ) -> Fate {
        let (fd, owned) = match target.source() {
            Err(fd) => (fd, None),
            Ok(id) => match ring.source_fd(id) {
                None => return Fate::Answer(Reply::SourceClosed),
                Some(_) if ring.ring().readiness(id).allows(direction) => {
                    return Fate::Answer(Reply::Done);
                }
                Some(fd) => (fd, Some(id)),
            },
        };
        if fd < 0 {
            return Fate::Answer(Reply::Os(Errno::BADF));
        }
        let known = self.place_of(fd);
        if let (Some(place), Some(_)) = (known, owned)
            && self.table[place].owned == owned
        {
            return self.block(ring, place, direction);
        }
        match self.arm(ring, driver, (fd, owned), direction, answers) {
            Ok(place) => self.block(ring, place, direction),
            // Always ready, as poll(2) says of a regular file.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Fate::Answer(Reply::Done)
            }
            Err(error) => Fate::Answer(Reply::Os(Errno::of(&error))),
        }
    }

    /// Blocks the call at hand.
    fn block(&mut self, ring: &KernelRing, place: usize, direction: Direction) -> Fate {
        let on = on_of(place, direction);
        ring.block_at_hand(self.table[place].list(direction), on);
        self.waiting += 1;
        Fate::Block(on)
    }

    /// Makes sure that the descriptor is registered, and that an event comes if it is ready now.
    fn arm(
        &mut self,
        ring: &KernelRing,
        driver: &mut dyn Driver,
        (fd, owned): (RawFd, Option<SourceId>),
        direction: Direction,
        answers: &mut Answers,
    ) -> io::Result<usize> {
        if let Some(place) = self.place_of(fd) {
            let mut interest = self.table[place].interest();
            if self.table[place].list(direction).is_empty() || owned.is_some() {
                interest = Interest::Both;
            }
            match driver.reregister(fd, self.token(place), interest) {
                Ok(()) => {
                    if owned.is_some() {
                        self.table[place].owned = owned;
                    }
                    return Ok(place);
                }
                // The number has a new owner, or none: those who wait wait for the old one.
                Err(_) => self.close(ring, place, answers),
            }
        }
        let interest = match (owned, direction) {
            (Some(_), _) => Interest::Both,
            (None, Direction::Read) => Interest::Read,
            (None, Direction::Write) => Interest::Write,
        };
        let place = self.insert(fd, owned);
        let token = self.token(place);
        let armed = match driver.register(fd, token, interest) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                driver.reregister(fd, token, interest)
            }
            armed => armed,
        };
        match armed {
            Ok(()) => {
                self.enter_number(place);
                Ok(place)
            }
            Err(error) => {
                self.table.remove(place);
                Err(error)
            }
        }
    }

    fn insert(&mut self, fd: RawFd, owned: Option<SourceId>) -> usize {
        self.last_generation = self.last_generation.wrapping_add(1);
        let generation = self.last_generation;
        let (readers, writers) = (ListHead::new(), ListHead::new());
        self.table.insert(Source { fd, owned, generation, readers, writers })
    }

    /// Enters a number that the driver has accepted: it is below the limit of descriptors.
    fn enter_number(&mut self, place: usize) {
        let number = self.table[place].fd as usize;
        if number >= self.by_fd.len() {
            self.by_fd.resize(number + 1, NONE);
        }
        self.by_fd[number] = place as u32;
    }

    fn remove(&mut self, place: usize) {
        let source = self.table.remove(place);
        let entry = &mut self.by_fd[source.fd as usize];
        if *entry == place as u32 {
            *entry = NONE;
        }
    }

    /// Forgets a source whose number is no longer its own, and answers who waits for it.
    fn close(&mut self, ring: &KernelRing, place: usize, answers: &mut Answers) {
        for direction in [Direction::Read, Direction::Write] {
            while let Some(call) = ring.pop_waiter(self.table[place].list(direction)) {
                self.waiting -= 1;
                answers.push((call, Reply::SourceClosed));
            }
        }
        self.remove(place);
    }

    /// The library has closed one of its sources. The number is not touched: it may be another's.
    pub(crate) fn close_owned(&mut self, ring: &KernelRing, id: SourceId, answers: &mut Answers) {
        if let Some(place) = ring.source_fd(id).and_then(|fd| self.place_of(fd))
            && self.table[place].owned == Some(id)
        {
            self.close(ring, place, answers);
        }
        ring.remove_source(id);
    }

    /// A waiter leaves; with the last one goes the registration of a borrowed descriptor.
    pub(crate) fn forget(
        &mut self,
        ring: &KernelRing,
        driver: &mut dyn Driver,
        call: CallId,
        (place, direction): (u64, Direction),
    ) {
        let place = place as usize;
        ring.unlink(self.table[place].list(direction), call);
        self.waiting -= 1;
        self.drop_unused(driver, place);
    }

    fn drop_unused(&mut self, driver: &mut dyn Driver, place: usize) {
        if self.table[place].is_unused() {
            // It fails where the descriptor has been closed, and then there is nothing to end.
            let _ = driver.deregister(self.table[place].fd);
            self.remove(place);
        }
    }

    /// An event of the driver: wakes all who wait for it, and says of which descriptor it is. Events of former
    /// owners reach no one.
    pub(crate) fn deliver(
        &mut self,
        ring: &KernelRing,
        driver: &mut dyn Driver,
        event: IoEvent,
        answers: &mut Answers,
    ) -> Option<RawFd> {
        let place = (event.token & u64::from(u32::MAX)) as usize;
        let generation = (event.token >> 32) as u32;
        let source = self.table.get_mut(place).filter(|source| source.generation == generation)?;
        let fd = source.fd;
        if let Some(id) = source.owned {
            ring.add_readiness(id, event.readiness);
        }
        for direction in [Direction::Read, Direction::Write] {
            if !event.readiness.allows(direction) {
                continue;
            }
            while let Some(call) = ring.pop_waiter(self.table[place].list(direction)) {
                self.waiting -= 1;
                answers.push((call, Reply::Done));
            }
        }
        self.drop_unused(driver, place);
        Some(fd)
    }

    /// Checks that every waiter is blocked on the list it stands in (no-orphan).
    pub(crate) fn check(&self, ring: &KernelRing) {
        use trapline_abi::CallState;

        let mut waiting = 0;
        for (place, source) in &self.table {
            for (list, direction) in
                [(&source.readers, Direction::Read), (&source.writers, Direction::Write)]
            {
                for call in ring.waiters(list) {
                    let on = on_of(place, direction);
                    assert_eq!(ring.state(call), Some(CallState::Blocked(on)), "no-orphan");
                    waiting += 1;
                }
            }
            assert_eq!(self.place_of(source.fd), Some(place), "no-orphan: a descriptor's entry");
            assert!(!source.is_unused(), "no-orphan: a registration nobody waits for");
        }
        assert_eq!(waiting, self.waiting, "no-orphan: waits on sources are counted");
    }
}
