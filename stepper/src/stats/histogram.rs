//! Lengths of time, counted in buckets that double.

use super::model::{Bucket, Histogram};

/// Counts up. Bucket `n` has what takes `n` binary digits.
#[derive(Debug)]
pub(super) struct Lengths {
    buckets: [u64; 65],
    total_ns: u64,
    longest_ns: u64,
}

impl Lengths {
    pub(super) fn new() -> Lengths {
        Lengths { buckets: [0; 65], total_ns: 0, longest_ns: 0 }
    }

    pub(super) fn add(&mut self, nanos: u64) {
        self.buckets[(u64::BITS - nanos.leading_zeros()) as usize] += 1;
        self.total_ns = self.total_ns.saturating_add(nanos);
        self.longest_ns = self.longest_ns.max(nanos);
    }

    pub(super) fn histogram(&self) -> Histogram {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        let bucket = |(digits, count): (usize, &u64)| {
            let to_ns = 1_u64.checked_shl(digits as u32).unwrap_or(u64::MAX);
            let from_ns = if digits == 0 { 0 } else { 1 << (digits - 1) };
            Bucket { from_ns, to_ns, count: *count }
        };
        Histogram {
            count: self.buckets.iter().sum(),
            total_ns: self.total_ns,
            longest_ns: self.longest_ns,
            buckets: filled.map(bucket).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_then_each_in_the_bucket_that_it_lies_in() {
        let mut lengths = Lengths::new();
        for nanos in [0, 1, 2, 3, 1024, u64::MAX] {
            lengths.add(nanos);
        }
        let histogram = lengths.histogram();
        let buckets: Vec<_> =
            histogram.buckets.iter().map(|b| (b.from_ns, b.to_ns, b.count)).collect();
        assert_eq!(
            buckets,
            [(0, 1, 1), (1, 2, 1), (2, 4, 2), (1024, 2048, 1), (1 << 63, u64::MAX, 1)]
        );
        assert_eq!((histogram.count, histogram.longest_ns), (6, u64::MAX));
    }
}
