//! Matrix products:   `y[m, n] = residual[m, n] + activation(Σ_k A[m, k] · B[k, n] + bias[n])`
//!
//! Gradient of the plain product, with stored operands x (A) and w (B):
//!   dA = dy · Bᵀ,   dB = Aᵀ · dy   (summed over the batches that share an operand), dbias = Σ_rows dy.

mod cases;
mod launch;

pub use cases::{cases, plain_case};
pub use launch::variants;

use super::epilogue::{Activation, Epilogue};
use crate::autograd::Backward;
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};
use launch::{Launch, Tile};
pub(crate) use launch::{WIDE_WORK, wide_quads};

/// A linear layer:  x `[.., C]`, w `[N, C]` in any weight format → `[.., N]`. Rows of f16 are a multiple of 4 long, those of
/// q8 and q4 of 32; of the operands only f32 ones can have a gradient, which passes through weights of every format.
pub fn linear(x: &Tensor, w: &Tensor, epilogue: Epilogue) -> Result<Tensor> {
    let [rows, c] = x.rows("linear x")?;
    let [n, _] = w.dims("linear w", "N C")?;
    w.expect_shape("linear w", "N C", [n, c])?;
    let shape = x.shape().with(x.shape().rank() - 1, n);
    let flat = Epilogue { residual: None, ..epilogue };
    let Some(residual) = epilogue.residual else {
        return product(&x.reshape([rows, c])?, w, false, true, flat)?.reshape(shape);
    };
    residual.expect_shape("linear residual", ".. N", shape)?;
    let residual = residual.reshape([rows, n])?;
    product(&x.reshape([rows, c])?, w, false, true, Epilogue { residual: Some(&residual), ..flat })?.reshape(shape)
}

/// A batched product:  a `[.., M, K]` · b `[.., K, N]` → `[.., M, N]`; with `a_t`, `b_t` an operand is stored with its
/// last two axes swapped. Leading axes are equal, or one operand has none. b may be in any weight format unless `a_t`.
pub fn matmul(a: &Tensor, b: &Tensor, a_t: bool, b_t: bool) -> Result<Tensor> {
    product(a, b, a_t, b_t, Epilogue::default())
}

/// The sizes of a product.
#[derive(Clone, Copy)]
struct Sizes {
    batches: usize,
    m: usize,
    n: usize,
    k: usize,
    x_batch: usize,
    w_batch: usize,
}

fn sizes(x: &Tensor, w: &Tensor, a_t: bool, b_t: bool) -> Result<(Sizes, Shape)> {
    let matrix = |t: &Tensor, name: &str, letters: &str| -> Result<(Vec<usize>, usize, usize)> {
        let s = t.shape();
        match s.as_slice() {
            [batch @ .., rows, columns] => Ok((batch.to_vec(), *rows, *columns)),
            _ => t.dims::<2>(name, letters).map(|[r, c]| (vec![], r, c)),
        }
    };
    let (x_lead, r, c) = matrix(x, "matmul a", ".. M K")?;
    let (m, k) = if a_t { (c, r) } else { (r, c) };
    let (w_lead, r, c) = matrix(w, "matmul b", ".. K N")?;
    let (k_of_w, n) = if b_t { (c, r) } else { (r, c) };
    let agree = x_lead == w_lead || x_lead.is_empty() || w_lead.is_empty();
    if k != k_of_w || !agree {
        return Err(Error::Shape {
            op: "matmul".into(),
            operand: "b".into(),
            want: format!("K = {k} and leading axes {x_lead:?}"),
            got: w.shape().to_string(),
        });
    }
    let lead = if x_lead.is_empty() { &w_lead } else { &x_lead };
    let batches = lead.iter().product();
    let shape = Shape::from([lead.as_slice(), &[m, n]].concat().as_slice());
    let x_batch = if x_lead.is_empty() { 0 } else { m * k };
    let w_batch = if w_lead.is_empty() { 0 } else { n * k };
    Ok((Sizes { batches, m, n, k, x_batch, w_batch }, shape))
}

fn product(x: &Tensor, w: &Tensor, a_t: bool, b_t: bool, epilogue: Epilogue) -> Result<Tensor> {
    let tracked = [Some(x), Some(w), epilogue.bias, epilogue.residual].into_iter().flatten().any(Tensor::is_tracked);
    if tracked && (epilogue.activation.is_some() || epilogue.residual.is_some()) {
        // The backward pass would need the value before the activation: with a gradient only the bias stays fused.
        let y = product(x, w, a_t, b_t, Epilogue { bias: epilogue.bias, ..Default::default() })?;
        return Epilogue { bias: None, ..epilogue }.apply(&y);
    }
    let y = forward(x, w, a_t, b_t, epilogue, None)?;
    let inputs: Vec<&Tensor> = [Some(x), Some(w), epilogue.bias].into_iter().flatten().collect();
    y.on_tape("matmul", &inputs, || Box::new(Matmul { x: x.detach(), w: w.detach(), a_t, b_t }))
}

/// The product off the tape, with a given tile or the one that suits the device.
fn forward(x: &Tensor, w: &Tensor, a_t: bool, b_t: bool, epilogue: Epilogue, tile: Option<Tile>) -> Result<Tensor> {
    x.expect_dtype("matmul a", DType::F32)?;
    w.expect_weight("matmul b", w.shape().last())?;
    if a_t {
        w.expect_dtype("matmul b", DType::F32)?;
    }
    let (s, shape) = sizes(x, w, a_t, b_t)?;
    if let Some(bias) = epilogue.bias {
        bias.expect_dtype("matmul bias", DType::F32)?;
        bias.expect_shape("matmul bias", "N", [s.n])?;
    }
    if let Some(residual) = epilogue.residual {
        residual.expect_dtype("matmul residual", DType::F32)?;
        residual.expect_shape("matmul residual", ".. M N", shape)?;
    }
    let y = Tensor::empty(x.gpu(), shape, DType::F32)?;
    if y.is_empty() {
        return Ok(y);
    }
    if s.k == 0 {
        return epilogue.apply_detached(&super::fill::zeros(x.gpu(), shape)?);
    }
    Launch { x, w, y: &y, a_t, b_t, epilogue, s, tile }.run()?;
    Ok(y)
}

struct Matmul {
    x: Tensor,
    w: Tensor,
    a_t: bool,
    b_t: bool,
}

impl Backward for Matmul {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let Matmul { x, w, a_t, b_t } = *self;
        let plain = |a: &Tensor, b: &Tensor, a_t, b_t| forward(a, b, a_t, b_t, Epilogue::default(), None);
        let mut gradients = vec![None; need.len()];
        if need[0] {
            let dx = if a_t { plain(&w, dy, b_t, true)? } else { plain(dy, &w, false, !b_t)? };
            gradients[0] = Some(dx.sum_to(x.shape())?);
        }
        if need[1] {
            w.expect_dtype("matmul w for a gradient", DType::F32)?;
            let dw = if b_t { plain(dy, &x, true, a_t)? } else { plain(&x, dy, !a_t, false)? };
            gradients[1] = Some(dw.sum_to(w.shape())?);
        }
        if let Some(true) = need.get(2) {
            let n = dy.shape().last();
            gradients[2] = Some(dy.sum_to([n])?);
        }
        Ok(gradients)
    }
}
