//! The Fréchet distance between two sets of pictures, taken as normal distributions of features:
//! `d² = |m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁^½ C₂ C₁^½)^½)` (Heusel et al. 2017, with features of our own, so that values compare only with
//! each other).

use crate::{Error, Result};

/// Mean and covariance of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    mean: Vec<f64>,
    /// `[F, F]`.
    covariance: Vec<f64>,
}

impl Statistics {
    /// Of at least two lists of the same length.
    pub fn of(samples: &[Vec<f64>]) -> Result<Statistics> {
        let width = samples.first().map_or(0, Vec::len);
        if samples.len() < 2 || width == 0 || samples.iter().any(|sample| sample.len() != width) {
            return Err(Error::Input("feature statistics need two lists of the same length, at least".into()));
        }
        let mean: Vec<f64> =
            (0..width).map(|i| samples.iter().map(|s| s[i]).sum::<f64>() / samples.len() as f64).collect();
        let entry = |n: usize| {
            let (i, j) = (n / width, n % width);
            let products = samples.iter().map(|s| (s[i] - mean[i]) * (s[j] - mean[j]));
            products.sum::<f64>() / (samples.len() - 1) as f64
        };
        let covariance = (0..width * width).map(entry).collect();
        Ok(Statistics { mean, covariance })
    }
}

/// The squared distance `d²`, as is usual.
pub fn frechet_distance(a: &Statistics, b: &Statistics) -> Result<f64> {
    let n = a.mean.len();
    if b.mean.len() != n {
        return Err(Error::Input(format!("features of {n} and {} numbers cannot be compared", b.mean.len())));
    }
    let apart: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b).powi(2)).sum();
    let trace = |matrix: &[f64]| (0..n).map(|i| matrix[i * n + i]).sum::<f64>();
    let root = square_root(&a.covariance, n);
    let inner = product(&product(&root, &b.covariance, n), &root, n);
    // The trace of a square root is the sum of the roots of the eigenvalues.
    let shared: f64 = eigen(&inner, n).0.iter().map(|value| value.max(0.0).sqrt()).sum();
    Ok((apart + trace(&a.covariance) + trace(&b.covariance) - 2.0 * shared).max(0.0))
}

fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut c = vec![0.0; n * n];
    for (i, k) in (0..n).flat_map(|i| (0..n).map(move |k| (i, k))) {
        let factor = a[i * n + k];
        for j in 0..n {
            c[i * n + j] += factor * b[k * n + j];
        }
    }
    c
}

/// Of a symmetric matrix without negative eigenvalues (those that rounding made negative count as zero).
fn square_root(matrix: &[f64], n: usize) -> Vec<f64> {
    let (values, vectors) = eigen(matrix, n);
    let entry = |at: usize| {
        let (i, j) = (at / n, at % n);
        (0..n).map(|k| vectors[i * n + k] * values[k].max(0.0).sqrt() * vectors[j * n + k]).sum()
    };
    (0..n * n).map(entry).collect()
}

/// Eigenvalues, and eigenvectors as columns, of a symmetric matrix: Jacobi's rotations, row by row, until nothing is left beside
/// the diagonal (Golub and Van Loan, 8.5).
fn eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let size: f64 = a.iter().map(|x| x * x).sum();
    // It converges quadratically: a dozen sweeps are many.
    for _ in 0..60 {
        let beside: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| a[at] * a[at]).sum();
        if beside <= 1e-28 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), vectors)
}

/// Turns the plane of `p` and `q` so that their entry becomes zero.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    let turn = |x: &mut f64, y: &mut f64| (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    for k in 0..n {
        let (mut x, mut y) = (a[k * n + p], a[k * n + q]);
        turn(&mut x, &mut y);
        (a[k * n + p], a[k * n + q]) = (x, y);
    }
    for k in 0..n {
        let (mut x, mut y) = (a[p * n + k], a[q * n + k]);
        turn(&mut x, &mut y);
        (a[p * n + k], a[q * n + k]) = (x, y);
        let (mut x, mut y) = (vectors[k * n + p], vectors[k * n + q]);
        turn(&mut x, &mut y);
        (vectors[k * n + p], vectors[k * n + q]) = (x, y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::philox::normals;

    fn statistics(mean: &[f64], covariance: &[f64]) -> Statistics {
        Statistics { mean: mean.to_vec(), covariance: covariance.to_vec() }
    }

    #[test]
    fn diagonal_normals_have_a_closed_form() {
        let a = statistics(&[1.0, 2.0, 0.0], &[4.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0]);
        let b = statistics(&[0.0, 2.0, 2.0], &[1.0, 0.0, 0.0, 0.0, 16.0, 0.0, 0.0, 0.0, 25.0]);
        // Σ (m₁ − m₂)² + (s₁ − s₂)²
        let want = 1.0 + 4.0 + 1.0 + 1.0 + 25.0;
        assert!((frechet_distance(&a, &b).unwrap() - want).abs() < 1e-9);
        assert!(frechet_distance(&a, &a).unwrap() < 1e-9);
        assert!(frechet_distance(&a, &statistics(&[0.0], &[1.0])).is_err());
    }

    #[test]
    fn turned_normals_keep_their_distance() {
        // The same rotation of both changes nothing: compare with the diagonal ones.
        let (c, s) = (0.6, 0.8);
        let turned = |x: f64, y: f64| [c * c * x + s * s * y, c * s * (x - y), c * s * (x - y), s * s * x + c * c * y];
        let a = statistics(&[0.0; 2], &turned(4.0, 9.0));
        let b = statistics(&[0.0; 2], &turned(1.0, 25.0));
        assert!((frechet_distance(&a, &b).unwrap() - 5.0).abs() < 1e-9);
        // And for matrices that do not commute, against the 2 x 2 formula tr √M = √(tr M + 2 √det M).
        let b = statistics(&[0.0; 2], &[1.0, 0.0, 0.0, 25.0]);
        let m = product(&a.covariance, &b.covariance, 2);
        let (trace, determinant) = (m[0] + m[3], m[0] * m[3] - m[1] * m[2]);
        let want = 13.0 + 26.0 - 2.0 * (trace + 2.0 * determinant.sqrt()).sqrt();
        assert!((frechet_distance(&a, &b).unwrap() - want).abs() < 1e-9);
    }

    #[test]
    fn eigenvectors_rebuild_a_large_matrix() {
        let n = 40;
        let raw: Vec<f64> = normals(3, 4, n * n).into_iter().map(f64::from).collect();
        let matrix: Vec<f64> = (0..n * n).map(|at| raw[at] + raw[at % n * n + at / n]).collect();
        let (values, vectors) = eigen(&matrix, n);
        for (at, entry) in matrix.iter().enumerate() {
            let (i, j) = (at / n, at % n);
            let rebuilt: f64 = (0..n).map(|k| vectors[i * n + k] * values[k] * vectors[j * n + k]).sum();
            assert!((rebuilt - entry).abs() < 1e-9);
        }
    }

    #[test]
    fn samples_of_one_distribution_are_near() {
        let draw = |stream: u32, shift: f64| -> Vec<Vec<f64>> {
            let all = normals(1, stream, 4000 * 3);
            all.chunks(3).map(|three| three.iter().map(|x| f64::from(*x) + shift).collect()).collect()
        };
        let of = |stream, shift| Statistics::of(&draw(stream, shift)).unwrap();
        assert!(frechet_distance(&of(1, 0.0), &of(2, 0.0)).unwrap() < 0.01);
        assert!((frechet_distance(&of(1, 0.0), &of(2, 1.0)).unwrap() - 3.0).abs() < 0.2);
        assert!(Statistics::of(&[vec![1.0]]).is_err());
        assert!(Statistics::of(&[vec![1.0], vec![1.0, 2.0]]).is_err());
    }
}
