//! Sums over axes:   `y[o] = Σ_r x[o, r]`   where r runs over the reduced axes, in a fixed order.
//!
//! Gradient: dx = dy, broadcast.

use super::case::{Array, OpCase, operand};
use crate::autograd::Backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

static REDUCE: Kernel = Kernel::new("reduce", include_str!("../../shaders/reduce.wgsl"));

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    outputs: u32,
    terms: u32,
    scale: f32,
    pad: u32,
    /// Lengths and strides in x of the kept and of the reduced axes, outermost first.
    kept: [[u32; 4]; 5],
    reduced: [[u32; 4]; 5],
}

impl Tensor {
    /// The sum over those axes along which `shape` is 1 or missing: undoes a broadcast from `shape`.
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        reduce(self, shape.into(), 1.0)
    }

    /// Mean over the last axis, which stays with length 1.
    pub fn mean_last(&self) -> Result<Tensor> {
        let rank = self.shape().rank();
        let [_, c] = self.rows("mean_last x")?;
        reduce(self, self.shape().with(rank - 1, 1), 1.0 / c as f32)
    }
}

fn reduce(x: &Tensor, shape: Shape, scale: f32) -> Result<Tensor> {
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
    let y = Tensor::empty(x.gpu(), shape, DType::F32)?;
    let params = lay_out(x.shape(), shape, scale);
    let wg = workgroup(x.gpu().class());
    let bindings = [x.bind(), y.bind()];
    let groups = y.len().div_ceil(if wg == 1 { 64 } else { 1 }) as u64;
    variant(x.gpu().class()).run(x.gpu(), &bindings, bytemuck::bytes_of(&params), groups, x.len() as f64)?;
    let from = x.shape();
    y.on_tape("reduce", &[x], || Box::new(Reduce { from, scale }))
}

fn lay_out(x: Shape, y: Shape, scale: f32) -> Params {
    let (from, to, strides) = (x.padded(), y.padded(), x.strides());
    let mut params = Params {
        outputs: y.len() as u32,
        terms: 1,
        scale,
        pad: 0,
        kept: [[1, 0, 0, 0]; 5],
        reduced: [[1, 0, 0, 0]; 5],
    };
    for axis in 0..Shape::MAX_RANK {
        let row = [from[axis] as u32, strides[axis] as u32, 0, 0];
        if from[axis] == to[axis] {
            params.kept[axis] = row;
        } else {
            params.reduced[axis] = row;
            params.terms *= from[axis] as u32;
        }
    }
    params
}

/// Invocations that share one sum: a software driver pays for every barrier.
fn workgroup(class: DeviceClass) -> u32 {
    match class {
        DeviceClass::Software => 1,
        DeviceClass::Hardware => 64,
    }
}

fn variant(class: DeviceClass) -> Variant {
    REDUCE.plain().flag("SHARED", workgroup(class) > 1)
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [DeviceClass::Software, DeviceClass::Hardware].map(variant).to_vec()
}

struct Reduce {
    from: Shape,
    scale: f32,
}

impl Backward for Reduce {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let zeros = super::fill::zeros(dy.gpu(), self.from)?;
        Ok(vec![Some(super::pointwise::mix(&zeros, dy, 1.0, self.scale)?)])
    }
}

/// Cases: leading, trailing, inner and all axes.
pub fn cases() -> Vec<OpCase> {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[37, 5], &[5]),
        (&[3, 130], &[3, 1]),
        (&[2, 3, 4, 5], &[3, 1, 5]),
        (&[2, 3, 4, 5, 6], &[2, 1, 4, 1, 6]),
        (&[7, 11], &[]),
        (&[1, 1], &[1]),
    ];
    let case = |(from, to): (&[usize], &[usize])| {
        let target = to.to_vec();
        let kept = to.to_vec();
        let run = move |x: &[Tensor]| x[0].sum_to(target.as_slice());
        OpCase::new("reduce", format!("{from:?} to {to:?}"), vec![operand(from)], run, move |a| {
            sum_oracle(&a[0], &kept)
        })
    };
    shapes.map(case).into()
}

fn sum_oracle(x: &Array, to: &[usize]) -> Array {
    let mut y = Array::build(to, |_| 0.0);
    let skipped = x.shape.len() - to.len();
    let _ = Array::from_coordinates(&x.shape, |at| {
        let flat = at[skipped..].iter().zip(to).fold(0, |flat, (c, n)| flat * n + if *n == 1 { 0 } else { *c });
        y.data[flat] += x.at(at);
        0.0
    });
    y
}
