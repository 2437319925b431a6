//! The measurements of memory, in a program of their own: its allocator counts every live byte, and
//! would slow down the measurements of time. `trapline-benches` runs it.

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::StatsAlloc;

#[global_allocator]
static HEAP: StatsAlloc<System> = StatsAlloc::system();

fn main() -> ExitCode {
    trapline_benches::memory_main(|| {
        let stats = HEAP.stats();
        stats.bytes_allocated - stats.bytes_deallocated
    })
}
