//! Backward pass of attention: one kernel over queries for dq, one over keys for dk and dv. Both find the weights again
//! from the saved maximum and sum of every row, and add in a fixed order.

use super::{EIGHT_KEYS, Form, Launch, ROW_QUADS, ROW_TILE, Sharing, Sizes, TILE, TILE_QUADS, fitting, heads_format};
use crate::Result;
use crate::autograd::Backward;
use crate::gpu::{Binding, DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static DELTA: Kernel = Kernel::new("attention_delta", include_str!("../../../shaders/attention_delta.wgsl"));
static DQ: Kernel = Kernel::new("attention_dq", include_str!("../../../shaders/attention_dq.wgsl"));
static DQ_ROWS: Kernel = Kernel::new("attention_dq_rows", include_str!("../../../shaders/attention_dq_rows.wgsl"));
static DKV: Kernel = Kernel::new("attention_dkv", include_str!("../../../shaders/attention_dkv.wgsl"));
static DKV_ROWS: Kernel = Kernel::new("attention_dkv_rows", include_str!("../../../shaders/attention_dkv_rows.wgsl"));

/// Two sums an invocation leave room for fewer columns.
const DKV_ROW_QUADS: [u32; 4] = [8, 16, 20, 32];
const DKV_TILE_QUADS: [u32; 4] = [1, 2, 3, 4];

/// Library files for rows of queries.
const EIGHT_QUERIES: [&str; 2] = ["lib/queries_own.wgsl", "lib/queries_subgroup.wgsl"];

/// What the backward pass reads.
pub(super) struct AttentionBackward {
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    pub mask: Option<Tensor>,
    pub y: Tensor,
    /// Maximum and sum of every row.
    pub stats: Tensor,
    pub sizes: Sizes,
    /// Kernels for a software driver, or tiles in workgroup memory.
    pub class: DeviceClass,
}

impl Backward for AttentionBackward {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let rows = self.rows(dy)?;
        let mut gradients = vec![None; 3];
        if need[0] {
            let dq = self.q.like()?;
            self.run(Side::Queries, dy, &rows, &[&dq])?;
            gradients[0] = Some(dq);
        }
        if need[1] || need[2] {
            let (dk, dv) = (self.k.like()?, self.v.like()?);
            self.run(Side::Keys, dy, &rows, &[&dk, &dv])?;
            (gradients[1], gradients[2]) = (Some(dk), Some(dv));
        }
        Ok(gradients)
    }
}

/// What a kernel owns: the gradient of that is its result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Queries,
    Keys,
}

impl Side {
    fn form(self, class: DeviceClass, width: usize) -> Form {
        let quads = width.div_ceil(4);
        match (self, class) {
            (Side::Queries, DeviceClass::Software) => Form::Rows(fitting(&ROW_QUADS, quads)),
            (Side::Keys, DeviceClass::Software) => Form::Rows(fitting(&DKV_ROW_QUADS, quads)),
            (Side::Queries, DeviceClass::Hardware) => Form::Tiled(fitting(&TILE_QUADS, quads.div_ceil(16))),
            (Side::Keys, DeviceClass::Hardware) => Form::Tiled(fitting(&DKV_TILE_QUADS, quads.div_ceil(16))),
        }
    }

    fn variant(self, form: Form, sharing: Sharing, width: usize, mask: bool) -> Variant {
        let variant = match (self, form) {
            (Side::Queries, Form::Rows(quads)) => {
                sharing.apply(DQ_ROWS.plain().set("QUADS", quads), EIGHT_KEYS, "KEYS")
            }
            (Side::Keys, Form::Rows(quads)) => {
                sharing.apply(DKV_ROWS.plain().set("QUADS", quads), EIGHT_QUERIES, "STEP")
            }
            (Side::Queries, Form::Tiled(quads) | Form::Split(quads, _)) => DQ.plain().set("NC", quads),
            (Side::Keys, Form::Tiled(quads) | Form::Split(quads, _)) => DKV.plain().set("NC", quads),
        };
        let dy = if width.is_multiple_of(4) { "lib/heads_dy_f32.wgsl" } else { "lib/heads_dy_f32_any.wgsl" };
        variant.import("HEADS", heads_format(width)).import("GRADIENT", dy).enable("MASK", mask)
    }
}

/// Every variant of the backward pass.
pub(super) fn variants() -> Vec<Variant> {
    let queries = ROW_QUADS.map(Form::Rows).into_iter().chain(TILE_QUADS.map(Form::Tiled));
    let keys = DKV_ROW_QUADS.map(Form::Rows).into_iter().chain(DKV_TILE_QUADS.map(Form::Tiled));
    let forms = queries.map(|form| (Side::Queries, form)).chain(keys.map(|form| (Side::Keys, form)));
    let loads = [(4, false), (4, true), (3, false), (3, true)];
    let loads = loads.into_iter().flat_map(|load| Sharing::ALL.map(|sharing| (sharing, load)));
    let all = forms.flat_map(|(side, form)| {
        loads.clone().map(move |(sharing, (width, mask))| side.variant(form, sharing, width, mask))
    });
    all.chain([DELTA.plain()]).collect()
}

impl AttentionBackward {
    fn launch(&self, form: Form) -> Launch<'_> {
        Launch { q: &self.q, k: &self.k, v: &self.v, mask: self.mask.as_ref(), s: &self.sizes, form }
    }

    /// Maximum, sum and δ = Σ_d dy · y of every row: `[B, T, H, 4]`.
    fn rows(&self, dy: &Tensor) -> Result<Tensor> {
        let s = &self.sizes;
        let rows = Tensor::empty(dy.gpu(), [s.batches, s.queries, s.heads, 4], DType::F32)?;
        let [of_q, _] = self.launch(Form::Tiled(1)).rows_of_batch();
        self.launch(Form::Tiled(1)).each_part(1, |first, count| {
            let of_rows = s.queries * s.heads;
            let bindings: [Binding; 4] = [
                self.y.bind_rows(first, count, of_q)?,
                dy.bind_rows(first, count, of_q)?,
                self.stats.bind(),
                rows.bind(),
            ];
            let params = [(count * of_rows) as u32, (first * of_rows) as u32, s.width as u32, 0];
            let groups = (count * of_rows).div_ceil(64) as u64;
            DELTA.plain().run(dy.gpu(), &bindings, bytemuck::bytes_of(&params), groups, (count * of_q) as f64)
        })?;
        Ok(rows)
    }

    /// Runs the kernel that owns one side over all batches.
    fn run(&self, side: Side, dy: &Tensor, rows: &Tensor, results: &[&Tensor]) -> Result<()> {
        let s = &self.sizes;
        let form = side.form(self.class, s.width);
        let launch = self.launch(form);
        let [of_q, of_k] = launch.rows_of_batch();
        let (length, heads, of_result) = match side {
            Side::Queries => (s.queries, s.heads, of_q),
            Side::Keys => (s.cache, s.kv_heads, of_k),
        };
        let tile = if let Form::Rows(_) = form { ROW_TILE } else { TILE };
        launch.each_part(1, |first, count| {
            let mut bindings = launch.inputs(first, count)?;
            bindings.push(dy.bind_rows(first, count, of_q)?);
            bindings.push(rows.bind());
            for result in results {
                bindings.push(result.bind_rows(first, count, of_result)?);
            }
            let groups = count * heads * length.div_ceil(tile) * form.slices(s.width);
            let params = super::Params::new(s, first, count, form);
            let work = 2.0 * s.work() * count as f64 / s.batches as f64;
            let variant = side.variant(form, Sharing::of(dy.gpu()), s.width, self.mask.is_some());
            variant.run(dy.gpu(), &bindings, bytemuck::bytes_of(&params), groups as u64, work)
        })
    }
}
