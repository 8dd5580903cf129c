//! Seeded arrays on the host, and bringing results of different memory orders together.

/// Values and the lengths of the axes, row-major.
#[derive(Clone)]
pub struct Host {
    pub data: Vec<f32>,
    pub shape: Vec<usize>,
}

impl Host {
    /// Pseudo-random values in [-scale, scale].
    pub fn seeded(shape: &[usize], seed: u64, scale: f32) -> Host {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
        };
        Host { data: (0..shape.iter().product()).map(|_| next()).collect(), shape: shape.to_vec() }
    }

    /// Axis i of the result is axis `order[i]`.
    pub fn permuted(&self, order: &[usize]) -> Host {
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis]).collect();
        let strides: Vec<usize> = order.iter().map(|&axis| self.shape[axis + 1..].iter().product()).collect();
        let element = |flat: usize| {
            let mut rest = flat;
            (0..shape.len()).rev().fold(0, |at, axis| {
                let coordinate = rest % shape[axis];
                rest /= shape[axis];
                at + coordinate * strides[axis]
            })
        };
        Host { data: (0..self.data.len()).map(|flat| self.data[element(flat)]).collect(), shape: shape.clone() }
    }

    /// `[B, Y, X, C]` as `[B, C, Y, X]`.
    pub fn channels_first(&self) -> Host {
        self.permuted(&[0, 3, 1, 2])
    }

    /// A matrix with its axes swapped.
    pub fn transposed(&self) -> Host {
        self.permuted(&[1, 0])
    }
}

/// Largest difference relative to the largest magnitude.
pub fn difference(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let scale = b.iter().fold(0f32, |m, x| m.max(x.abs())).max(1e-6);
    // A NaN must not pass for agreement, as it would with `max`.
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs() / scale)
        .fold(0f64, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e.into()) })
}
