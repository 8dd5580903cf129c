//! Matrix products:   `y[m, n] = residual[m, n] + activation(Σ_k A[m, k] · B[k, n] + bias[n])`
//!
//! Gradient of the plain product, with stored operands x (A) and w (B):
//!   dA = dy · Bᵀ,   dB = Aᵀ · dy   (summed over the batches that share an operand), dbias = Σ_rows dy.

mod cases;

pub use cases::cases;

use super::expr::Expr;
use crate::autograd::Backward;
use crate::gpu::{Binding, Gpu, Kernel, Variant};
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

static MATMUL: Kernel = Kernel::new("matmul", include_str!("../../shaders/matmul.wgsl"));

/// A pointwise function that a product or convolution applies before it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x · sigmoid(x)
    Silu,
    /// Exact GELU.
    Gelu,
    /// x · sigmoid(1.702 x)
    QuickGelu,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 3] = [Activation::Silu, Activation::Gelu, Activation::QuickGelu];

    /// The function as an expression of its argument.
    pub fn expr(self) -> Expr {
        let x = Expr::input(0);
        match self {
            Activation::Silu => x.clone() * x.sigmoid(),
            Activation::Gelu => x.clone() * 0.5 * ((x * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0),
            Activation::QuickGelu => x.clone() * (x * 1.702).sigmoid(),
        }
    }

    /// The function as an op of its own.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Silu => super::pointwise::silu(x),
            Activation::Gelu => super::pointwise::gelu(x),
            Activation::QuickGelu => super::pointwise::quick_gelu(x),
        }
    }
}

/// What happens to a product before it is written.
#[derive(Default, Clone, Copy)]
pub struct Epilogue<'a> {
    /// `[N]`, added first.
    pub bias: Option<&'a Tensor>,
    /// Applied second.
    pub activation: Option<Activation>,
    /// Of the result's shape, added last.
    pub residual: Option<&'a Tensor>,
}

/// A linear layer:  x `[.., C]`, w `[N, C]` → `[.., N]`.
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
/// last two axes swapped. Leading axes are equal, or one operand has none.
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
        let y = epilogue.activation.map_or(Ok(y.clone()), |f| f.apply(&y))?;
        return epilogue.residual.map_or(Ok(y.clone()), |r| y.add(r));
    }
    let y = forward(x, w, a_t, b_t, epilogue)?;
    let inputs: Vec<&Tensor> = [Some(x), Some(w), epilogue.bias].into_iter().flatten().collect();
    y.on_tape("matmul", &inputs, || Box::new(Matmul { x: x.detach(), w: w.detach(), a_t, b_t }))
}

fn forward(x: &Tensor, w: &Tensor, a_t: bool, b_t: bool, epilogue: Epilogue) -> Result<Tensor> {
    x.expect_dtype("matmul a", DType::F32)?;
    let (s, shape) = sizes(x, w, a_t, b_t)?;
    if let Some(bias) = epilogue.bias {
        bias.expect_shape("matmul bias", "N", [s.n])?;
    }
    if let Some(residual) = epilogue.residual {
        residual.expect_shape("matmul residual", ".. M N", shape)?;
    }
    let y = Tensor::empty(x.gpu(), shape, DType::F32)?;
    if s.k == 0 || y.is_empty() {
        return if y.is_empty() { Ok(y) } else { super::fill::zeros(x.gpu(), shape) };
    }
    Launch { x, w, y: &y, a_t, b_t, epilogue, s }.run()?;
    Ok(y)
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    n_first: u32,
    n_all: u32,
    batches: u32,
    x_batch: u32,
    w_batch: u32,
}

struct Launch<'a> {
    x: &'a Tensor,
    w: &'a Tensor,
    y: &'a Tensor,
    a_t: bool,
    b_t: bool,
    epilogue: Epilogue<'a>,
    s: Sizes,
}

impl Launch<'_> {
    /// Cuts the product into parts whose bindings the device allows: rows of x and y, and rows of w.
    fn run(&self) -> Result<()> {
        let limit = self.x.gpu().limits().max_binding as usize;
        let Sizes { batches, m, n, k, .. } = self.s;
        let fits = |t: &Tensor| t.dtype().bytes(t.len()) as usize <= limit;
        if batches > 1 || self.a_t || (fits(self.x) && fits(self.y) && fits(self.w)) {
            return self.part(0, m, 0, n);
        }
        let rows = if fits(self.x) && fits(self.y) { m } else { aligned_rows(limit, 4 * k.max(n), [4 * k, 4 * n]) };
        let row_of_w = self.w.dtype().bytes(k) as usize;
        let columns = if fits(self.w) || !self.b_t { n } else { aligned_rows(limit, row_of_w, [row_of_w, row_of_w]) };
        for first in (0..m).step_by(rows.max(1)) {
            for column in (0..n).step_by(columns.max(1)) {
                self.part(first, rows.min(m - first), column, columns.min(n - column))?;
            }
        }
        Ok(())
    }

    fn part(&self, first: usize, m: usize, column: usize, n: usize) -> Result<()> {
        let s = self.s;
        let whole = first == 0 && m == s.m;
        let mut bindings = vec![rows(self.x, whole, first, m)?];
        bindings.push(if n == s.n { self.w.bind() } else { self.w.bind_rows(column, n, s.k)? });
        bindings.extend(self.epilogue.bias.map(Tensor::bind));
        if let Some(residual) = self.epilogue.residual {
            bindings.push(rows(residual, whole, first, m)?);
        }
        bindings.push(rows(self.y, whole, first, m)?);
        let tile = Tile::choose(self.x.gpu(), m, n, self.a_t);
        let params = Params {
            m: m as u32,
            n: n as u32,
            k: s.k as u32,
            n_first: column as u32,
            n_all: s.n as u32,
            batches: s.batches as u32,
            x_batch: s.x_batch as u32,
            w_batch: s.w_batch as u32,
        };
        let groups = m.div_ceil(tile.rows()) * n.div_ceil(tile.columns()) * s.batches;
        let work = 2.0 * (m * n * s.k * s.batches) as f64;
        self.variant(tile).run(self.x.gpu(), &bindings, bytemuck::bytes_of(&params), groups as u64, work)
    }

    fn variant(&self, tile: Tile) -> Variant {
        let quads = |t: &Tensor| t.shape().last() % 4 == 0;
        variant(&Form {
            a_t: self.a_t,
            b_t: self.b_t,
            tile,
            x_quads: quads(self.x),
            w_quads: quads(self.w),
            w_dtype: self.w.dtype(),
            bias: self.epilogue.bias.is_some(),
            residual: self.epilogue.residual.is_some(),
            activation: self.epilogue.activation,
        })
    }
}

fn rows(t: &Tensor, whole: bool, first: usize, count: usize) -> Result<Binding<'_>> {
    if whole { Ok(t.bind()) } else { t.bind_rows(first, count, t.shape().last()) }
}

/// As many rows as fit the limit such that every part starts on an alignment of 256 bytes.
pub(crate) fn aligned_rows(limit: usize, widest: usize, rows: [usize; 2]) -> usize {
    let step = |row: usize| 256 / gcd(row.max(1), 256);
    let step = step(rows[0]).max(step(rows[1]));
    limit / widest.max(1) / step * step
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What an invocation and a workgroup cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tile {
    tm: u32,
    tnq: u32,
    wgn: u32,
    wgm: u32,
}

/// Largest first; measured on lavapipe (Mesa 25, two cores).
const TILES: [Tile; 5] = [
    Tile { tm: 8, tnq: 2, wgn: 8, wgm: 4 },
    Tile { tm: 4, tnq: 1, wgn: 8, wgm: 4 },
    Tile { tm: 4, tnq: 1, wgn: 32, wgm: 1 },
    Tile { tm: 2, tnq: 1, wgn: 32, wgm: 1 },
    Tile { tm: 1, tnq: 1, wgn: 32, wgm: 1 },
];

impl Tile {
    fn rows(self) -> usize {
        (self.tm * self.wgm) as usize
    }

    fn columns(self) -> usize {
        (4 * self.tnq * self.wgn) as usize
    }

    fn choose(_gpu: &Gpu, m: usize, n: usize, a_t: bool) -> Tile {
        let [large, small, flat, two, one] = TILES;
        match m {
            1 if !a_t => one,
            2 if !a_t => two,
            0..=4 => flat,
            _ if m >= 64 && n >= 128 => large,
            _ => small,
        }
    }
}

struct Form {
    a_t: bool,
    b_t: bool,
    tile: Tile,
    x_quads: bool,
    w_quads: bool,
    w_dtype: DType,
    bias: bool,
    residual: bool,
    activation: Option<Activation>,
}

fn variant(form: &Form) -> Variant {
    let Tile { tm, tnq, wgn, wgm } = form.tile;
    let tiled = MATMUL.plain().flag("A_T", form.a_t).flag("B_T", form.b_t).set("TM", tm).set("TNQ", tnq);
    tiled
        .set("WGN", wgn)
        .set("WGM", wgm)
        .import("INPUT", if form.x_quads { "lib/input_f32.wgsl" } else { "lib/input_f32_any.wgsl" })
        .import("WEIGHT", weight_format(form.w_dtype, form.w_quads))
        .enable("BIAS", form.bias)
        .enable("RESIDUAL", form.residual)
        .hook(form.activation.map(|f| f.expr().wgsl()))
}

/// The library file that loads weights of a type; rows of f16 are always whole quads.
pub(crate) fn weight_format(dtype: DType, quads: bool) -> &'static str {
    match (dtype, quads) {
        (DType::F16, _) => "lib/weight_f16.wgsl",
        (_, true) => "lib/weight_f32.wgsl",
        (_, false) => "lib/weight_f32_any.wgsl",
    }
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    let both = [false, true];
    let activations = [None].into_iter().chain(Activation::ALL.map(Some));
    for (tile, a_t) in TILES.iter().flat_map(|&tile| both.map(|a_t| (tile, a_t))).filter(|(t, a_t)| !a_t || t.tm >= 4) {
        for (b_t, x_quads, w_quads) in
            both.iter().flat_map(|&b| both.iter().flat_map(move |&x| both.map(|w| (b, x, w))))
        {
            let form = |w_dtype| Form {
                a_t,
                b_t,
                tile,
                x_quads,
                w_quads,
                w_dtype,
                bias: false,
                residual: false,
                activation: None,
            };
            all.push(variant(&form(DType::F32)));
            if b_t && w_quads && !a_t {
                all.push(variant(&form(DType::F16)));
            }
        }
    }
    for (bias, residual, activation) in
        activations.flat_map(|f| both.iter().flat_map(move |&b| both.map(|r| (b, r, f))))
    {
        for (tile, w_dtype) in TILES.iter().flat_map(|&t| [(t, DType::F32), (t, DType::F16)]) {
            let form =
                Form { a_t: false, b_t: true, tile, x_quads: true, w_quads: true, w_dtype, bias, residual, activation };
            all.push(variant(&form));
        }
    }
    all
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
        let plain = |a: &Tensor, b: &Tensor, a_t, b_t| forward(a, b, a_t, b_t, Epilogue::default());
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
