//! Means over few seeds.

use serde::Serialize;

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Mean of the values.
    pub mean: f64,
    /// Half of the 95 % interval; none for a single value.
    pub spread: Option<f64>,
    /// Number of values.
    pub count: usize,
}

/// Student's t at 97.5 % for 1, 2, … degrees of freedom.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// `mean ± t · s / √n` with the sample's standard deviation s, as seeds are draws from a normal distribution of unknown width. None
/// without values.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let variance = |mean: f64| values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let spread = (n > 1).then(|| T.get(n - 2).copied().unwrap_or(1.96) * (variance(mean) / n as f64).sqrt());
    (n > 0).then_some(Estimate { mean, spread, count: n })
}

impl Estimate {
    /// Whether zero is outside the interval, and on which side; none without an interval.
    pub fn differs_from_zero(&self) -> Option<bool> {
        self.spread.map(|spread| self.mean.abs() > spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_students() {
        // By hand: mean 2, s = 1, 4.303 / sqrt(3).
        let three = estimate(&[1.0, 2.0, 3.0]).unwrap();
        assert!((three.mean - 2.0).abs() < 1e-12 && (three.spread.unwrap() - 2.4843).abs() < 1e-4);
        assert_eq!(three.differs_from_zero(), Some(false));
        assert_eq!(estimate(&[5.0, 5.0]).unwrap().differs_from_zero(), Some(true));
        assert_eq!(estimate(&[4.0]).unwrap(), Estimate { mean: 4.0, spread: None, count: 1 });
        assert_eq!(estimate(&[]), None);
    }
}
