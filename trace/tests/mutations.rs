//! Hostile traces: whatever the bytes, reading them ends, never panics, and takes no more memory than it says.

#![allow(unsafe_code, reason = "an allocator that counts is a `GlobalAlloc`")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Draw, Run, file};
use trapline_trace::format::{Chunks, Encoder, FileWriter, Header};
use trapline_trace::{Move, Record, Recording, SiteRef, Str, TaskState, Value};

/// Counts what is allocated by this program at a time.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it hands everything on to the system's allocator as it came; beside it only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps to what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the block came from `alloc` above, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What reading anything takes at least: tables have room for some entries from the first one on.
const BASE: usize = 64 * 1024;

/// Reads a file that may be anything, and looks at what is there. Gives the most memory that this took.
fn read(bytes: Vec<u8>) -> usize {
    let before = NOW.load(Ordering::Relaxed) - bytes.len();
    MOST.store(before, Ordering::Relaxed);
    let Ok(recording) = Recording::from_bytes(bytes) else { return 0 };
    if let Some(damage) = recording.damage() {
        black_box(damage.to_string());
    }
    let last = recording.last_step().unwrap_or(0);
    for step in [recording.first_step().unwrap_or(0), last / 2, last] {
        black_box(recording.state_at(step).map(|mirror| mirror.text().len()));
        black_box(recording.records_of(step).count());
    }
    black_box(recording.end().text());
    MOST.load(Ordering::Relaxed) - before
}

/// One change of the kind that bad disks, bad networks and bad people make.
fn mutate(bytes: &mut Vec<u8>, others: &[u8], draw: &mut Draw) {
    if bytes.is_empty() {
        return;
    }
    let place = draw.below(bytes.len());
    match draw.below(6) {
        0 => bytes[place] ^= 1 << draw.below(8),
        1 => bytes[place] = draw.next() as u8,
        2 => bytes.truncate(place),
        3 => {
            let end = (place + draw.below(40)).min(bytes.len());
            bytes.drain(place..end);
        }
        4 => {
            let from = draw.below(others.len());
            let piece = &others[from..(from + draw.below(60)).min(others.len())];
            bytes.splice(place..place, piece.iter().copied());
        }
        _ => {
            // A length, or any other number, that is far too large.
            let end = (place + 4).min(bytes.len());
            bytes[place..end].fill(0xFF);
        }
    }
}

#[test]
fn traces_that_were_tampered_with_then_none_panics_hangs_or_takes_much_memory() {
    let bases: Vec<Vec<u8>> = (0..8)
        .map(|seed| {
            let mut run = Run::new(seed, 25);
            if seed % 2 == 0 {
                run.gap(10);
                (0..10).for_each(|_| run.step());
            }
            file(&run.records, 200)
        })
        .collect();
    let mut draw = Draw::new(4711);
    let mut damaged = 0;
    for round in 0..100_000 {
        let mut bytes = bases[round % bases.len()].clone();
        let others = &bases[draw.below(bases.len())];
        if round % 4 == 0 {
            (0..=draw.below(3)).for_each(|_| mutate(&mut bytes, others, &mut draw));
        } else {
            // The checksums are right, so that the records are read.
            let mut records: Vec<u8> =
                Chunks::new(&bytes).flat_map(|chunk| chunk.records.to_vec()).collect();
            (0..=draw.below(3)).for_each(|_| mutate(&mut records, others, &mut draw));
            let mut writer = FileWriter::new(Vec::new()).unwrap();
            writer.chunk(0, &records).unwrap();
            bytes = writer.into_inner();
        }
        bytes.shrink_to_fit();
        let size = bytes.len();
        damaged += usize::from(size > Header::LENGTH);
        let most = read(bytes);
        assert!(most <= 16 * size + BASE, "round {round}: {most} bytes for a file of {size}");
    }
    assert!(damaged > 90_000);
    records_made_to_take_memory();
}

/// Not a test of its own: tests run side by side, and share the allocator.
fn records_made_to_take_memory() {
    let born = |task| Move::TaskBorn {
        task,
        parent: None,
        name: None,
        site: SiteRef(0),
        daemon: false,
        state: TaskState::Blocked,
        dispatches: 0,
    };
    let object = |object| Move::ObjectBorn { object, kind: Str(0), name: None, site: None };
    hostile("tasks", |n| vec![born(n)]);
    hostile("tasks, the last first", |n| vec![born(u64::MAX - n)]);
    hostile("objects", |n| vec![object(n)]);
    hostile("fields", |n| {
        let set =
            Move::FieldSet { object: n / 40, field: Str(n as u32 % 40), value: Value::Nothing };
        if n % 40 == 0 { vec![object(n / 40), set] } else { vec![set] }
    });
    hostile("calls", |n| {
        let begun = Move::CallBegun {
            call: n,
            task: 0,
            what: Str(0),
            argument: Value::Nothing,
            site: SiteRef(0),
            stack: Default::default(),
        };
        if n == 0 { vec![born(0), begun] } else { vec![begun] }
    });
}

/// Half a million moves that each take as few bytes and as much state as can be.
fn hostile(what: &str, moves: impl Fn(u64) -> Vec<Move>) {
    let mut records = Vec::new();
    let mut encoder = Encoder::new();
    encoder.encode(&Record::Reset { step: 0, at_nanos: 0, missed_steps: 0 }, &mut records);
    (0..40).for_each(|_| encoder.encode(&Record::DefineString(String::new()), &mut records));
    let site = Record::DefineSite { file: Str(0), line: 1, column: 1 };
    encoder.encode(&site, &mut records);
    for n in 0..500_000 {
        for change in moves(n) {
            encoder.encode(&Record::Move(change), &mut records);
        }
    }
    let mut writer = FileWriter::new(Vec::new()).unwrap();
    writer.chunk(0, &records).unwrap();
    drop(records);
    let mut bytes = writer.into_inner();
    bytes.shrink_to_fit();
    let size = bytes.len();
    let before = NOW.load(Ordering::Relaxed) - size;
    MOST.store(before, Ordering::Relaxed);
    let recording = Recording::from_bytes(bytes).unwrap();
    let most = MOST.load(Ordering::Relaxed) - before;
    let limit = (16 * size).max(16 << 20);
    assert!(most <= limit, "{what}: {most} bytes for a file of {size}");
    assert!(recording.end().size() > 4 << 20, "{what}: nothing was read");
}
