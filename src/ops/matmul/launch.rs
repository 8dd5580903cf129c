//! Running the kernels of a matrix product: parts, tiles, variants.

use super::super::span::span;
use super::super::weight_format::{COMPRESSED, weight_format};
use super::{Activation, Epilogue, Sizes};
use crate::Result;
use crate::gpu::{DeviceClass, Gpu, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use std::ops::Range;

static MATMUL: Kernel = Kernel::new("matmul", include_str!("../../../shaders/matmul.wgsl"));
static SHARED: Kernel = Kernel::new("matmul_shared", include_str!("../../../shaders/matmul_shared.wgsl"));
static MATVEC: Kernel = Kernel::new("matvec", include_str!("../../../shaders/matvec.wgsl"));

/// A product that is about to run.
pub(super) struct Launch<'a> {
    pub x: &'a Tensor,
    pub w: &'a Tensor,
    pub y: &'a Tensor,
    pub a_t: bool,
    pub b_t: bool,
    pub epilogue: Epilogue<'a>,
    pub s: Sizes,
    /// The kernel to use instead of the one that suits the device.
    pub tile: Option<Tile>,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    x_row: u32,
    w_row: u32,
    y_row: u32,
    batches: u32,
    x_batch: u32,
    w_batch: u32,
    y_batch: u32,
    x_start: u32,
    w_start: u32,
    y_start: u32,
    first_n: u32,
}

/// A range of every axis of the product.
type Part = [Range<usize>; 4];
const BATCH: usize = 0;
const M: usize = 1;
const N: usize = 2;
const K: usize = 3;

/// Matrices of one operand: elements from one matrix and from one row to the next, and which axes rows and columns are.
struct Layout {
    batch: usize,
    row: usize,
    rows: usize,
    columns: usize,
}

impl Layout {
    /// First element of a part, and how many there are up to its last one.
    fn extent(&self, part: &Part) -> (usize, usize) {
        let at = |batch: usize, row: usize, column: usize| batch * self.batch + row * self.row + column;
        let first = at(part[BATCH].start, part[self.rows].start, part[self.columns].start);
        let last = at(part[BATCH].end - 1, part[self.rows].end - 1, part[self.columns].end - 1);
        (first, last + 1 - first)
    }

    /// Whether a part can be bound, wherever it starts.
    fn fits(&self, t: &Tensor, part: &Part) -> bool {
        let (_, count) = self.extent(part);
        // It may start and end within a unit that a binding can start at.
        let slack = if count == t.len() { 0 } else { t.dtype().aligned_elements() };
        t.dtype().bytes(count + slack) <= t.gpu().limits().max_binding
    }
}

impl Launch<'_> {
    /// Runs it in as many parts as the device's limits ask for.
    pub fn run(&self) -> Result<()> {
        let Sizes { batches, m, n, k, .. } = self.s;
        self.cut([0..batches, 0..m, 0..n, 0..k])
    }

    fn layout_of_x(&self) -> Layout {
        let (rows, columns, row) = if self.a_t { (K, M, self.s.m) } else { (M, K, self.s.k) };
        Layout { batch: self.s.x_batch, row, rows, columns }
    }

    fn layout_of_w(&self) -> Layout {
        let (rows, columns, row) = if self.b_t { (N, K, self.s.k) } else { (K, N, self.s.n) };
        Layout { batch: self.s.w_batch, row, rows, columns }
    }

    fn layout_of_y(&self) -> Layout {
        Layout { batch: self.s.m * self.s.n, row: self.s.n, rows: M, columns: N }
    }

    /// Halves the rows of the first operand that is too large. Parts of k come in order, and the later ones add to what
    /// is there. What cannot be halved is left to the recorder, which refuses it with the numbers.
    fn cut(&self, part: Part) -> Result<()> {
        let operands = [(self.x, self.layout_of_x()), (self.w, self.layout_of_w()), (self.y, self.layout_of_y())];
        let Some((_, layout)) = operands.iter().find(|(t, layout)| !layout.fits(t, &part)) else {
            return self.part(&part);
        };
        let axis = if part[BATCH].len() > 1 { BATCH } else { layout.rows };
        let range = part[axis].clone();
        // Rows of one operand are columns of another, which start at whole quads.
        let half = if axis == BATCH { range.len() / 2 } else { (range.len() / 2).next_multiple_of(4) };
        if half == 0 || half >= range.len() {
            return self.part(&part);
        }
        let of = |range: Range<usize>| {
            let mut part = part.clone();
            part[axis] = range;
            part
        };
        self.cut(of(range.start..range.start + half))?;
        self.cut(of(range.start + half..range.end))
    }

    fn part(&self, part: &Part) -> Result<()> {
        let (of_x, of_w, of_y) = (self.layout_of_x(), self.layout_of_w(), self.layout_of_y());
        // A binding, and where the part starts in it.
        let bind = |t, layout: &Layout| {
            let (first, count) = layout.extent(part);
            span(t, first, count).map(|(binding, start)| (binding, start.wrapping_add(first as u32)))
        };
        let last = part[K].end == self.s.k;
        let epilogue = if last { self.epilogue } else { Epilogue::default() };
        let ((x, x_start), (w, w_start), (y, y_start)) =
            (bind(self.x, &of_x)?, bind(self.w, &of_w)?, bind(self.y, &of_y)?);
        let mut bindings = vec![x, w];
        bindings.extend(epilogue.bias.map(Tensor::bind));
        if let Some(residual) = epilogue.residual {
            bindings.push(bind(residual, &of_y)?.0);
        }
        bindings.push(y);
        let [batches, m, n, k] = [BATCH, M, N, K].map(|axis| part[axis].len());
        let params = Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            x_row: of_x.row as u32,
            w_row: of_w.row as u32,
            y_row: of_y.row as u32,
            batches: batches as u32,
            x_batch: of_x.batch as u32,
            w_batch: of_w.batch as u32,
            y_batch: of_y.batch as u32,
            x_start,
            w_start,
            y_start,
            first_n: part[N].start as u32,
        };
        let gpu = self.x.gpu();
        let tile = self.tile.unwrap_or_else(|| Tile::choose(gpu, [batches, m, n, k], self.a_t, self.b_t));
        let [rows, columns] = tile.extent();
        let groups = m.div_ceil(rows) * n.div_ceil(columns) * batches;
        let work = 2.0 * (m * n * k * batches) as f64;
        let form = Form {
            tile,
            a_t: self.a_t,
            b_t: self.b_t,
            accumulate: part[K].start > 0,
            x_quads: self.x.shape().last().is_multiple_of(4),
            w_quads: self.w.shape().last().is_multiple_of(4),
            w_dtype: self.w.dtype(),
            bias: epilogue.bias.is_some(),
            residual: epilogue.residual.is_some(),
            activation: epilogue.activation,
        };
        variant(&form).run(gpu, &bindings, bytemuck::bytes_of(&params), groups as u64, work)
    }
}

/// The kernel that a run uses, with what an invocation covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tile {
    /// A tile in registers: rows, quads of columns, invocations along n and m.
    Registers { tm: u32, tnq: u32, wgn: u32, wgm: u32 },
    /// The same with all lanes along m: each loads one row of B in eight, and a subgroup shares them.
    Broadcast { tm: u32, tnq: u32, lanes: u32 },
    /// A few rows, all lanes along n: each loads one number of A in four, and a subgroup shares them. Plain A.
    Rows { tm: u32 },
    /// Slices in workgroup memory: rows, and as many columns, of an invocation.
    Shared { side: u32 },
    /// A workgroup for four columns of a few rows; plain A, and B stored by columns.
    Vector { tm: u32 },
}

/// Lanes of a subgroup that `Tile::Broadcast` and `Tile::Rows` need.
const BROADCAST_SUBGROUP: u32 = 8;
/// Lanes of a workgroup of `Tile::Rows`.
const ROWS_LANES: u32 = 32;

/// Multiply-adds of a product from which a wide tile pays: it takes the software driver one to two seconds longer to compile.
pub(crate) const WIDE_WORK: usize = 1 << 24;

/// Quads of columns of a wide tile, which has four rows: the one of less time for n columns, by what 48 of them took on lavapipe (1.90 ms in two
/// tiles of six quads, 2.30 in three of four).
pub(crate) fn wide_quads(n: usize) -> u32 {
    let time = |quads: usize, tile: usize| n.div_ceil(4 * quads) * tile;
    if time(6, 95) <= time(4, 77) { 6 } else { 4 }
}

impl Tile {
    const LARGE: Tile = Tile::Registers { tm: 8, tnq: 2, wgn: 8, wgm: 4 };
    const SMALL: Tile = Tile::Registers { tm: 4, tnq: 1, wgn: 8, wgm: 4 };
    const FLAT: Tile = Tile::Registers { tm: 4, tnq: 1, wgn: 32, wgm: 1 };
    const TWO: Tile = Tile::Registers { tm: 2, tnq: 1, wgn: 32, wgm: 1 };
    const ONE: Tile = Tile::Registers { tm: 1, tnq: 1, wgn: 32, wgm: 1 };

    /// Every tile.
    pub(super) const ALL: [Tile; 18] = [
        Tile::LARGE,
        Tile::SMALL,
        Tile::FLAT,
        Tile::TWO,
        Tile::ONE,
        Tile::Broadcast { tm: 2, tnq: 2, lanes: 32 },
        Tile::Broadcast { tm: 2, tnq: 4, lanes: 32 },
        Tile::Broadcast { tm: 4, tnq: 4, lanes: 8 },
        Tile::Broadcast { tm: 4, tnq: 6, lanes: 8 },
        Tile::Rows { tm: 1 },
        Tile::Rows { tm: 2 },
        Tile::Rows { tm: 4 },
        Tile::Rows { tm: 8 },
        Tile::Shared { side: 4 },
        Tile::Shared { side: 8 },
        Tile::Vector { tm: 1 },
        Tile::Vector { tm: 2 },
        Tile::Vector { tm: 4 },
    ];

    fn choose(gpu: &Gpu, [batches, m, n, k]: [usize; 4], a_t: bool, b_t: bool) -> Tile {
        let hardware = gpu.class() == DeviceClass::Hardware;
        let broadcast = !hardware && gpu.subgroup_size() >= BROADCAST_SUBGROUP;
        match m {
            1..=4 if hardware && b_t && !a_t => Tile::Vector { tm: [1, 2, 4, 4][m - 1] },
            1..=16 if broadcast && !a_t => Tile::Rows { tm: m.min(8).next_power_of_two() as u32 },
            1 if !a_t => Tile::ONE,
            2 if !a_t => Tile::TWO,
            0..=4 => Tile::FLAT,
            // The wide one needs fewer loads, but only many tiles fill a large GPU.
            _ if hardware && batches * m.div_ceil(128) * n.div_ceil(128) >= 128 => Tile::Shared { side: 8 },
            _ if hardware => Tile::Shared { side: 4 },
            _ if m > 16 && broadcast => Tile::broadcast(n, batches * m * n * k, a_t),
            _ if m >= 64 && n >= 128 => Tile::LARGE,
            _ => Tile::SMALL,
        }
    }

    /// Columns of A are loaded by quads, so that a tile has at least four rows then. It is the gradient of a weight, small and with a
    /// long sum: workgroups of one subgroup have fewer lanes beyond its end, and there are more of them.
    fn broadcast(n: usize, work: usize, a_t: bool) -> Tile {
        match n {
            _ if work >= WIDE_WORK => Tile::Broadcast { tm: 4, tnq: wide_quads(n), lanes: 8 },
            _ if a_t => Tile::Broadcast { tm: 4, tnq: 4, lanes: 8 },
            0..=8 => Tile::Broadcast { tm: 2, tnq: 2, lanes: 32 },
            _ => Tile::Broadcast { tm: 2, tnq: 4, lanes: 32 },
        }
    }

    /// Whether this form of product can use it, on a device with subgroups of so many lanes.
    pub(super) fn suits(self, a_t: bool, b_t: bool, subgroup: u32) -> bool {
        match self {
            Tile::Registers { tm, .. } => tm >= 4 || !a_t,
            Tile::Broadcast { tm, .. } => (tm >= 4 || !a_t) && subgroup >= BROADCAST_SUBGROUP,
            Tile::Rows { .. } => !a_t && subgroup >= BROADCAST_SUBGROUP,
            Tile::Shared { .. } => true,
            Tile::Vector { .. } => !a_t && b_t,
        }
    }

    /// Rows and columns of a workgroup.
    fn extent(self) -> [usize; 2] {
        let [rows, columns] = match self {
            Tile::Registers { tm, tnq, wgn, wgm } => [tm * wgm, 4 * tnq * wgn],
            Tile::Broadcast { tm, tnq, lanes } => [tm * lanes, 4 * tnq],
            Tile::Rows { tm } => [tm, 4 * ROWS_LANES],
            Tile::Shared { side } => [16 * side; 2],
            Tile::Vector { tm } => [tm, 4],
        };
        [rows as usize, columns as usize]
    }

    fn variant(self) -> Variant {
        let registers = |tm, tnq, wgn, wgm| {
            let variant = MATMUL.plain().set("TM", tm).set("TNQ", tnq);
            variant.set("WGN", wgn).set("WGM", wgm)
        };
        match self {
            Tile::Registers { tm, tnq, wgn, wgm } => registers(tm, tnq, wgn, wgm),
            Tile::Broadcast { tm, tnq, lanes } => {
                let variant = registers(tm, tnq, 1, lanes);
                variant.import("ROWS", "lib/rows_subgroup.wgsl").enable("SUBGROUP", true)
            }
            Tile::Rows { tm } => {
                registers(tm, 1, ROWS_LANES, 1).import("ROW", "lib/row_subgroup.wgsl").enable("SUBGROUP", true)
            }
            Tile::Shared { side } => SHARED.plain().set("T", side),
            Tile::Vector { tm } => MATVEC.plain().set("TM", tm),
        }
    }
}

#[derive(Clone, Copy)]
struct Form {
    tile: Tile,
    a_t: bool,
    b_t: bool,
    accumulate: bool,
    x_quads: bool,
    w_quads: bool,
    w_dtype: DType,
    bias: bool,
    residual: bool,
    activation: Option<Activation>,
}

fn variant(form: &Form) -> Variant {
    let tiled = match form.tile {
        Tile::Vector { .. } => form.tile.variant(),
        Tile::Shared { .. } => form.tile.variant().flag("A_T", form.a_t).flag("B_T", form.b_t),
        tile => {
            let variant = tile.variant().flag("A_T", form.a_t).flag("B_T", form.b_t);
            // The rows of a plain A are k long, and parts of k are whole quads.
            variant.flag("K_QUADS", form.x_quads && !form.a_t)
        }
    };
    tiled
        .flag("ACCUMULATE", form.accumulate)
        .import("INPUT", if form.x_quads { "lib/input_f32.wgsl" } else { "lib/input_f32_any.wgsl" })
        .import("WEIGHT", weight_format(form.w_dtype, form.w_quads))
        .enable("BIAS", form.bias)
        .enable("RESIDUAL", form.residual)
        .hook(form.activation.map(Activation::hook))
}

/// Every variant: all tiles, transposes and loaders, and all epilogues of linear layers.
pub fn variants() -> Vec<Variant> {
    let both = [false, true];
    let mut all = Vec::new();
    for tile in Tile::ALL {
        let forms = both.into_iter().flat_map(|a_t| both.map(|b_t| (a_t, b_t)));
        for (a_t, b_t) in forms.filter(|(a_t, b_t)| tile.suits(*a_t, *b_t, u32::MAX)) {
            let form = Form {
                tile,
                a_t,
                b_t,
                accumulate: false,
                x_quads: true,
                w_quads: true,
                w_dtype: DType::F32,
                bias: false,
                residual: false,
                activation: None,
            };
            for (x_quads, w_quads) in both.into_iter().flat_map(|x| both.map(|w| (x, w))) {
                all.push(variant(&Form { x_quads, w_quads, ..form }));
                all.push(variant(&Form { x_quads, w_quads, accumulate: true, ..form }));
                for (w_dtype, accumulate) in COMPRESSED.iter().flat_map(|&d| both.map(|a| (d, a))) {
                    if w_quads && !a_t {
                        all.push(variant(&Form { x_quads, w_dtype, accumulate, ..form }));
                    }
                }
            }
            if !a_t && b_t {
                all.extend(epilogues(form));
            }
        }
    }
    all
}

fn epilogues(form: Form) -> impl Iterator<Item = Variant> {
    let both = [false, true];
    let activations = [None].into_iter().chain(Activation::ALL.map(Some));
    activations.flat_map(move |activation| {
        let forms = both.into_iter().flat_map(move |bias| both.map(|residual| (bias, residual)));
        forms.flat_map(move |(bias, residual)| {
            let of = move |w_dtype| variant(&Form { bias, residual, activation, w_dtype, ..form });
            [DType::F32].into_iter().chain(COMPRESSED).map(of)
        })
    })
}
