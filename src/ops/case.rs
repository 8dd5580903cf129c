//! Op cases: one table an op drives value tests, gradient tests, benchmarks and `doctor`.
//!
//! A case names shapes, runs the op on the device and knows an oracle in f64 on the host. Values are compared with the
//! oracle, gradients with finite differences of the oracle: by some elements one at a time, which names the wrong one,
//! and along random directions, which miss none. What the oracle says is kept, so that a case may be checked on several
//! devices at the price of one.

mod sampled;

use self::sampled::Sampled;
use crate::autograd::gradients;
use crate::gpu::Gpu;
use crate::tensor::{DType, Tensor, quantised};
use crate::{Error, Result};
use half::f16;
use std::sync::OnceLock;

/// A host array in double precision, row-major.
#[derive(Debug, Clone)]
pub struct Array {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<f64>,
}

impl Array {
    /// An array whose element at flat index i is `f(i)`.
    pub fn build(shape: &[usize], f: impl FnMut(usize) -> f64) -> Array {
        Array { shape: shape.to_vec(), data: (0..shape.iter().product()).map(f).collect() }
    }

    /// An array whose element is given by its coordinates.
    pub fn from_coordinates(shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Array {
        let mut at = vec![0; shape.len()];
        Array::build(shape, |i| {
            let mut rest = i;
            for axis in (0..shape.len()).rev() {
                at[axis] = rest % shape[axis];
                rest /= shape[axis];
            }
            f(&at)
        })
    }

    /// The element at coordinates.
    pub fn at(&self, coordinates: &[usize]) -> f64 {
        self.data[coordinates.iter().zip(&self.shape).fold(0, |flat, (c, n)| flat * n + c)]
    }

    /// Largest magnitude.
    pub fn largest(&self) -> f64 {
        self.data.iter().fold(0.0, |m, x| x.abs().max(m))
    }
}

/// An operand of a case.
#[derive(Debug, Clone)]
pub struct Operand {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Storage on the device.
    pub dtype: DType,
    /// Range of the pseudo-random values; integers are drawn below the upper end.
    pub range: (f64, f64),
    /// Whether the gradient by this operand is tested.
    pub differentiable: bool,
}

type Run = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>;
type Oracle = Box<dyn Fn(&[Array]) -> Array + Send + Sync>;

/// One op at one set of shapes.
pub struct OpCase {
    /// Name of the op, the stem of its file.
    pub op: &'static str,
    /// Shapes and options in words.
    pub label: String,
    /// Operands, filled with seeded values.
    pub operands: Vec<Operand>,
    /// The op on the device.
    pub run: Run,
    /// The same in f64 on the host.
    pub oracle: Oracle,
    /// Largest error allowed, relative to the largest magnitude of the result.
    pub tolerance: f64,
    /// Floating-point operations of a forward pass, 0 where only bytes count.
    pub flops: f64,
    /// Floating-point operations of a backward pass.
    pub backward_flops: f64,
    /// Bytes that a forward pass has to read and write at least, 0 for all operands and the result.
    pub bytes: f64,
    /// Of a large case, which is compared at some elements only.
    sampled: Option<Sampled>,
    /// Whether gradients are compared along random directions too.
    along: bool,
    value: OnceLock<Expected>,
    slopes: OnceLock<Vec<Option<Slopes>>>,
}

/// The operands on the host and the oracle's value of them.
struct Expected {
    arrays: Vec<Array>,
    y: Array,
}

/// Finite differences of Σ dy · y by one operand.
struct Slopes {
    /// Flat indices of elements, and the derivative by each.
    places: Vec<usize>,
    by_element: Array,
    /// The derivative along [`direction`] 0, 1, …
    along: Vec<f64>,
}

/// The f32 operand that most cases need: values in [-1, 1], gradient tested.
pub fn operand(shape: &[usize]) -> Operand {
    Operand { shape: shape.to_vec(), dtype: DType::F32, range: (-1.0, 1.0), differentiable: true }
}

impl Operand {
    /// Values in another range.
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = (low, high);
        self
    }

    /// Stored as another type; only f32 has a gradient.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self.differentiable &= dtype == DType::F32;
        self
    }

    /// Without a gradient.
    pub fn constant(mut self) -> Self {
        self.differentiable = false;
        self
    }

    /// Seeded values, exactly representable in the operand's type.
    fn values(&self, seed: u64) -> Array {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let (low, high) = self.range;
        let drawn = Array::build(&self.shape, |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let unit = (state >> 40) as f64 / (1u64 << 24) as f64;
            let x = low + (high - low) * unit;
            match self.dtype {
                DType::F32 => f64::from(x as f32),
                DType::F16 => f16::from_f64(x).to_f64(),
                DType::Q8 | DType::Q4 => x,
                DType::U32 => x.floor(),
            }
        });
        if !self.dtype.is_quantised() {
            return drawn;
        }
        let stored = quantised::representable(&drawn.data.iter().map(|&x| x as f32).collect::<Vec<_>>(), self.dtype);
        Array { data: stored.into_iter().map(f64::from).collect(), ..drawn }
    }
}

impl OpCase {
    /// A case with the usual tolerance of 1e-5.
    pub fn new(
        op: &'static str,
        label: impl Into<String>,
        operands: Vec<Operand>,
        run: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
        oracle: impl Fn(&[Array]) -> Array + Send + Sync + 'static,
    ) -> OpCase {
        let (run, oracle) = (Box::new(run), Box::new(oracle));
        let (value, slopes) = (OnceLock::new(), OnceLock::new());
        let (label, sampled) = (label.into(), None);
        OpCase {
            op,
            label,
            operands,
            run,
            oracle,
            tolerance: 1e-5,
            flops: 0.0,
            backward_flops: 0.0,
            bytes: 0.0,
            sampled,
            along: true,
            value,
            slopes,
        }
    }

    /// With another tolerance.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// With the number of floating-point operations.
    pub fn flops(mut self, flops: usize) -> Self {
        self.flops = flops as f64;
        self
    }

    /// Without gradients along random directions: for functions of so many elements with kinks between them that some
    /// are passed on any way.
    pub fn by_element(mut self) -> Self {
        self.along = false;
        self
    }

    /// With the number of floating-point operations of the backward pass.
    pub fn backward_flops(mut self, flops: usize) -> Self {
        self.backward_flops = flops as f64;
        self
    }

    /// With the number of bytes that count, where not all of an operand is read.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes as f64;
        self
    }

    fn arrays(&self) -> Vec<Array> {
        self.operands.iter().enumerate().map(|(i, o)| o.values(i as u64 + 1 + self.label.len() as u64 * 31)).collect()
    }

    fn expected(&self) -> &Expected {
        self.value.get_or_init(|| {
            let arrays = self.arrays();
            Expected { y: (self.oracle)(&arrays), arrays }
        })
    }

    /// The weights under which the results are summed for a gradient.
    fn dy(&self) -> Array {
        operand(&self.expected().y.shape).values(977)
    }

    fn slopes(&self) -> &[Option<Slopes>] {
        self.slopes.get_or_init(|| {
            let dy = self.dy();
            let of = |(i, o): (usize, &Operand)| o.differentiable.then(|| self.slopes_of(i, &dy));
            self.operands.iter().enumerate().map(of).collect()
        })
    }

    fn slopes_of(&self, i: usize, dy: &Array) -> Slopes {
        let mut arrays = self.expected().arrays.clone();
        let here = arrays[i].data.clone();
        let places = places(here.len());
        // Central differences along a step of the operand.
        let mut slope = |step: &dyn Fn(usize) -> f64| {
            let h = 1e-6;
            let mut side = |h: f64| -> f64 {
                arrays[i].data.iter_mut().zip(&here).enumerate().for_each(|(at, (x, here))| *x = here + h * step(at));
                (self.oracle)(&arrays).data.iter().zip(&dy.data).map(|(y, d)| y * d).sum()
            };
            (side(h) - side(-h)) / (2.0 * h)
        };
        let by_element = places.iter().map(|&place| slope(&|at| if at == place { 1.0 } else { 0.0 })).collect();
        let along = (0..if self.along { DIRECTIONS } else { 0 }).map(|n| {
            let direction = direction(here.len(), n);
            slope(&|at| direction[at])
        });
        let along = along.collect();
        Slopes { by_element: Array { shape: vec![places.len()], data: by_element }, places, along }
    }

    /// The operands on the device.
    pub fn tensors(&self, gpu: &Gpu) -> Result<Vec<Tensor>> {
        let all = |arrays: &[Array]| arrays.iter().zip(&self.operands).map(|(a, o)| upload(gpu, a, o.dtype)).collect();
        // A large case's oracle would take minutes for the whole result.
        if self.is_large() { all(&self.arrays()) } else { all(&self.expected().arrays) }
    }

    /// Worst error of the value, relative to its largest magnitude. An error if it is over the tolerance.
    pub async fn check_value(&self, gpu: &Gpu) -> Result<f64> {
        if let Some(sampled) = &self.sampled {
            return self.check_some_values(sampled, gpu).await;
        }
        let y = (self.run)(&self.tensors(gpu)?)?;
        let got = match y.dtype() {
            DType::U32 => y.read_u32().await?.into_iter().map(f64::from).collect(),
            _ => y.read_f32().await?.into_iter().map(f64::from).collect::<Vec<_>>(),
        };
        self.compare("value", y.shape().as_slice(), &got, &self.expected().y)
    }

    /// Worst error of any gradient against finite differences of the oracle, relative to the gradient's largest magnitude.
    /// None if no operand has a gradient.
    pub async fn check_gradient(&self, gpu: &Gpu) -> Result<Option<f64>> {
        if !self.operands.iter().any(|o| o.differentiable) {
            return Ok(None);
        }
        if let Some(sampled) = &self.sampled {
            return self.check_some_gradients(sampled, gpu).await.map(Some);
        }
        let tensors = self.tensors(gpu)?;
        let variables: Vec<Tensor> = tensors
            .iter()
            .zip(&self.operands)
            .map(|(t, o)| if o.differentiable { t.variable() } else { t.clone() })
            .collect();
        let y = (self.run)(&variables)?;
        let gradients = gradients(&y, &upload(gpu, &self.dy(), DType::F32)?)?;
        drop(y);
        let mut worst = 0f64;
        for (i, slopes) in self.slopes().iter().enumerate() {
            let Some(slopes) = slopes else { continue };
            let got = gradients.get(&variables[i]).ok_or_else(|| Error::NoBackward(self.op.to_string()))?;
            if got.shape() != tensors[i].shape() {
                return Err(self.fail(format!("gradient {i} has shape {}", got.shape())));
            }
            let values: Vec<f64> = got.read_f32().await?.into_iter().map(f64::from).collect();
            worst = worst.max(self.compare_gradient(i, &values, slopes)?);
        }
        Ok(Some(worst))
    }

    fn compare_gradient(&self, i: usize, got: &[f64], slopes: &Slopes) -> Result<f64> {
        let picked: Vec<f64> = slopes.places.iter().map(|&at| got[at]).collect();
        let worst =
            self.compare(&format!("gradient by operand {i}"), &slopes.by_element.shape, &picked, &slopes.by_element)?;
        // Of many elements with independent errors; one that is missing or wrong stands out all the same.
        let largest = got.iter().fold(slopes.by_element.largest(), |m, x| x.abs().max(m)).max(1e-2);
        let bound = 4.0 * self.tolerance * largest * (got.len() as f64).sqrt();
        for (n, want) in slopes.along.iter().enumerate() {
            let sum: f64 = direction(got.len(), n).iter().zip(got).map(|(d, g)| d * g).sum();
            let error = (sum - want).abs();
            if error.is_nan() || error > bound {
                let why =
                    format!("gradient by operand {i} along a random direction is {sum}, not {want} (±{bound:.0e})");
                return Err(self.fail(why));
            }
        }
        Ok(worst)
    }

    fn compare(&self, what: &str, shape: &[usize], got: &[f64], want: &Array) -> Result<f64> {
        if shape != want.shape {
            return Err(self.fail(format!("{what} has shape {shape:?}, the oracle {:?}", want.shape)));
        }
        // A gradient that cancels to nothing is off by the rounding of its terms, which are about 1.
        let least = if what == "value" { 1e-3 } else { 1e-2 };
        let scale = want.largest().max(least);
        let mut worst = (0.0, 0);
        for (at, (g, w)) in got.iter().zip(&want.data).enumerate() {
            let error = if g == w { 0.0 } else { (g - w).abs() / scale };
            if error.is_nan() || error > worst.0 {
                worst = (if error.is_nan() { f64::INFINITY } else { error }, at);
            }
        }
        let (error, at) = worst;
        let bound = if what == "value" { self.tolerance } else { 4.0 * self.tolerance };
        if error > bound {
            let (g, w) = (got[at], want.data[at]);
            return Err(
                self.fail(format!("{what} is off by {error:.1e} (bound {bound:.0e}): element {at} is {g}, not {w}"))
            );
        }
        Ok(error)
    }

    fn fail(&self, why: String) -> Error {
        Error::Format { what: format!("{} [{}]", self.op, self.label), why }
    }
}

fn upload(gpu: &Gpu, a: &Array, dtype: DType) -> Result<Tensor> {
    let shape = a.shape.as_slice();
    let single = || a.data.iter().map(|&x| x as f32).collect::<Vec<_>>();
    match dtype {
        DType::F32 => Tensor::from_f32(gpu, &single(), shape),
        DType::Q8 => Tensor::from_q8(gpu, &single(), shape),
        DType::Q4 => Tensor::from_q4(gpu, &single(), shape),
        DType::F16 => Tensor::from_f16(gpu, &a.data.iter().map(|&x| f16::from_f64(x)).collect::<Vec<_>>(), shape),
        DType::U32 => Tensor::from_u32(gpu, &a.data.iter().map(|&x| x as u32).collect::<Vec<_>>(), shape),
    }
}

/// All elements of a small tensor, both ends and a spread of a large one.
fn places(len: usize) -> Vec<usize> {
    match len {
        0..=12 => (0..len).collect(),
        _ => [0, len - 1].into_iter().chain((0..10).map(|i| (i * 7919 + i * i * 31 + 1) % len)).collect(),
    }
}

/// How many random directions a gradient is compared along.
const DIRECTIONS: usize = 2;

/// Direction `n` in the space of `len` elements.
fn direction(len: usize, n: usize) -> Vec<f64> {
    operand(&[len]).values(4001 + n as u64).data
}
