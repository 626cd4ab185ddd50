//! Pairs of measurements, one with and one without, and how sure their ratio is.

use crate::PAIRS;

/// The 97.5 % point of Student's t with `PAIRS - 1` degrees of freedom.
const T: f64 = 2.201;
const _: () = assert!(PAIRS == 12, "another number of pairs has another T");

pub struct Paired {
    /// Geometric means.
    pub with: f64,
    pub without: f64,
    pub ratio: f64,
    /// The ratio lies between these with 95 % certainty.
    pub low: f64,
    pub high: f64,
}

impl Paired {
    pub fn of(pairs: &[(f64, f64)]) -> Self {
        let count = pairs.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
        let (with, without) = (mean(&|pair| pair.0.ln()), mean(&|pair| pair.1.ln()));
        let ratio = with - without;
        let variance = mean(&|pair| (pair.0.ln() - pair.1.ln() - ratio).powi(2)) * count / (count - 1.0);
        let half = T * (variance / count).sqrt();
        Self {
            with: with.exp(),
            without: without.exp(),
            ratio: ratio.exp(),
            low: (ratio - half).exp(),
            high: (ratio + half).exp(),
        }
    }
}
