//! Attention:   y[b, t, h] = Σ_s P[t, s] v[b, s, g],   P = softmax_s(score),   score = scale · q[b, t, h] · k[b, s, g]
//!
//! with g = h / (H / G), and a score of f32::MIN where the key is hidden. There is never a matrix of scores in memory:
//! keys are walked over in tiles under a running maximum (online softmax; Milakov and Gimelshein 2018, Dao et al. 2022).
//!
//! Gradient, with P found again from the saved maximum and sum of a row, δ = Σ_d dy · y and dS = P · (dy · vᵀ − δ):
//!   dq = scale · dS · k,   dk = scale · dSᵀ · q,   dv = Pᵀ · dy   (dk and dv summed over the heads of a group).
//! A hidden key's score is a constant, so dS is zero there.

mod backward;
mod cases;

pub use cases::{Setup, by_every_kernel, cases};

use self::backward::AttentionBackward;
use super::matmul::matmul;
use super::softmax::softmax;
use super::span::aligned_rows;
use crate::autograd::no_backward;
use crate::gpu::{Binding, DeviceClass, Gpu, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static TILED: Kernel = Kernel::new("attention", include_str!("../../shaders/attention.wgsl"));
static ROWS: Kernel = Kernel::new("attention_rows", include_str!("../../shaders/attention_rows.wgsl"));
static SPLIT: Kernel = Kernel::new("attention_split", include_str!("../../shaders/attention_split.wgsl"));
static MERGE: Kernel = Kernel::new("attention_merge", include_str!("../../shaders/attention_merge.wgsl"));

/// How keys are weighted and which ones a query sees.
#[derive(Default, Clone, Copy)]
pub struct Attention<'a> {
    /// Factor of the scores; 1/√D by default.
    pub scale: Option<f32>,
    /// With offset o, query t sees key s only if s ≤ t + o. The offset is the number of keys before the first query.
    pub causal: Option<usize>,
    /// Number of keys that count, where k and v are a cache with more room; all of them by default.
    pub keys: Option<usize>,
    /// U32 `[B, S]`: 0 hides a key. A row that sees no key at all averages over every one of the `keys`.
    pub key_mask: Option<&'a Tensor>,
}

/// q `[B, T, H, D]`, k and v `[B, S, G, D]` with G dividing H → `[B, T, H, D]`. Query head h reads key head h / (H / G).
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, options: Attention) -> Result<Tensor> {
    let sizes = Sizes::of(q, k, v, &options)?;
    let form = Form::choose(q.gpu(), &sizes);
    with_form(q, k, v, options, form)
}

/// The same for one head (H = G = 1) in ordinary ops, with the whole matrix of scores in memory: the definition.
/// It knows no `key_mask`.
pub fn attention_plain(q: &Tensor, k: &Tensor, v: &Tensor, options: Attention) -> Result<Tensor> {
    let s = Sizes::of(q, k, v, &options)?;
    if s.heads != 1 || options.key_mask.is_some() {
        return Err(Error::Input("attention_plain takes one head and no key_mask".into()));
    }
    let [q, k, v] = [(q, s.queries), (k, s.cache), (v, s.cache)].map(|(x, n)| x.reshape([s.batches, n, s.width]));
    let score = matmul(&q?, &k?, false, true)?.scale(s.scale)?;
    let bias = |t: usize, key: usize| match key {
        _ if key >= s.keys => f32::NEG_INFINITY,
        _ if key > t + s.offset => f32::MIN,
        _ => 0.0,
    };
    let bias: Vec<f32> = (0..s.queries).flat_map(|t| (0..s.cache).map(move |key| bias(t, key))).collect();
    let bias = Tensor::from_f32(score.gpu(), &bias, [s.queries, s.cache])?;
    let weights = softmax(&score.add(&bias)?)?;
    matmul(&weights, &v?, false, false)?.reshape([s.batches, s.queries, 1, s.width])
}

fn with_form(q: &Tensor, k: &Tensor, v: &Tensor, options: Attention, form: Form) -> Result<Tensor> {
    let sizes = Sizes::of(q, k, v, &options)?;
    let (y, stats) = forward(q, k, v, options.key_mask, &sizes, form)?;
    let class = match form {
        Form::Rows(_) => DeviceClass::Software,
        Form::Tiled(_) => DeviceClass::Hardware,
        Form::Split(..) => q.gpu().class(),
    };
    let saved = y.detach();
    y.on_tape("attention", &[q, k, v], || {
        let mask = options.key_mask.cloned();
        let (q, k, v) = (q.detach(), k.detach(), v.detach());
        Box::new(AttentionBackward { q, k, v, mask, y: saved, stats, sizes, class })
    })
}

/// Lengths of the axes and the options in numbers.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batches: usize,
    queries: usize,
    heads: usize,
    kv_heads: usize,
    keys: usize,
    cache: usize,
    width: usize,
    offset: usize,
    scale: f32,
}

impl Sizes {
    fn of(q: &Tensor, k: &Tensor, v: &Tensor, options: &Attention) -> Result<Sizes> {
        let [batches, queries, heads, width] = q.dims("attention q", "B T H D")?;
        let [_, cache, kv_heads, _] = k.dims("attention k", "B S G D")?;
        k.expect_shape("attention k", "B S G D", [batches, cache, kv_heads, width])?;
        v.expect_shape("attention v", "B S G D", [batches, cache, kv_heads, width])?;
        for (x, name) in [(q, "attention q"), (k, "attention k"), (v, "attention v")] {
            x.expect_dtype(name, DType::F32)?;
        }
        let keys = options.keys.unwrap_or(cache);
        if keys > cache || (keys == 0 && !q.is_empty()) {
            return Err(Error::Input(format!("attention over {keys} of {cache} keys")));
        }
        if kv_heads == 0 || heads % kv_heads != 0 {
            return Err(Error::Input(format!("attention: {heads} query heads cannot share {kv_heads} key heads")));
        }
        if let Some(mask) = options.key_mask {
            mask.expect_shape("attention key_mask", "B S", [batches, cache])?;
            mask.expect_dtype("attention key_mask", DType::U32)?;
            no_backward("attention key_mask", &[mask])?;
        }
        let offset = options.causal.map_or(FAR, |o| o.min(FAR));
        let scale = options.scale.unwrap_or(1.0 / (width as f32).sqrt());
        Ok(Sizes { batches, queries, heads, kv_heads, keys, cache, width, offset, scale })
    }

    fn work(&self) -> f64 {
        4.0 * (self.batches * self.queries * self.heads * self.width) as f64 * self.keys as f64
    }
}

/// A causal offset that hides nothing and cannot overflow.
const FAR: usize = i32::MAX as usize;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    batches: u32,
    queries: u32,
    heads: u32,
    kv_heads: u32,
    keys: u32,
    cache: u32,
    width: u32,
    first: u32,
    offset: u32,
    scale: f32,
    parts: u32,
    part: u32,
    slice: u32,
    pad: [u32; 3],
}

impl Params {
    fn new(s: &Sizes, first: usize, batches: usize, form: Form) -> Params {
        Params {
            batches: batches as u32,
            queries: s.queries as u32,
            heads: s.heads as u32,
            kv_heads: s.kv_heads as u32,
            keys: s.keys as u32,
            cache: s.cache as u32,
            width: s.width as u32,
            first: first as u32,
            offset: s.offset as u32,
            scale: s.scale,
            parts: 1,
            part: s.keys as u32,
            slice: if let Form::Rows(quads) = form { quads } else { 0 },
            pad: [0; 3],
        }
    }
}

/// Which kernel does it, and how many quads of columns an invocation owns: wider heads are cut into slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Four queries an invocation, for software drivers.
    Rows(u32),
    /// Tiles of queries and keys in workgroup memory.
    Tiled(u32),
    /// One query a workgroup, with the keys cut into this many parts.
    Split(u32, usize),
}

/// How the lanes of a workgroup come by rows that all of them read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Each loads every row.
    Own,
    /// Each loads one row in eight, and a subgroup of at least eight shares them.
    Subgroup,
}

impl Sharing {
    const ALL: [Sharing; 2] = [Sharing::Own, Sharing::Subgroup];

    fn of(gpu: &Gpu) -> Sharing {
        if gpu.subgroup_size() >= 8 { Sharing::Subgroup } else { Sharing::Own }
    }

    /// Sets the slot for rows of keys or queries, and the knob that says how many of them a step takes.
    fn apply(self, variant: Variant, rows: [&'static str; 2], step: &'static str) -> Variant {
        let [own, shared] = rows;
        match self {
            Sharing::Own => variant.import("EIGHT", own).set(step, 8),
            Sharing::Subgroup => variant.import("EIGHT", shared).set(step, 16).enable("SUBGROUP", true),
        }
    }
}

/// Library files for `Sharing::apply`.
const EIGHT_KEYS: [&str; 2] = ["lib/keys_own.wgsl", "lib/keys_subgroup.wgsl"];
/// Queries per workgroup of `attention_rows`.
const ROW_TILE: usize = 32;
/// Quads of columns it is compiled for.
const ROW_QUADS: [u32; 5] = [8, 16, 32, 40, 64];
/// Queries per workgroup of `attention`.
const TILE: usize = 32;
/// Quads of columns of each of 16 lanes that the tiled and the split kernel are compiled for.
const TILE_QUADS: [u32; 5] = [1, 2, 3, 4, 8];
/// Keys of a block of `attention_split`.
const BLOCK: usize = 128;

impl Form {
    fn choose(gpu: &Gpu, s: &Sizes) -> Form {
        let (class, quads) = (gpu.class(), s.width.div_ceil(4));
        match class {
            _ if s.queries <= 4 => Form::Split(fitting(&TILE_QUADS, quads.div_ceil(16)), parts(class, s)),
            DeviceClass::Software => Form::Rows(fitting(&ROW_QUADS, quads)),
            DeviceClass::Hardware => Form::Tiled(fitting(&TILE_QUADS, quads.div_ceil(16))),
        }
    }

    /// Slices of columns.
    fn slices(self, width: usize) -> usize {
        let quads = match self {
            Form::Rows(quads) => quads,
            Form::Tiled(quads) | Form::Split(quads, _) => 16 * quads,
        };
        width.div_ceil(4 * quads as usize)
    }

    fn variant(self, sharing: Sharing, width: usize, mask: bool) -> Variant {
        let variant = match self {
            Form::Rows(quads) => sharing.apply(ROWS.plain().set("QUADS", quads), EIGHT_KEYS, "KEYS"),
            Form::Tiled(quads) => TILED.plain().set("NC", quads),
            Form::Split(quads, _) => SPLIT.plain().set("NC", quads),
        };
        variant.import("HEADS", heads_format(width)).enable("MASK", mask)
    }
}

/// The library file that loads heads of a width.
fn heads_format(width: usize) -> &'static str {
    if width.is_multiple_of(4) { "lib/heads_f32.wgsl" } else { "lib/heads_f32_any.wgsl" }
}

/// The smallest choice that is enough, or else the largest.
fn fitting(choices: &[u32], needed: usize) -> u32 {
    let mut choices = choices.iter().copied();
    let largest = choices.clone().next_back().unwrap_or(1);
    choices.find(|&n| n as usize >= needed).unwrap_or(largest)
}

/// Parts of the keys such that the device is busy and a part is worth a workgroup.
fn parts(class: DeviceClass, s: &Sizes) -> usize {
    let wanted = match class {
        DeviceClass::Software => 16,
        DeviceClass::Hardware => 512,
    };
    let rows = (s.batches * s.queries * s.heads).max(1);
    (wanted / rows).clamp(1, s.keys.div_ceil(2 * BLOCK).max(1))
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    let rows = ROW_QUADS.map(Form::Rows).into_iter();
    let forms = rows.chain(TILE_QUADS.map(Form::Tiled)).chain(TILE_QUADS.map(|quads| Form::Split(quads, 1)));
    let loads = [(4, false), (4, true), (3, false), (3, true)];
    let loads = loads.into_iter().flat_map(|load| Sharing::ALL.map(|sharing| (sharing, load)));
    let attention = forms.flat_map(|form| loads.clone().map(move |(s, (width, mask))| form.variant(s, width, mask)));
    attention.chain([MERGE.plain()]).chain(backward::variants()).collect()
}

/// The result, and of every row the largest score and the sum of the exponentials under it: `[B, T, H, 2]`.
fn forward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    s: &Sizes,
    form: Form,
) -> Result<(Tensor, Tensor)> {
    let y = q.like()?;
    let stats = Tensor::empty(q.gpu(), [s.batches, s.queries, s.heads, 2], DType::F32)?;
    if y.is_empty() {
        return Ok((y, stats));
    }
    let launch = Launch { q, k, v, mask, s, form };
    let wanted = if let Form::Split(_, parts) = form { parts.max(1) } else { 1 };
    let part = s.keys.div_ceil(wanted).next_multiple_of(BLOCK);
    let parts = s.keys.div_ceil(part);
    if wanted == 1 || parts == 1 {
        launch.run(1, s.keys, &y, &stats)?;
        return Ok((y, stats));
    }
    let y_parts = Tensor::empty(q.gpu(), [s.batches, s.queries, s.heads, parts, s.width], DType::F32)?;
    let stats_parts = Tensor::empty(q.gpu(), [s.batches, s.queries, s.heads, parts, 2], DType::F32)?;
    launch.run(parts, part, &y_parts, &stats_parts)?;
    launch.merge(&y_parts, &stats_parts, parts, &y, &stats)?;
    Ok((y, stats))
}

struct Launch<'a> {
    q: &'a Tensor,
    k: &'a Tensor,
    v: &'a Tensor,
    mask: Option<&'a Tensor>,
    s: &'a Sizes,
    form: Form,
}

impl Launch<'_> {
    /// Batches whose bindings the device allows; all of them if not even one fits, and then the recorder refuses.
    fn batches(&self, parts: usize) -> usize {
        let [of_q, of_k] = self.rows_of_batch().map(|n| 4 * n);
        let limit = self.q.gpu().limits().max_binding as usize;
        if self.s.batches * of_k.max(of_q * parts) <= limit {
            return self.s.batches;
        }
        match aligned_rows(limit, of_k.max(of_q * parts), [of_q, of_k]) {
            0 => self.s.batches,
            n => n,
        }
    }

    /// Elements of one batch of q and of k.
    fn rows_of_batch(&self) -> [usize; 2] {
        let s = self.s;
        [s.queries * s.heads * s.width, s.cache * s.kv_heads * s.width]
    }

    /// q, k, v and the mask of `count` batches from `first` on.
    fn inputs(&self, first: usize, count: usize) -> Result<Vec<Binding<'_>>> {
        let [of_q, of_k] = self.rows_of_batch();
        let mut bindings = vec![self.q.bind_rows(first, count, of_q)?];
        bindings.push(self.k.bind_rows(first, count, of_k)?);
        bindings.push(self.v.bind_rows(first, count, of_k)?);
        bindings.extend(self.mask.map(Tensor::bind));
        Ok(bindings)
    }

    /// Calls `run` with the first batch and the number of batches of every part that the device can bind.
    fn each_part(&self, parts: usize, mut run: impl FnMut(usize, usize) -> Result<()>) -> Result<()> {
        let step = self.batches(parts).max(1);
        (0..self.s.batches).step_by(step).try_for_each(|first| run(first, step.min(self.s.batches - first)))
    }

    /// Runs over all batches, with the keys cut into `parts` of `part` keys.
    fn run(&self, parts: usize, part: usize, y: &Tensor, stats: &Tensor) -> Result<()> {
        let s = self.s;
        let [of_q, _] = self.rows_of_batch();
        self.each_part(parts, |first, count| {
            let mut bindings = self.inputs(first, count)?;
            bindings.push(y.bind_rows(first, count, of_q * parts)?);
            bindings.push(stats.bind());
            let tiles = match self.form {
                Form::Rows(_) => s.queries.div_ceil(ROW_TILE),
                Form::Tiled(_) => s.queries.div_ceil(TILE),
                Form::Split(..) => s.queries * parts,
            };
            let groups = count * s.heads * tiles * self.form.slices(s.width);
            let params = Params { parts: parts as u32, part: part as u32, ..Params::new(s, first, count, self.form) };
            let work = s.work() * count as f64 / s.batches as f64;
            let variant = self.form.variant(Sharing::of(y.gpu()), s.width, self.mask.is_some());
            variant.run(y.gpu(), &bindings, bytemuck::bytes_of(&params), groups as u64, work)
        })
    }

    fn merge(&self, y_parts: &Tensor, stats_parts: &Tensor, parts: usize, y: &Tensor, stats: &Tensor) -> Result<()> {
        let s = self.s;
        let [of_q, _] = self.rows_of_batch();
        self.each_part(parts, |first, count| {
            let from = [y_parts.bind_rows(first, count, of_q * parts)?, stats_parts.bind()];
            let bindings = [from[0], from[1], y.bind_rows(first, count, of_q)?, stats.bind()];
            let rows = s.queries * s.heads;
            let params = [(count * rows) as u32, (first * rows) as u32, parts as u32, s.width as u32];
            let groups = (count * of_q).div_ceil(64) as u64;
            let work = (count * of_q * parts) as f64;
            MERGE.plain().run(y.gpu(), &bindings, bytemuck::bytes_of(&params), groups, work)
        })
    }
}
