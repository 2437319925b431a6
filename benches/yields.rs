//! Yields as often as it is told, for `benches/yield_instructions`, which counts what that takes.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = env::args().nth(1).ok_or("how often?")?.parse()?;
    let report = trapline::run(async move {
        for _ in 0..count {
            trapline::yield_now().await;
        }
    })?;
    match report.failures {
        0 => Ok(()),
        _ => Err(report.to_string().into()),
    }
}
