//! Range tests of the functions in `shaders/lib/math.wgsl`: no NaN, no overflow and a bounded error, also for arguments
//! far beyond what drivers promise. The functions themselves are reached through [`Expr`].

use super::case::{Array, OpCase, operand};
use super::expr::Expr;
use super::pointwise::{Pointwise, exp};
use crate::gpu::Variant;
use crate::tensor::Tensor;
use std::sync::LazyLock;

/// Ends between which `safe_exp` follows the exponential; beyond them it stays where it is.
const EXP: (f64, f64) = (-87.0, 88.0);

/// A function of the library, its exact value and how far it may be off.
struct Function {
    op: Pointwise,
    exact: fn(f64) -> f64,
    tolerance: f64,
}

static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let x = || Expr::input(0);
    let make = |name, expr: Expr, exact, tolerance| Function { op: Pointwise::new(name, 1, expr), exact, tolerance };
    vec![
        make("exp", x().exp(), |x| x.clamp(EXP.0, EXP.1).exp(), 3e-5),
        make("tanh", x().tanh(), f64::tanh, 1e-6),
        make("sigmoid", x().sigmoid(), |x| 1.0 / (1.0 + (-x).exp()), 1e-6),
        make("erf", x().erf(), super::expr::erf, 1e-6),
        make("sin", x().sin(), f64::sin, 1e-6),
        make("cos", x().cos(), f64::cos, 1e-6),
    ]
});

/// Every variant.
pub fn variants() -> Vec<Variant> {
    FUNCTIONS.iter().flat_map(|f| f.op.variants()).collect()
}

/// Cases: every function near zero, over its bend, and far out on both sides.
pub fn cases() -> Vec<OpCase> {
    let ranges = [(-1e-3, 1e-3), (-1.0, 1.0), (-12.0, 12.0), (-100.0, 100.0), (-1e4, 1e4)];
    let all = FUNCTIONS.iter().flat_map(|f| ranges.map(|range| case(f, range)));
    all.chain([(-10.0, 10.0), (-80.0, 80.0)].map(reciprocal_case)).collect()
}

/// The relative error of the exponential, which its large values hide: e^x · e^-x is 1. In kernels of their own, since a
/// compiler makes one exponential of such a product.
fn reciprocal_case((low, high): (f64, f64)) -> OpCase {
    let run = |x: &[Tensor]| exp(&x[0])?.mul(&exp(&x[0].scale(-1.0)?)?);
    let operands = vec![operand(&[1999]).range(low, high).constant()];
    let ones = |a: &[Array]| Array::build(&a[0].shape, |_| 1.0);
    OpCase::new("math", format!("exp of x and -x on [{low}, {high}]"), operands, run, ones).tolerance(3e-5)
}

fn case(f: &'static Function, (low, high): (f64, f64)) -> OpCase {
    let label = format!("{} on [{low}, {high}]", f.op.name);
    let exact = |a: &[Array]| Array::build(&a[0].shape, |i| (f.exact)(a[0].data[i]));
    let operands = vec![operand(&[1999]).range(low, high).constant()];
    OpCase::new("math", label, operands, |x| f.op.run(&[&x[0]], &[]), exact).tolerance(f.tolerance)
}
