//! Reductions over any axes:
//!
//! - `sum`   `y[o] = Σ_r x[o, r]`,   `mean` the same divided by the number of terms
//! - `max`   `y[o] = max_r x[o, r]`,   `min` likewise
//! - `sum_of_squares`   `Σ x²` of a whole tensor, for norms of gradients
//!
//! where r runs over the reduced axes. They stay with length 1, so that the result broadcasts against x; `reshape` drops them
//! without a copy. The order of the terms is fixed: the same bits every time on the same kind of device.
//!
//! Gradient: sum dx = dy, broadcast, mean the same scaled; max and min dx = dy at the first of equal extremes, 0 elsewhere.

mod cases;
mod launch;
mod plan;

pub use cases::{cases, extreme_case, sum_case};

use super::fill;
use super::layout;
use crate::autograd::{Backward, no_backward};
use crate::gpu::{DeviceClass, Variant};
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};
use launch::Run;
use plan::{Axis, Part};

const WG: usize = 64;

/// What becomes of the terms.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Their sum times a factor.
    Sum(f32),
    Squares,
    Max,
    Min,
}

impl Kind {
    fn is_maximum(self) -> bool {
        matches!(self, Kind::Max | Kind::Min)
    }

    /// What becomes of the results of those that shared the terms.
    fn of_shares(self) -> Kind {
        if self.is_maximum() { self } else { Kind::Sum(1.0) }
    }

    /// The factor of a sum, and the sign bit that makes a maximum of a minimum.
    fn factors(self) -> (f32, u32) {
        match self {
            Kind::Sum(scale) => (scale, 0),
            Kind::Squares | Kind::Max => (1.0, 0),
            Kind::Min => (1.0, 1 << 31),
        }
    }
}

impl Tensor {
    /// Sum over axes, which stay with length 1. Over an empty axis it is 0.
    pub fn sum(&self, axes: &[usize]) -> Result<Tensor> {
        self.sum_to(kept("sum", self, axes)?)
    }

    /// Mean over axes, which stay with length 1. Over an empty axis it is NaN.
    pub fn mean(&self, axes: &[usize]) -> Result<Tensor> {
        let shape = kept("mean", self, axes)?;
        let terms: usize = axes.iter().map(|&axis| self.shape().as_slice()[axis]).product();
        sum(self, shape, 1.0 / terms as f32, self.gpu().class())
    }

    /// Maximum over axes, which stay with length 1. NaN is above everything. An empty axis is an error.
    pub fn max(&self, axes: &[usize]) -> Result<Tensor> {
        extreme("max", self, axes, self.gpu().class())
    }

    /// Minimum over axes, which stay with length 1. NaN is below everything. An empty axis is an error.
    pub fn min(&self, axes: &[usize]) -> Result<Tensor> {
        extreme("min", self, axes, self.gpu().class())
    }

    /// The sum over those axes along which `shape` is 1 or missing: undoes a broadcast from `shape`.
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        sum(self, shape.into(), 1.0, self.gpu().class())
    }

    /// Mean over the last axis, which stays with length 1.
    pub fn mean_last(&self) -> Result<Tensor> {
        self.rows("mean_last x")?;
        self.mean(&[self.shape().rank() - 1])
    }
}

/// The shape that is left, with length 1 where an axis is reduced.
fn kept(op: &str, x: &Tensor, axes: &[usize]) -> Result<Shape> {
    let mut shape = x.shape();
    for (i, &axis) in axes.iter().enumerate() {
        if axis >= shape.rank() || axes[..i].contains(&axis) {
            return Err(Error::Input(format!("{op}: {axes:?} are not different axes of {}", x.shape())));
        }
        shape = shape.with(axis, 1);
    }
    Ok(shape)
}

fn sum(x: &Tensor, shape: Shape, scale: f32, class: DeviceClass) -> Result<Tensor> {
    if shape == x.shape() && scale == 1.0 {
        return Ok(x.clone());
    }
    x.expect_dtype("reduce x", DType::F32)?;
    if shape.broadcast(&x.shape()) != Some(x.shape()) {
        return Err(Error::Shape {
            op: "reduce".into(),
            operand: "x".into(),
            want: format!("a shape that {shape} broadcasts to"),
            got: x.shape().to_string(),
        });
    }
    let from = x.shape();
    let y = if x.is_empty() {
        fill::full(x.gpu(), shape, 0.0 * scale)?
    } else {
        let y = Tensor::empty(x.gpu(), shape, DType::F32)?;
        Run { kind: Kind::Sum(scale), class, x, given: None, y: &y, places: None }.all(Part::whole(from, shape))?;
        y
    };
    y.on_tape("reduce", &[x], || Box::new(Sum { from, scale }))
}

fn extreme(op: &'static str, x: &Tensor, axes: &[usize], class: DeviceClass) -> Result<Tensor> {
    let shape = kept(op, x, axes)?;
    x.expect_dtype(&format!("{op} x"), DType::F32)?;
    if shape == x.shape() {
        return Ok(x.clone());
    }
    if x.is_empty() && !shape.is_empty() {
        return Err(Error::Input(format!("{op}: the reduced axes {axes:?} of {} are empty", x.shape())));
    }
    let y = Tensor::empty(x.gpu(), shape, DType::F32)?;
    let places = if x.is_tracked() { Some(Tensor::empty(x.gpu(), shape, DType::U32)?) } else { None };
    if !x.is_empty() {
        let kind = if op == "max" { Kind::Max } else { Kind::Min };
        Run { kind, class, x, given: None, y: &y, places: places.as_ref() }.all(Part::whole(x.shape(), shape))?;
    }
    let from = x.shape();
    match places {
        Some(places) => y.on_tape(op, &[x], || Box::new(Extreme { from, places })),
        None => Ok(y),
    }
}

/// Writes Σ x² over all of `x` into element `at` of `y`. It has no gradient.
pub(super) fn sum_of_squares(x: &Tensor, y: &Tensor, at: usize) -> Result<()> {
    no_backward("sum_of_squares", &[x, y])?;
    x.expect_dtype("sum_of_squares x", DType::F32)?;
    let part = Part { to: at, ..Part::of([Axis { length: x.len(), reduced: true }]) };
    Run { kind: Kind::Squares, class: x.gpu().class(), x, given: None, y, places: None }.all(part)
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    launch::variants()
}

struct Sum {
    from: Shape,
    scale: f32,
}

impl Backward for Sum {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dy = if self.scale == 1.0 { dy.clone() } else { dy.scale(self.scale)? };
        Ok(vec![Some(layout::broadcast(&dy, self.from)?)])
    }
}

struct Extreme {
    from: Shape,
    places: Tensor,
}

impl Backward for Extreme {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dx = Tensor::empty(dy.gpu(), self.from, DType::F32)?;
        launch::max_backward(dy, &self.places, &dx)?;
        Ok(vec![Some(dx)])
    }
}
