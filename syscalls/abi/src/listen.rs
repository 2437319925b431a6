//! The kernel's side of what is noted: who listens, and what things and frames are called.

use std::panic::Location;

use crate::id::{CallId, SourceId};
use crate::kernel_ring::KernelRing;
use crate::note::{Note, Object, StackId, count_listened};
use crate::wait_queue::QueueId;

/// Notes and frames, as the kernel takes them.
impl KernelRing {
    /// Whether somebody listens: then each grant is told of by a
    /// [`Post::Granted`](crate::Post::Granted), with the call, and the library lays notes.
    ///
    /// Whoever begins to listen is told of every frame anew.
    pub fn listen(&self, listens: bool) {
        let ring = self.ring();
        let before = ring.tells_grants.replace(listens);
        if listens == before {
            return;
        }
        count_listened(listens);
        if listens {
            ring.notes.frames.tell_again();
            ring.notes.has_news.set(true);
        }
    }

    /// Of what is read and written, the first `len` bytes are to be noted.
    pub fn listen_payload(&self, len: usize) {
        self.ring().notes.payload_len.set(len);
    }

    /// Whether there are notes.
    #[must_use]
    #[inline]
    pub fn has_notes(&self) -> bool {
        self.ring().notes.any()
    }

    /// What has been noted, in order.
    #[must_use]
    pub fn take_notes(&self) -> Vec<Note> {
        self.ring().notes.take()
    }

    /// Whether there may be notes or frames that have not been taken: what is asked at each event.
    #[must_use]
    #[inline]
    pub fn has_news(&self) -> bool {
        self.ring().notes.has_news.get()
    }

    /// As [`take_notes`](KernelRing::take_notes), for a vector that is empty, and whose memory the library
    /// lays its next notes into: so nothing is allocated. There is no news then, once the frames are taken, too.
    pub fn swap_notes(&self, empty: &mut Vec<Note>) {
        self.ring().notes.swap(empty);
    }

    /// Whether there are such as [`take_frames`](KernelRing::take_frames) gives.
    #[must_use]
    #[inline]
    pub fn has_frames(&self) -> bool {
        self.ring().notes.frames.has_untold()
    }

    /// The frames that were first entered since this was last asked: each with its line, and what was
    /// around it. They are numbered from 1, without a gap.
    #[must_use]
    pub fn take_frames(&self) -> Vec<(StackId, &'static Location<'static>, StackId)> {
        self.ring().notes.frames.take_untold()
    }

    /// The frames around a call, if it was made while somebody listened.
    #[must_use]
    pub fn stack_of_call(&self, call: CallId) -> StackId {
        self.ring().notes.frames.of_call(call)
    }

    /// The thing that those wait for who wait in this queue, if the queue is in use.
    #[must_use]
    pub fn object_of_queue(&self, queue: QueueId) -> Option<Object> {
        let queues = self.ring().calls.queues.borrow();
        queues.get(queue.place()).map(|home| home.object(self.ring()))
    }

    /// What a source of the library's is, if its entry is there.
    #[must_use]
    pub fn object_of_source(&self, source: SourceId) -> Option<Object> {
        self.ring().object_of_source(source)
    }

    /// Who waits in a queue, first to last.
    #[must_use]
    pub fn waiting_in(&self, queue: QueueId) -> Vec<CallId> {
        let queues = self.ring().calls.queues.borrow();
        let Some(home) = queues.get(queue.place()) else { return Vec::new() };
        self.ring().calls.table().members(&home.line.list).collect()
    }
}
