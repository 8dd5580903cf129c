//! Pointwise ops:   `y[i] = expression(a[i], b[i], …)`    with NumPy broadcasting.
//!
//! A new op is one line in the table at the end: its name, its tensors, its scalars and its expression.
//! Gradient: the expression differentiates itself, and [`Tensor::sum_to`] undoes broadcasting. A derivative reads only
//! what it needs, and equal expressions share a compiled shader: most derivatives are a product or a scaling.

use super::case::{Array, OpCase, operand};
use super::expr::Expr;
use crate::autograd::Backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
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
    forward: Fused,
    /// Its derivatives by each input, times dy, which is one more input.
    gradients: Vec<Fused>,
}

/// An expression as it is compiled, and which tensors and scalars of the op are its own.
struct Fused {
    form: Form,
    inputs: Vec<usize>,
    params: Vec<usize>,
}

/// What there is to do for an expression.
enum Form {
    Constant(f32),
    /// The first input as it is, unless it broadcasts.
    Same([Variant; 2]),
    /// Dense and strided kernel. They are made once: rendering the WGSL takes longer than recording the dispatch.
    Kernel([Variant; 2]),
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    first: u32,
    axes: u32,
    steps: u32,
    scalars: [f32; Expr::MAX_PARAMS],
    starts: [u32; 8],
    /// Strides of the inputs, then the length; innermost axis first.
    axis: [[u32; 8]; Shape::MAX_RANK],
}

impl Pointwise {
    /// An op from an expression of `inputs` tensors.
    pub fn new(name: &'static str, inputs: usize, expr: Expr) -> Pointwise {
        let dy = Expr::input(inputs);
        let gradients = (0..inputs).map(|i| Fused::new(&(expr.derivative(i) * dy.clone()))).collect();
        Pointwise { name, inputs, forward: Fused::new(&expr), expr, gradients }
    }

    /// Applies the op; shapes broadcast.
    pub fn run(&'static self, inputs: &[&Tensor], scalars: &[f32]) -> Result<Tensor> {
        let shape = common_shape(self.name, inputs)?;
        if inputs.len() != self.inputs || scalars.len() > Expr::MAX_PARAMS {
            return Err(Error::Input(format!("{} takes {} tensors, not {}", self.name, self.inputs, inputs.len())));
        }
        let y = self.forward.run(self.name, inputs, scalars, shape)?;
        y.on_tape(self.name, inputs, || {
            // A tensor stays alive only if a derivative that will be asked for reads it.
            let read =
                |j: usize| (0..self.inputs).any(|i| inputs[i].is_tracked() && self.gradients[i].inputs.contains(&j));
            let kept = inputs.iter().enumerate().map(|(j, x)| read(j).then(|| x.detach())).collect();
            let shapes = inputs.iter().map(|x| x.shape()).collect();
            Box::new(PointwiseBackward { op: self, inputs: kept, shapes, scalars: scalars.to_vec() })
        })
    }

    /// Every variant that the op and its gradients ask for.
    pub fn variants(&self) -> Vec<Variant> {
        let all = std::iter::once(&self.forward).chain(&self.gradients);
        all.filter_map(Fused::kernels).flatten().cloned().collect()
    }
}

/// Strided where shapes differ.
fn variant(expr: &Expr, strided: bool) -> Variant {
    let variant = POINTWISE.plain().flag("STRIDED", strided).hook(Some(expr.wgsl()));
    if strided { variant.alias("V", "f32") } else { variant }
}

impl Fused {
    fn new(expr: &Expr) -> Fused {
        let (expr, inputs, params) = expr.renumbered();
        let kernels = || [false, true].map(|strided| variant(&expr, strided));
        let form = match expr.constant() {
            Some(value) => Form::Constant(value),
            None if expr == Expr::input(0) => Form::Same(kernels()),
            None => Form::Kernel(kernels()),
        };
        Fused { form, inputs, params }
    }

    fn kernels(&self) -> Option<&[Variant; 2]> {
        match &self.form {
            Form::Constant(_) => None,
            Form::Same(kernels) | Form::Kernel(kernels) => Some(kernels),
        }
    }

    /// The value over `shape`, to which all `operands` broadcast.
    fn run(&self, name: &str, operands: &[&Tensor], scalars: &[f32], shape: Shape) -> Result<Tensor> {
        let gpu = operands[0].gpu();
        let inputs: Vec<&Tensor> = self.inputs.iter().map(|&i| operands[i]).collect();
        let (first, kernels) = match (&self.form, inputs.first()) {
            (Form::Constant(value), _) => return super::fill::full(gpu, shape, *value),
            (Form::Same(_), Some(only)) if only.shape() == shape => return Ok(only.detach()),
            (Form::Same(kernels) | Form::Kernel(kernels), Some(first)) if inputs.len() <= Expr::MAX_INPUTS => {
                (*first, kernels)
            }
            _ => {
                return Err(Error::Input(format!(
                    "{name} reads {} tensors, not 1 to {}",
                    inputs.len(),
                    Expr::MAX_INPUTS
                )));
            }
        };
        let y = Tensor::empty(gpu, shape, DType::F32)?;
        // A tensor that broadcasts and has as many elements has them in the same order.
        let full = |x: &Tensor| x.len() == y.len();
        let strided = !inputs.iter().all(|x| full(x));
        let variant = &kernels[usize::from(strided)];
        let mut params = Params::new(shape, &inputs);
        for (slot, &i) in params.scalars.iter_mut().zip(&self.params) {
            *slot = scalars.get(i).copied().unwrap_or(0.0);
        }
        // Without strides a V is four elements: memory is padded to that. A chunk starts at a multiple of 64 elements,
        // which is 256 bytes: aligned on every device.
        let width = if strided { 1 } else { 4 };
        let chunk = (gpu.limits().max_binding as usize / 4) & !63;
        for start in (0..y.len()).step_by(chunk) {
            let count = (y.len() - start).min(chunk);
            let values = count.div_ceil(width);
            let steps = steps(gpu.class(), values);
            params.count = values as u32;
            params.first = start as u32;
            params.steps = steps as u32;
            let mut bindings = Vec::with_capacity(Expr::MAX_INPUTS + 1);
            for i in 0..Expr::MAX_INPUTS {
                // Inputs that the expression does not have are bound to the first one and never read.
                let x = inputs.get(i).unwrap_or(&first);
                bindings.push(if full(x) { x.bind_rows(start, count, 1)? } else { x.bind() });
                params.starts[i] = if full(x) { (start as u32).wrapping_neg() } else { 0 };
            }
            bindings.push(y.bind_rows(start, count, 1)?);
            let groups = values.div_ceil(WG * steps) as u64;
            variant.run(gpu, &bindings, bytemuck::bytes_of(&params), groups, count as f64)?;
        }
        Ok(y)
    }
}

/// Vs of one invocation: a software driver pays for every workgroup, a GPU wants many.
fn steps(class: DeviceClass, count: usize) -> usize {
    match class {
        DeviceClass::Software => (count / (64 * WG)).clamp(1, 32),
        DeviceClass::Hardware => 1,
    }
}

fn common_shape(name: &str, inputs: &[&Tensor]) -> Result<Shape> {
    let mut shape = Shape::new(&[]);
    for (i, x) in inputs.iter().enumerate() {
        if x.dtype() != DType::F32 {
            x.expect_dtype(&format!("{name} input {i}"), DType::F32)?;
        }
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
    /// Axes of `shape` with every input's strides, innermost first; axes that lie together in all inputs are one.
    fn new(shape: Shape, inputs: &[&Tensor]) -> Params {
        const LENGTH: usize = Expr::MAX_INPUTS;
        let mut params: Params = bytemuck::Zeroable::zeroed();
        params.axis[0][LENGTH] = 1;
        let mut axes = 0;
        for i in (0..Shape::MAX_RANK).rev().filter(|&i| shape.padded()[i] != 1) {
            let mut axis = [0; 8];
            axis[LENGTH] = shape.padded()[i] as u32;
            for (slot, x) in axis.iter_mut().zip(inputs) {
                *slot = if x.shape().padded()[i] == 1 { 0 } else { x.shape().strides()[i] as u32 };
            }
            let inner = params.axis[axes.max(1) - 1];
            if axes > 0 && (0..LENGTH).all(|i| axis[i] == inner[i].wrapping_mul(inner[LENGTH])) {
                params.axis[axes - 1][LENGTH] *= axis[LENGTH];
            } else {
                params.axis[axes] = axis;
                axes += 1;
            }
        }
        params.axes = axes.max(1) as u32;
        params
    }
}

struct PointwiseBackward {
    op: &'static Pointwise,
    /// Those that the derivatives read.
    inputs: Vec<Option<Tensor>>,
    shapes: Vec<Shape>,
    scalars: Vec<f32>,
}

impl Backward for PointwiseBackward {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        // The derivative reads the inputs in their places and dy after them.
        let inputs = self.inputs.iter().map(|x| x.as_ref().unwrap_or(dy));
        let operands: Vec<&Tensor> = inputs.chain([dy]).collect();
        let gradient = |i: usize| {
            let fused = &self.op.gradients[i];
            match fused.form {
                Form::Constant(0.0) => super::fill::zeros(dy.gpu(), self.shapes[i]),
                _ => fused.run(self.op.name, &operands, &self.scalars, dy.shape())?.sum_to(self.shapes[i]),
            }
        };
        (0..self.shapes.len()).map(|i| if need[i] { gradient(i).map(Some) } else { Ok(None) }).collect()
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
        pub fn table() -> &'static [Pointwise] {
            static TABLE: LazyLock<Vec<Pointwise>> = LazyLock::new(|| vec![$(build::$name()),*]);
            &TABLE
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
    silu(x) = x.silu();
    /// GELU, exact: x/2 · (1 + erf(x/√2))
    gelu(x) = x.gelu();
    /// GELU, CLIP's approximation: x · sigmoid(1.702 x)
    quick_gelu(x) = x.quick_gelu();
    /// SwiGLU (LLaMA's gate): silu(gate) · up
    swiglu(gate, up) = gate.silu() * up;
    /// GEGLU (the UNet's gate): a · gelu(gate)
    geglu(a, gate) = a * gate.gelu();
    /// Classifier-free guidance: u + g · (c − u), with u the unconditional and c the conditional prediction.
    guidance(u, c; g) = u.clone() + (c - u) * g;
    /// x · (r·√(c/v) + 1 − r): guidance rescale, with c and v the squared deviations of conditional and guided prediction.
    guidance_rescale(x, c, v; r) = x * ((c / v.max(1e-30)).sqrt() * r.clone() + (r * -1.0 + 1.0));
    /// total / max(count, 1): a mean over those that count, 0 if none does.
    quotient_of_count(total, count) = total / count.max(1.0);
    /// (a − b)²
    squared_error(a, b) = (a.clone() - b.clone()) * (a - b);
    /// w · (a − b)², with weights that broadcast.
    weighted_squared_error(a, b, w) = w * (a.clone() - b.clone()) * (a - b);
    /// w · ((a − b)² + s·√((a − b)² + 10⁻⁶)), with weights that broadcast: squared and absolute error of pixels.
    weighted_pixel_error(a, b, w; s) = {
        let d = a - b;
        let square = d.clone() * d;
        w * (square.clone() + s * (square + 1e-6).sqrt())
    };
    /// ½ (μ² + e^l − 1 − l): Kullback-Leibler divergence of a normal distribution of variance e^l from the standard one.
    gaussian_divergence(mean, logvar) = (mean.clone() * mean + logvar.exp() - logvar + -1.0) * 0.5;
    /// min(1, max_norm / (norm + 10⁻⁶)): what gradients are multiplied by so that their norm is at most `max_norm`.
    clip_factor(norm; max_norm) = (max_norm / (norm + 1e-6)).min(1.0);
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
    table().iter().flat_map(Pointwise::variants).collect()
}

/// Cases: every op of the table without and with broadcasting, and `x · x`; tensors of several steps an invocation, and
/// one that a small binding limit cuts while another operand broadcasts.
pub fn cases() -> Vec<OpCase> {
    let shapes: [&[&[usize]]; 6] = [
        &[&[2, 3, 4], &[2, 3, 4], &[2, 3, 4], &[2, 3, 4]],
        &[&[5, 7], &[5, 7], &[5, 7], &[5, 7]],
        &[&[2, 1, 3, 4], &[5, 1, 4], &[4], &[1]],
        &[&[2, 3, 1, 1, 2], &[3, 4, 5, 1], &[1, 1, 2], &[4, 1, 2]],
        &[&[2, 0, 3], &[3], &[1, 3], &[2, 1, 3]],
        &[&[], &[], &[], &[]],
    ];
    let mut all: Vec<OpCase> = table().iter().filter(|op| op.inputs > 1).map(itself).collect();
    for op in table() {
        all.extend(shapes.iter().map(|shapes| case(op, &shapes[..op.inputs])));
    }
    let large: [&[&[usize]]; 4] =
        [&[&[130, 67], &[130, 67]], &[&[130, 267], &[130, 267]], &[&[130, 67], &[67]], &[&[2, 1, 67], &[65, 1]]];
    let add = table().iter().filter(|op| op.name == "add");
    all.extend(add.flat_map(|op| large.map(|shapes| without_gradient(case(op, shapes)))));
    all
}

/// One tensor as every input of an op.
fn itself(op: &'static Pointwise) -> OpCase {
    let scalars = [0.7f32, 1.6, -0.4, 0.9];
    let run = move |x: &[Tensor]| op.run(&vec![&x[0]; op.inputs], &scalars);
    let oracle = move |a: &[Array]| oracle(op, &vec![a[0].clone(); op.inputs], &scalars);
    let x = vec![operand(&[3, 5]).range(0.3, 2.0)];
    OpCase::new("pointwise", format!("{} of a tensor with itself", op.name), x, run, oracle)
}

fn without_gradient(mut case: OpCase) -> OpCase {
    case.operands.iter_mut().for_each(|o| o.differentiable = false);
    case
}

/// An op of the table over tensors of these shapes, which broadcast.
pub fn case(op: &'static Pointwise, shapes: &[&[usize]]) -> OpCase {
    // Positive and away from zero, where roots, logarithms and quotients are defined.
    let operands = shapes.iter().map(|s| operand(s).range(0.3, 2.0)).collect();
    let scalars = [0.7f32, 1.6, -0.4, 0.9];
    let run = move |x: &[Tensor]| op.run(&x.iter().collect::<Vec<_>>(), &scalars);
    OpCase::new("pointwise", format!("{} {shapes:?}", op.name), operands, run, move |a| oracle(op, a, &scalars))
}

/// The expression in f64 over broadcast arrays.
pub(super) fn oracle(op: &Pointwise, a: &[Array], scalars: &[f32]) -> Array {
    let shapes: Vec<Shape> = a.iter().map(|x| Shape::new(&x.shape)).collect();
    let shape = shapes.iter().fold(Shape::new(&[]), |s, x| s.broadcast(x).unwrap_or(s));
    let mut values = vec![0.0; a.len()];
    Array::from_coordinates(shape.as_slice(), |at| {
        for (value, x) in values.iter_mut().zip(a) {
            let own = at[at.len() - x.shape.len()..].iter().zip(&x.shape);
            *value = x.data[own.fold(0, |flat, (c, n)| flat * n + if *n == 1 { 0 } else { *c })];
        }
        op.expr.eval(&values, scalars)
    })
}
