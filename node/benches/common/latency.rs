//! Latencies of one run: every single one is kept, so that the tail is what was seen and not a bucket's edge.

use std::time::Duration;

#[derive(Default)]
pub struct Latencies {
    micros: Vec<u32>,
    sorted: bool,
}

impl Latencies {
    pub fn add(&mut self, took: Duration) {
        self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.sorted = false;
    }

    pub fn join(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.sorted = false;
    }

    pub fn count(&self) -> usize {
        self.micros.len()
    }

    /// Units: milliseconds. `thousandths` of all were as quick or quicker.
    pub fn at_ms(&mut self, thousandths: usize) -> f64 {
        if !self.sorted {
            self.micros.sort_unstable();
            self.sorted = true;
        }
        let rank = (self.micros.len() * thousandths).div_ceil(1_000).saturating_sub(1);
        self.micros.get(rank).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
    }
}
