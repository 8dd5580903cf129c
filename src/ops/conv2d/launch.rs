//! Running the convolution kernel: parts whose bindings the device allows, tiles, variants.

use super::super::matmul::{Activation, Epilogue, weight_format};
use super::super::span::{fitting, span};
use super::Conv;
use crate::Result;
use crate::gpu::{DeviceClass, Gpu, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use std::ops::Range;

static CONV2D_SHARED: Kernel = Kernel::new("conv2d_shared", include_str!("../../../shaders/conv2d_shared.wgsl"));
static CONV2D: Kernel = Kernel::new("conv2d", include_str!("../../../shaders/conv2d.wgsl"));

/// Everything about a run that the parts share. Transposed, x is dy and y is dx.
pub(super) struct Launch<'a> {
    x: &'a Tensor,
    w: &'a Tensor,
    y: &'a Tensor,
    conv: Conv,
    transposed: bool,
    epilogue: Epilogue<'a>,
    images: usize,
    /// Rows, columns and channels of x and of y.
    from: [usize; 3],
    to: [usize; 3],
    kernel: [usize; 2],
    /// A tile to use instead of the chosen one.
    tile: Option<Tile>,
}

/// What one dispatch computes: images, rows and channels of y.
struct Part {
    images: Range<usize>,
    rows: Range<usize>,
    channels: Range<usize>,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    images: u32,
    rows: u32,
    columns: u32,
    first_image: u32,
    first_row: u32,
    n: u32,
    first_n: u32,
    y_rows: u32,
    y_channels: u32,
    x_rows: u32,
    x_columns: u32,
    c: u32,
    kernel: [u32; 2],
    stride: [u32; 2],
    before: [u32; 2],
    x_start: u32,
    w_start: u32,
    y_start: u32,
}

impl<'a> Launch<'a> {
    pub(super) fn new(
        x: &'a Tensor,
        w: &'a Tensor,
        y: &'a Tensor,
        conv: Conv,
        transposed: bool,
        epilogue: Epilogue<'a>,
    ) -> Result<Self> {
        let [_, ky, kx, _] = w.dims("conv2d w", "N KY KX C")?;
        let [images, y0, x0, c0] = x.dims("conv2d x", "B Y X C")?;
        let [_, y1, x1, c1] = y.dims("conv2d y", "B Y X C")?;
        let (from, to, kernel) = ([y0, x0, c0], [y1, x1, c1], [ky, kx]);
        Ok(Launch { x, w, y, conv, transposed, epilogue, images, from, to, kernel, tile: None })
    }

    pub(super) fn with_tile(self, tile: Option<Tile>) -> Self {
        Launch { tile, ..self }
    }

    pub(super) fn run(&self) -> Result<()> {
        let [rows, _, channels] = self.to;
        let image_bytes = |s: [usize; 3]| 4 * s.iter().product::<usize>();
        let largest = image_bytes(self.from).max(image_bytes(self.to));
        let (images, rows_at_once) = match fitting(self.x, largest) {
            _ if self.images * largest <= self.limit() => (self.images, rows),
            0 => (1, self.rows_that_fit()),
            images => (images, rows),
        };
        let filter = self.w.dtype().bytes(self.w.len() / channels) as usize;
        let channels_at_once =
            if self.transposed || filter * channels <= self.limit() { channels } else { fitting(self.w, filter) };
        for images in ranges(self.images, images) {
            for rows in ranges(rows, rows_at_once) {
                for channels in ranges(channels, channels_at_once) {
                    self.part(Part { images: images.clone(), rows: rows.clone(), channels })?;
                }
            }
        }
        Ok(())
    }

    fn limit(&self) -> usize {
        self.x.gpu().limits().max_binding as usize
    }

    /// Rows of y in one image such that they and the rows of x that they need can be bound.
    fn rows_that_fit(&self) -> usize {
        let row = |s: [usize; 3]| 4 * s[1] * s[2];
        let fits = |rows: usize| {
            let needed = self.rows_needed(0..rows.min(self.to[0]));
            let worst = (needed.len() + self.kernel[0]).min(self.from[0]);
            rows <= fitting(self.y, row(self.to)) && worst <= fitting(self.x, row(self.from))
        };
        let mut rows = self.to[0];
        while rows > 1 && !fits(rows) {
            rows = rows.div_ceil(2);
        }
        rows
    }

    /// Rows of x that these rows of y read, at least one.
    fn rows_needed(&self, rows: Range<usize>) -> Range<usize> {
        let (stride, before, taps) = (self.conv.stride[0], self.conv.padding[0][0], self.kernel[0]);
        let (first, end) = if self.transposed {
            (
                (rows.start + before + 1).saturating_sub(taps).div_ceil(stride),
                (rows.end + before).saturating_sub(1) / stride + 1,
            )
        } else {
            ((rows.start * stride).saturating_sub(before), ((rows.end - 1) * stride + taps).saturating_sub(before))
        };
        let first = first.min(self.from[0] - 1);
        first..end.clamp(first + 1, self.from[0])
    }

    fn part(&self, part: Part) -> Result<()> {
        let Part { images, rows, channels } = part;
        let needed = self.rows_needed(rows.clone());
        // Whole images lie side by side; some rows of one image do too.
        let place = |s: [usize; 3], rows: &Range<usize>| {
            let rows_all = s[0] * (images.len() - 1) + rows.len();
            ((images.start * s[0] + rows.start) * s[1] * s[2], rows_all * s[1] * s[2])
        };
        let whole =
            |s: [usize; 3]| (images.start * s.iter().product::<usize>(), images.len() * s.iter().product::<usize>());
        let (first, count) = if rows.len() == self.to[0] { whole(self.from) } else { place(self.from, &needed) };
        let (x, x_start) = span(self.x, first, count)?;
        let (first, count) = place(self.to, &rows);
        let (y, y_start) = span(self.y, first, count)?;
        let filter = self.w.len() / self.to[2];
        let whole_w = (self.w.bind(), 0);
        let (w, w_start) =
            if self.transposed { whole_w } else { span(self.w, channels.start * filter, channels.len() * filter)? };
        let mut bindings = vec![x, w];
        bindings.extend(self.epilogue.bias.map(Tensor::bind));
        if let Some(residual) = self.epilogue.residual {
            bindings.push(span(residual, first, count)?.0);
        }
        bindings.push(y);
        let params = Params {
            images: images.len() as u32,
            rows: rows.len() as u32,
            columns: self.to[1] as u32,
            first_image: images.start as u32,
            first_row: rows.start as u32,
            n: channels.len() as u32,
            first_n: channels.start as u32,
            y_rows: self.to[0] as u32,
            y_channels: self.to[2] as u32,
            x_rows: self.from[0] as u32,
            x_columns: self.from[1] as u32,
            c: self.from[2] as u32,
            kernel: self.kernel.map(|k| k as u32),
            stride: self.conv.stride.map(|s| s as u32),
            before: self.conv.padding.map(|[before, _]| before as u32),
            x_start,
            w_start,
            y_start,
        };
        let pixels = images.len() * rows.len() * self.to[1];
        let tile = self.tile.unwrap_or_else(|| Tile::choose(self.x.gpu(), pixels, channels.len()));
        let [wide, deep] = tile.extent();
        let groups = pixels.div_ceil(wide) * channels.len().div_ceil(deep);
        let terms = self.kernel[0] * self.kernel[1] * self.from[2];
        let work = 2.0 * (pixels * channels.len() * terms) as f64;
        self.variant(tile).run(self.x.gpu(), &bindings, bytemuck::bytes_of(&params), groups as u64, work)
    }

    fn variant(&self, tile: Tile) -> Variant {
        variant(&Form {
            tile,
            transposed: self.transposed,
            x_quads: self.x.shape().last().is_multiple_of(4),
            w_quads: self.w.shape().last().is_multiple_of(4),
            w_dtype: self.w.dtype(),
            bias: self.epilogue.bias.is_some(),
            residual: self.epilogue.residual.is_some(),
            activation: self.epilogue.activation,
        })
    }
}

/// `0..length` in pieces.
fn ranges(length: usize, piece: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(piece.max(1)).map(move |first| first..(first + piece).min(length))
}

/// The kernel that a run uses, with its tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tile {
    /// A tile in registers; weights are loaded once for a subgroup, or by every lane.
    Registers { subgroup: bool },
    /// Slices in workgroup memory: pixels, and as many channels, of an invocation.
    Shared { side: u32 },
}

impl Tile {
    /// Every tile.
    pub(super) const ALL: [Tile; 4] = [
        Tile::Registers { subgroup: false },
        Tile::Registers { subgroup: true },
        Tile::Shared { side: 4 },
        Tile::Shared { side: 8 },
    ];

    fn choose(gpu: &Gpu, pixels: usize, channels: usize) -> Tile {
        match gpu.class() {
            DeviceClass::Software => Tile::Registers { subgroup: gpu.has_subgroups() },
            // The wide one needs fewer loads, but only many tiles fill a large GPU.
            DeviceClass::Hardware if channels >= 128 && pixels * channels >= 1 << 23 => Tile::Shared { side: 8 },
            DeviceClass::Hardware => Tile::Shared { side: 4 },
        }
    }

    /// Pixels and channels of a workgroup.
    fn extent(self) -> [usize; 2] {
        match self {
            Tile::Registers { .. } => [64, 8],
            Tile::Shared { side } => [16 * side as usize; 2],
        }
    }

    fn variant(self) -> Variant {
        match self {
            Tile::Registers { subgroup: false } => CONV2D.plain(),
            Tile::Registers { subgroup: true } => CONV2D.plain().import("ROWS", "lib/rows_subgroup.wgsl"),
            Tile::Shared { side } => CONV2D_SHARED.plain().set("T", side),
        }
    }
}

struct Form {
    tile: Tile,
    transposed: bool,
    x_quads: bool,
    w_quads: bool,
    w_dtype: DType,
    bias: bool,
    residual: bool,
    activation: Option<Activation>,
}

fn variant(form: &Form) -> Variant {
    let tiled = form.tile.variant().flag("TRANSPOSED", form.transposed);
    tiled
        .import("INPUT", if form.x_quads { "lib/input_f32.wgsl" } else { "lib/input_f32_any.wgsl" })
        .import("WEIGHT", weight_format(form.w_dtype, form.w_quads))
        .enable("BIAS", form.bias)
        .enable("RESIDUAL", form.residual)
        .hook(form.activation.map(|f| f.expr().wgsl()))
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    let both = [false, true];
    let mut all = Vec::new();
    for (tile, transposed) in Tile::ALL.into_iter().flat_map(|tile| both.map(|t| (tile, t))) {
        let form = Form {
            tile,
            transposed,
            x_quads: true,
            w_quads: true,
            w_dtype: DType::F32,
            bias: false,
            residual: false,
            activation: None,
        };
        for (x_quads, w_quads) in both.iter().flat_map(|&x| both.map(|w| (x, w))) {
            all.push(variant(&Form { x_quads, w_quads, ..form }));
        }
        all.push(variant(&Form { w_dtype: DType::F16, ..form }));
        all.push(variant(&Form { w_dtype: DType::F16, x_quads: false, ..form }));
        if !transposed {
            let activations = [None].into_iter().chain(Activation::ALL.map(Some));
            for (activation, bias, residual) in
                activations.flat_map(|f| both.iter().flat_map(move |&b| both.map(|r| (f, b, r))))
            {
                all.push(variant(&Form { activation, bias, residual, ..form }));
                all.push(variant(&Form { activation, bias, residual, w_dtype: DType::F16, ..form }));
            }
        }
    }
    all
}
