//! Shapes of at most five axes.

use crate::{Error, Result};

/// Lengths of the axes, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    axes: [usize; Shape::MAX_RANK],
}

impl Shape {
    /// Most axes that a tensor may have.
    pub const MAX_RANK: usize = 5;

    /// A shape from a slice; more than five axes is a bug of the caller's.
    pub fn new(lengths: &[usize]) -> Self {
        assert!(lengths.len() <= Self::MAX_RANK, "rank {} is over {}", lengths.len(), Self::MAX_RANK);
        let mut axes = [1; Self::MAX_RANK];
        axes[..lengths.len()].copy_from_slice(lengths);
        Shape { rank: lengths.len() as u8, axes }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The lengths.
    pub fn as_slice(&self) -> &[usize] {
        &self.axes[..self.rank()]
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.as_slice().iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last axis, 1 for a scalar.
    pub fn last(&self) -> usize {
        self.as_slice().last().copied().unwrap_or(1)
    }

    /// The shape with one axis replaced.
    pub fn with(mut self, axis: usize, length: usize) -> Self {
        self.axes[axis] = length;
        self
    }

    /// Row-major strides in elements, for five axes aligned at the end; leading ones are 0.
    pub fn strides(&self) -> [usize; Self::MAX_RANK] {
        let mut strides = [0; Self::MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank()).rev() {
            strides[Self::MAX_RANK - self.rank() + axis] = step;
            step *= self.axes[axis];
        }
        strides
    }

    /// Lengths of five axes aligned at the end; leading ones are 1.
    pub fn padded(&self) -> [usize; Self::MAX_RANK] {
        let mut lengths = [1; Self::MAX_RANK];
        lengths[Self::MAX_RANK - self.rank()..].copy_from_slice(self.as_slice());
        lengths
    }

    /// The shape that both broadcast to, NumPy's rule: aligned at the end, equal or 1.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let (a, b) = (self.padded(), other.padded());
        let mut out = [1; Self::MAX_RANK];
        for i in 0..Self::MAX_RANK {
            out[i] = match (a[i], b[i]) {
                (x, y) if x == y => x,
                (1, y) => y,
                (x, 1) => x,
                _ => return None,
            };
        }
        Some(Shape::new(&out[Self::MAX_RANK - self.rank().max(other.rank())..]))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(lengths: [usize; N]) -> Self {
        Shape::new(&lengths)
    }
}

impl From<&[usize]> for Shape {
    fn from(lengths: &[usize]) -> Self {
        Shape::new(lengths)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_slice())
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A number of bytes as people write it: `1048576`, `512KiB`, `1MiB`, `2GiB`.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => 0,
    };
    let count: Option<u64> = digits.trim().parse().ok();
    match count.and_then(|n| n.checked_mul(unit)) {
        Some(bytes) if unit > 0 => Ok(bytes),
        _ => Err(Error::Input(format!("\"{text}\" is not a number of bytes such as 64KiB, 128MiB or 1GiB"))),
    }
}

/// A number of bytes for people: `1.5 GiB`.
pub fn format_bytes(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasts_like_numpy() {
        let of = |a: &[usize], b: &[usize]| Shape::new(a).broadcast(&Shape::new(b)).map(|s| s.as_slice().to_vec());
        assert_eq!(of(&[2, 3, 4], &[4]), Some(vec![2, 3, 4]));
        assert_eq!(of(&[2, 1, 4], &[3, 1]), Some(vec![2, 3, 4]));
        assert_eq!(of(&[], &[5]), Some(vec![5]));
        assert_eq!(of(&[2], &[3]), None);
    }

    #[test]
    fn reads_byte_counts() {
        assert_eq!(parse_bytes("1MiB").unwrap(), 1 << 20);
        assert_eq!(parse_bytes("4096").unwrap(), 4096);
        for bad in ["", "MiB", "1.5GiB", "-1", "12XB", "99999999999GiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
