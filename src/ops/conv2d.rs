//! Two-dimensional convolution (cross-correlation, as in every framework), channels last, x `[B, Y, X, C]`, w `[N, KY, KX, C]`:
//!
//!   `y[b, oy, ox, n] = residual + activation(bias[n] + Σ_{ky, kx, c} x[b, oy·sy + ky − top, ox·sx + kx − left, c] · w[n, ky, kx, c])`
//!
//! with zeros outside of the image, and  Y' = (Y + top + bottom − KY) / sy + 1  output rows, likewise columns.
//!
//! Gradient of the plain convolution:
//!   dx[b, iy, ix, c] = Σ_{ky, kx, n} dy[b, (iy + top − ky)/sy, (ix + left − kx)/sx, n] · w[n, ky, kx, c]   where the quotients are whole,
//!   dw[n, ky, kx, c] = Σ_{b, oy, ox} dy[b, oy, ox, n] · x[b, oy·sy + ky − top, ox·sx + kx − left, c],    dbias = Σ_{b, oy, ox} dy.

mod cases;
mod geometry;
mod launch;
mod weight;

pub use cases::{cases, plain_case};

use super::epilogue::Epilogue;
use super::matmul::linear;
use crate::autograd::Backward;
use crate::gpu::Variant;
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};
use geometry::Geometry;
use launch::{Launch, Tile};

/// How a kernel moves over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Steps along rows and columns, `[y, x]`.
    pub stride: [usize; 2],
    /// Zeros around the image, `[[top, bottom], [left, right]]`.
    pub padding: [[usize; 2]; 2],
}

impl Conv {
    /// The same stride and padding on every side.
    pub const fn new(stride: usize, padding: usize) -> Conv {
        Conv { stride: [stride; 2], padding: [[padding; 2]; 2] }
    }

    /// Rows and columns of the result.
    fn output(&self, image: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let length = |axis: usize| -> Option<usize> {
            let [before, after] = self.padding[axis];
            let padded = image[axis].checked_add(before)?.checked_add(after)?;
            Some(padded.checked_sub(kernel[axis])?.checked_div(self.stride[axis])? + 1)
        };
        Some([length(0)?, length(1)?])
    }
}

/// x `[B, Y, X, C]`, w `[N, KY, KX, C]` in any weight format → `[B, Y', X', N]`.
pub fn conv2d(x: &Tensor, w: &Tensor, conv: Conv, epilogue: Epilogue) -> Result<Tensor> {
    let [n, ky, kx, c] = w.dims("conv2d w", "N KY KX C")?;
    if [ky, kx] == [1, 1] && conv == Conv::new(1, 0) {
        x.dims::<4>("conv2d x", "B Y X C")?;
        return linear(x, &w.reshape([n, c])?, epilogue);
    }
    let tracked = [Some(x), Some(w), epilogue.bias, epilogue.residual].into_iter().flatten().any(Tensor::is_tracked);
    if tracked && (epilogue.activation.is_some() || epilogue.residual.is_some()) {
        // The backward pass would need the value before the activation: with a gradient only the bias stays fused.
        if let Some(residual) = epilogue.residual {
            residual.expect_shape("conv2d residual", "B Y' X' N", output_shape(x, w, conv)?)?;
        }
        let y = conv2d(x, w, conv, Epilogue { bias: epilogue.bias, ..Default::default() })?;
        return Epilogue { bias: None, ..epilogue }.apply(&y);
    }
    let inputs: Vec<&Tensor> = [Some(x), Some(w), epilogue.bias].into_iter().flatten().collect();
    let y = forward(x, w, conv, epilogue, None)?;
    y.on_tape("conv2d", &inputs, || Box::new(Conv2d { x: x.detach(), w: w.detach(), conv }))
}

/// The convolution off the tape, with a given tile or the one that suits the device.
fn forward(x: &Tensor, w: &Tensor, conv: Conv, epilogue: Epilogue, tile: Option<Tile>) -> Result<Tensor> {
    let [n, _, _, _] = w.dims("conv2d w", "N KY KX C")?;
    let shape = output_shape(x, w, conv)?;
    if let Some(bias) = epilogue.bias {
        bias.expect_dtype("conv2d bias", DType::F32)?;
        bias.expect_shape("conv2d bias", "N", [n])?;
    }
    if let Some(residual) = epilogue.residual {
        residual.expect_dtype("conv2d residual", DType::F32)?;
        residual.expect_shape("conv2d residual", "B Y' X' N", shape)?;
    }
    let y = Tensor::empty(x.gpu(), shape, DType::F32)?;
    if !y.is_empty() {
        let geometry = Geometry::new(x, w, &y, conv, false)?;
        Launch { x, w, y: &y, geometry, epilogue, tile }.run()?;
    }
    Ok(y)
}

/// The result's shape, or what is wrong with the operands.
fn output_shape(x: &Tensor, w: &Tensor, conv: Conv) -> Result<Shape> {
    x.expect_dtype("conv2d x", DType::F32)?;
    let [b, rows, columns, c] = x.dims("conv2d x", "B Y X C")?;
    let [n, ky, kx, _] = w.dims("conv2d w", "N KY KX C")?;
    w.expect_shape("conv2d w", "N KY KX C", [n, ky, kx, c])?;
    w.expect_weight("conv2d w", ky * kx * c)?;
    let output = conv.output([rows, columns], [ky, kx]).filter(|_| rows * columns * c * ky * kx > 0);
    let [y, x_] = output.ok_or_else(|| Error::Shape {
        op: "conv2d".into(),
        operand: "x".into(),
        want: format!("an image that a {ky}x{kx} kernel with {conv:?} fits into"),
        got: x.shape().to_string(),
    })?;
    Ok(Shape::from([b, y, x_, n]))
}

struct Conv2d {
    x: Tensor,
    w: Tensor,
    conv: Conv,
}

impl Backward for Conv2d {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let Conv2d { x, w, conv } = *self;
        let mut gradients = vec![None; need.len()];
        if need[0] {
            gradients[0] = Some(input_gradient(dy, &w, x.shape(), conv, None)?);
        }
        if need[1] {
            w.expect_dtype("conv2d w for a gradient", DType::F32)?;
            gradients[1] = Some(weight::gradient(&x, dy, w.shape(), conv)?);
        }
        if let Some(true) = need.get(2) {
            let [_, rows, _, n] = dy.dims("conv2d dy", "B Y' X' N")?;
            // In two steps, since one would have few sums of many terms.
            gradients[2] = Some(dy.sum_to([rows, 1, n])?.sum_to([n])?);
        }
        Ok(gradients)
    }
}

/// dx of the given shape: the convolution turned around, as a gather.
fn input_gradient(dy: &Tensor, w: &Tensor, shape: Shape, conv: Conv, tile: Option<Tile>) -> Result<Tensor> {
    let dx = Tensor::empty(dy.gpu(), shape, DType::F32)?;
    if !dx.is_empty() {
        let geometry = Geometry::new(dy, w, &dx, conv, true)?;
        Launch { x: dy, w, y: &dx, geometry, epilogue: Epilogue::default(), tile }.run()?;
    }
    Ok(dx)
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [launch::variants(), weight::variants()].concat()
}
