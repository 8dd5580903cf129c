//! Pointwise ops:   y[i] = expression(a[i], b[i], …)    with NumPy broadcasting.
//!
//! A new op is one line in the table at the end: its name, its tensors, its scalars and its expression.
//! Gradient: the expression differentiates itself, and [`Tensor::sum_to`] undoes broadcasting.

use super::case::{Array, OpCase, operand};
use super::expr::Expr;
use crate::autograd::Backward;
use crate::gpu::{Kernel, Variant};
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};
use std::sync::LazyLock;

static POINTWISE: Kernel = Kernel::new("pointwise", include_str!("../../shaders/pointwise.wgsl"));
const WG: usize = 64;

/// A named expression, ready to run.
pub struct Pointwise {
    /// Name of the op.
    pub name: &'static str,
    /// Number of tensors.
    pub inputs: usize,
    /// The expression.
    pub expr: Expr,
    /// Its derivatives by each input, times dy, which is one more input.
    gradients: Vec<Expr>,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    first: u32,
    pad: [u32; 2],
    scalars: [f32; Expr::MAX_PARAMS],
    lengths: [u32; 8],
    /// For each of the five axes, the stride of every input.
    strides: [[u32; 8]; Shape::MAX_RANK],
}

impl Pointwise {
    /// An op from an expression of `inputs` tensors.
    pub fn new(name: &'static str, inputs: usize, expr: Expr) -> Pointwise {
        let dy = Expr::input(inputs.min(Expr::MAX_INPUTS - 1));
        let gradients = (0..inputs).map(|i| expr.derivative(i) * dy.clone()).collect();
        Pointwise { name, inputs, expr, gradients }
    }

    /// Applies the op; shapes broadcast.
    pub fn run(&'static self, inputs: &[&Tensor], scalars: &[f32]) -> Result<Tensor> {
        let y = evaluate(self.name, &self.expr, inputs, scalars)?;
        y.on_tape(self.name, inputs, || {
            let inputs = inputs.iter().map(|x| x.detach()).collect();
            Box::new(PointwiseBackward { op: self, inputs, scalars: scalars.to_vec() })
        })
    }
}

fn variant(expr: &Expr, broadcast: bool, vector: bool) -> Variant {
    let variant = POINTWISE.plain().flag("BROADCAST", broadcast).hook(Some(expr.wgsl()));
    if vector { variant } else { variant.alias("V", "f32") }
}

fn evaluate(name: &str, expr: &Expr, inputs: &[&Tensor], scalars: &[f32]) -> Result<Tensor> {
    let Some(first) = inputs.first().filter(|_| inputs.len() <= Expr::MAX_INPUTS && scalars.len() <= Expr::MAX_PARAMS)
    else {
        return Err(Error::Input(format!("{name} takes 1 to {} tensors", Expr::MAX_INPUTS)));
    };
    let shape = common_shape(name, inputs)?;
    let y = Tensor::empty(first.gpu(), shape, DType::F32)?;
    let broadcast = inputs.iter().any(|x| x.shape() != shape);
    let vector = !broadcast && y.len() % 4 == 0;
    let width = if vector { 4 } else { 1 };
    let variant = variant(expr, broadcast, vector);
    let mut params = Params::new(scalars, shape, inputs);
    // A chunk starts at a multiple of 64 elements, which is 256 bytes: aligned on every device.
    let chunk = (y.gpu().limits().max_binding as usize / 4) & !63;
    for start in (0..y.len()).step_by(chunk) {
        let count = (y.len() - start).min(chunk);
        params.count = (count / width) as u32;
        params.first = start as u32;
        // Inputs that the expression does not have are bound to the first one and never read.
        let mut bindings = Vec::with_capacity(Expr::MAX_INPUTS + 1);
        for i in 0..Expr::MAX_INPUTS {
            let x = inputs.get(i).unwrap_or(first);
            bindings.push(if broadcast { x.bind() } else { x.bind_rows(start, count, 1)? });
        }
        bindings.push(y.bind_rows(start, count, 1)?);
        let groups = count.div_ceil(width * WG) as u64;
        variant.run(y.gpu(), &bindings, bytemuck::bytes_of(&params), groups, count as f64)?;
    }
    Ok(y)
}

fn common_shape(name: &str, inputs: &[&Tensor]) -> Result<Shape> {
    let mut shape = Shape::new(&[]);
    for (i, x) in inputs.iter().enumerate() {
        x.expect_dtype(&format!("{name} input {i}"), DType::F32)?;
        shape = shape.broadcast(&x.shape()).ok_or_else(|| Error::Shape {
            op: name.to_string(),
            operand: format!("input {i}"),
            want: format!("a shape that broadcasts with {shape}"),
            got: x.shape().to_string(),
        })?;
    }
    Ok(shape)
}

impl Params {
    fn new(scalars: &[f32], shape: Shape, inputs: &[&Tensor]) -> Params {
        let mut params: Params = bytemuck::Zeroable::zeroed();
        params.scalars[..scalars.len()].copy_from_slice(scalars);
        for axis in 0..Shape::MAX_RANK {
            params.lengths[axis] = shape.padded()[axis] as u32;
            for (i, x) in inputs.iter().enumerate() {
                let stride = if x.shape().padded()[axis] == 1 { 0 } else { x.shape().strides()[axis] };
                params.strides[axis][i] = stride as u32;
            }
        }
        params
    }
}

struct PointwiseBackward {
    op: &'static Pointwise,
    inputs: Vec<Tensor>,
    scalars: Vec<f32>,
}

impl Backward for PointwiseBackward {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        // The derivative reads the inputs in their places and dy after them.
        let mut operands: Vec<&Tensor> = self.inputs.iter().collect();
        operands.push(dy);
        let gradient = |i: usize| {
            let dx = evaluate(self.op.name, &self.op.gradients[i], &operands, &self.scalars)?;
            dx.sum_to(self.inputs[i].shape())
        };
        (0..self.inputs.len()).map(|i| if need[i] { gradient(i).map(Some) } else { Ok(None) }).collect()
    }
}

macro_rules! pointwise_ops {
    ($($(#[$doc:meta])* $name:ident($($x:ident),+ $(; $($p:ident),+)?) = $expr:expr;)*) => {
        $(
            $(#[$doc])*
            pub fn $name($($x: &Tensor),+ $($(, $p: f32)+)?) -> Result<Tensor> {
                static OP: LazyLock<Pointwise> = LazyLock::new(|| build::$name());
                OP.run(&[$($x),+], &[$($($p),+)?])
            }
        )*

        mod build {
            use super::*;
            $(
                #[allow(unused_assignments)]
                pub(super) fn $name() -> Pointwise {
                    let mut inputs = 0;
                    $(let $x = Expr::input(inputs); inputs += 1;)+
                    $(let mut params = 0; $(let $p = Expr::param(params); params += 1;)+)?
                    Pointwise::new(stringify!($name), inputs, $expr)
                }
            )*
        }

        /// Every op of the table.
        pub fn table() -> Vec<Pointwise> {
            vec![$(build::$name()),*]
        }
    };
}

pointwise_ops! {
    /// a + b
    add(a, b) = a + b;
    /// a − b
    sub(a, b) = a - b;
    /// a · b
    mul(a, b) = a * b;
    /// a / b
    div(a, b) = a / b;
    /// x · s
    scale(x; s) = x * s;
    /// x + s
    shift(x; s) = x + s;
    /// x²
    square(x) = x.clone() * x;
    /// √x
    sqrt(x) = x.sqrt();
    /// eˣ
    exp(x) = x.exp();
    /// ln x
    log(x) = x.log();
    /// 1 / (1 + e⁻ˣ)
    sigmoid(x) = x.sigmoid();
    /// Hyperbolic tangent.
    tanh(x) = x.tanh();
    /// max(x, 0)
    relu(x) = x.max(0.0);
    /// min(max(x, low), high)
    clamp(x; low, high) = x.max(low).min(high);
    /// x · sigmoid(x)
    silu(x) = x.clone() * x.sigmoid();
    /// GELU, exact: x/2 · (1 + erf(x/√2))
    gelu(x) = x.clone() * 0.5 * ((x * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0);
    /// GELU, CLIP's approximation: x · sigmoid(1.702 x)
    quick_gelu(x) = x.clone() * (x * 1.702).sigmoid();
    /// SwiGLU (LLaMA's gate): silu(gate) · up
    swiglu(gate, up) = gate.clone() * gate.sigmoid() * up;
    /// GEGLU (the UNet's gate): a · gelu(gate)
    geglu(a, gate) = a * gate.clone() * 0.5 * ((gate * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0);
    /// Classifier-free guidance: u + g · (c − u), with u the unconditional and c the conditional prediction.
    guidance(u, c; g) = u.clone() + (c - u) * g;
    /// x · (r·√(c/v) + 1 − r): guidance rescale, with c and v the squared deviations of conditional and guided prediction.
    guidance_rescale(x, c, v; r) = x * ((c / v.max(1e-30)).sqrt() * r.clone() + (r * -1.0 + 1.0));
    /// p·a + q·b with factors that broadcast: every sample of a batch at its own noise level.
    blend(a, b, p, q) = a * p + b * q;
    /// p·a + q·b: the linear step of a sampler.
    mix(a, b; p, q) = a * p + b * q;
    /// p·a + q·b + r·c
    mix3(a, b, c; p, q, r) = a * p + b * q + c * r;
    /// p·a + q·b + r·c + s·d
    mix4(a, b, c, d; p, q, r, s) = a * p + b * q + c * r + d * s;
}

impl Tensor {
    /// a + b
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        add(self, other)
    }

    /// a − b
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        sub(self, other)
    }

    /// a · b, elementwise
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        mul(self, other)
    }

    /// x · s
    pub fn scale(&self, s: f32) -> Result<Tensor> {
        scale(self, s)
    }
}

/// Every variant that the table asks for.
pub fn variants() -> Vec<Variant> {
    let expressions = table().into_iter().flat_map(|op| [vec![op.expr], op.gradients].concat());
    let layouts = [(false, true), (false, false), (true, false)];
    expressions.flat_map(|expr| layouts.map(|(broadcast, vector)| variant(&expr, broadcast, vector))).collect()
}

/// Cases: every op of the table without and with broadcasting, and `x · x`.
pub fn cases() -> Vec<OpCase> {
    let shapes: [&[&[usize]]; 4] = [
        &[&[2, 3, 4], &[2, 3, 4], &[2, 3, 4], &[2, 3, 4]],
        &[&[5, 7], &[5, 7], &[5, 7], &[5, 7]],
        &[&[2, 1, 3, 4], &[5, 1, 4], &[4], &[1]],
        &[&[2, 3, 1, 1, 2], &[3, 4, 5, 1], &[1, 1, 2], &[4, 1, 2]],
    ];
    let mut all = vec![OpCase::new(
        "pointwise",
        "mul of a tensor with itself",
        vec![operand(&[3, 5])],
        |x| x[0].mul(&x[0]),
        |a| Array::build(&a[0].shape, |i| a[0].data[i] * a[0].data[i]),
    )];
    for op in table() {
        all.extend(shapes.iter().map(|shapes| case(op.name, op.inputs, &shapes[..op.inputs])));
    }
    all
}

fn case(name: &'static str, inputs: usize, shapes: &[&[usize]]) -> OpCase {
    // Positive and away from zero, where roots, logarithms and quotients are defined.
    let operands = shapes.iter().map(|s| operand(s).range(0.3, 2.0)).collect();
    let scalars = [0.7f32, 1.6, -0.4, 0.9];
    let find = move || table().into_iter().find(|op| op.name == name);
    let run = move |x: &[Tensor]| {
        let op: &'static Pointwise = match find() {
            Some(op) => Box::leak(Box::new(op)),
            None => return Err(Error::Input(format!("no op {name}"))),
        };
        op.run(&x.iter().collect::<Vec<_>>(), &scalars)
    };
    let oracle = move |a: &[Array]| {
        let shape = a.iter().fold(Shape::new(&[]), |s, x| s.broadcast(&Shape::new(&x.shape)).unwrap_or(s));
        let expr = find().map(|op| op.expr);
        Array::from_coordinates(shape.as_slice(), |at| {
            let read = |x: &Array| {
                let own = &at[at.len() - x.shape.len()..];
                x.at(&own.iter().zip(&x.shape).map(|(c, n)| if *n == 1 { 0 } else { *c }).collect::<Vec<_>>())
            };
            let values: Vec<f64> = a.iter().map(read).collect();
            expr.as_ref().map_or(f64::NAN, |e| e.eval(&values, &scalars))
        })
    };
    OpCase::new("pointwise", format!("{name} {:?}", &shapes[..inputs]), operands, run, oracle)
}
