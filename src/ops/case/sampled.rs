//! Large cases, at sizes that models have: an oracle for one element at a time, compared at some elements.

use super::{Array, OpCase, Operand, places, upload};
use crate::autograd::gradients;
use crate::gpu::Gpu;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};
use std::sync::Arc;

type Element = Arc<dyn Fn(&[Array], &[usize]) -> f64 + Send + Sync>;

/// The result's shape, and the value of one of its elements.
pub(super) struct Sampled {
    shape: Vec<usize>,
    element: Element,
}

/// Elements of the result whose weight in the gradient is not zero: few, because the oracle differentiates each of them.
const WEIGHTED: usize = 3;

impl OpCase {
    /// A case too large for an oracle of the whole result: `element` is the result of `shape` at coordinates.
    pub fn large(
        op: &'static str,
        label: impl Into<String>,
        operands: Vec<Operand>,
        run: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
        shape: &[usize],
        element: impl Fn(&[Array], &[usize]) -> f64 + Send + Sync + 'static,
    ) -> OpCase {
        let element: Element = Arc::new(element);
        let (whole, of) = (shape.to_vec(), element.clone());
        let oracle = move |x: &[Array]| Array::from_coordinates(&whole, |at| of(x, at));
        let sampled = Some(Sampled { shape: shape.to_vec(), element });
        OpCase { sampled, ..OpCase::new(op, label, operands, run, oracle) }
    }

    /// Whether the case is compared at some elements only, because it is large.
    pub fn is_large(&self) -> bool {
        self.sampled.is_some()
    }

    pub(super) async fn check_some_values(&self, sampled: &Sampled, gpu: &Gpu) -> Result<f64> {
        let arrays = self.arrays();
        let y = (self.run)(&self.tensors(gpu)?)?;
        if y.shape().as_slice() != sampled.shape {
            return Err(self.fail(format!("value has shape {}, the oracle {:?}", y.shape(), sampled.shape)));
        }
        let got: Vec<f64> = match y.dtype() {
            DType::U32 => y.read_u32().await?.into_iter().map(f64::from).collect(),
            _ => y.read_f32().await?.into_iter().map(f64::from).collect(),
        };
        self.check_finite("value", &got)?;
        let places = places(got.len());
        let want = places.iter().map(|&at| (sampled.element)(&arrays, &sampled.coordinates(at))).collect();
        self.compare_some("value", &got, &places, want)
    }

    /// The gradient of a sum of a few elements of the result, by its largest entries and a spread of others.
    pub(super) async fn check_some_gradients(&self, sampled: &Sampled, gpu: &Gpu) -> Result<f64> {
        let mut arrays = self.arrays();
        let count: usize = sampled.shape.iter().product();
        let weighted: Vec<usize> = (0..WEIGHTED).map(|i| (count / 7 + i * count / WEIGHTED) % count.max(1)).collect();
        let mut dy = Array::build(&sampled.shape, |_| 0.0);
        weighted.iter().enumerate().for_each(|(i, &at)| dy.data[at] = 1.0 - 0.4 * i as f64);
        let variables: Vec<Tensor> = (self.tensors(gpu)?.into_iter().zip(&self.operands))
            .map(|(t, o)| if o.differentiable { t.variable() } else { t })
            .collect();
        let y = (self.run)(&variables)?;
        let gradients = gradients(&y, &upload(gpu, &dy, DType::F32)?)?;
        drop(y);
        let mut worst = 0f64;
        for i in (0..self.operands.len()).filter(|&i| self.operands[i].differentiable) {
            let got = gradients.get(&variables[i]).ok_or_else(|| Error::NoBackward(self.op.to_string()))?;
            if got.shape() != variables[i].shape() {
                return Err(self.fail(format!("gradient {i} has shape {}", got.shape())));
            }
            let got: Vec<f64> = got.read_f32().await?.into_iter().map(f64::from).collect();
            let what = format!("gradient by operand {i}");
            self.check_finite(&what, &got)?;
            let places = [largest(&got), places(got.len())].concat();
            let want = places.iter().map(|&at| sampled.slope(&mut arrays, (i, at), &weighted, &dy)).collect();
            worst = worst.max(self.compare_some(&what, &got, &places, want)?);
        }
        Ok(worst)
    }

    fn compare_some(&self, what: &str, got: &[f64], places: &[usize], want: Vec<f64>) -> Result<f64> {
        let picked: Vec<f64> = places.iter().map(|&at| got[at]).collect();
        let want = Array { shape: vec![want.len()], data: want };
        self.compare(what, &want.shape, &picked, &want)
    }

    /// Debug builds fill fresh memory with NaN: an element that no kernel wrote shows, wherever it is.
    fn check_finite(&self, what: &str, got: &[f64]) -> Result<()> {
        match got.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(self.fail(format!("{what}: element {at} is {}", got[at]))),
            None => Ok(()),
        }
    }
}

impl Sampled {
    fn coordinates(&self, flat: usize) -> Vec<usize> {
        let mut rest = flat;
        let mut at = vec![0; self.shape.len()];
        for (coordinate, length) in at.iter_mut().zip(&self.shape).rev() {
            *coordinate = rest % length;
            rest /= length;
        }
        at
    }

    /// d(Σ dy · y) / d(element `at` of operand i), by central differences; only the `weighted` elements of dy are not 0.
    fn slope(&self, arrays: &mut [Array], (i, at): (usize, usize), weighted: &[usize], dy: &Array) -> f64 {
        let h = 1e-5;
        let here = arrays[i].data[at];
        let mut side = |step: f64| -> f64 {
            arrays[i].data[at] = here + step;
            weighted.iter().map(|&y| dy.data[y] * (self.element)(arrays, &self.coordinates(y))).sum()
        };
        let slope = (side(h) - side(-h)) / (2.0 * h);
        arrays[i].data[at] = here;
        slope
    }
}

/// Where the twelve largest magnitudes are.
fn largest(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let count = 12.min(order.len());
    if count < order.len() {
        order.select_nth_unstable_by(count, |&a, &b| values[b].abs().total_cmp(&values[a].abs()));
    }
    order.truncate(count);
    order
}
