//! Running the convolution kernels: parts, tiles, variants.

use super::super::epilogue::{Activation, Epilogue};
use super::super::layout::rows_in_window;
use super::super::matmul::{WIDE_WORK, wide_quads};
use super::super::span::span;
use super::super::weight_format::{COMPRESSED, weight_format};
use super::geometry::{Area, Geometry, ranges};
use crate::Result;
use crate::gpu::{DeviceClass, Gpu, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use std::ops::Range;

static CONV2D_SHARED: Kernel = Kernel::new("conv2d_shared", include_str!("../../../shaders/conv2d_shared.wgsl"));
static CONV2D: Kernel = Kernel::new("conv2d", include_str!("../../../shaders/conv2d.wgsl"));

/// A convolution, or with a transposed geometry the gradient by its input, where x is dy and y is dx.
pub(super) struct Launch<'a> {
    pub x: &'a Tensor,
    pub w: &'a Tensor,
    pub y: &'a Tensor,
    pub geometry: Geometry,
    pub epilogue: Epilogue<'a>,
    /// The kernel to use instead of the one that suits the device.
    pub tile: Option<Tile>,
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

impl Launch<'_> {
    /// Runs it in as many parts as the device's limits ask for: images, rows of them, and channels of y.
    pub(super) fn run(&self) -> Result<()> {
        let channels = self.geometry.to[2];
        let filter = self.w.len() / channels;
        let fits = self.w.dtype().bytes(self.w.len()) <= self.x.gpu().limits().max_binding;
        let at_once = if fits || self.geometry.transposed { channels } else { rows_in_window(self.w, filter) };
        for area in self.geometry.areas(self.x) {
            for channels in ranges(channels, at_once) {
                self.part(&area, channels, filter)?;
            }
        }
        Ok(())
    }

    fn part(&self, area: &Area, channels: Range<usize>, filter: usize) -> Result<()> {
        let g = &self.geometry;
        let (x, x_start) = g.span_from(self.x, area)?;
        let (y, y_start) = g.span_to(self.y, area)?;
        let (w, w_start) = span(self.w, channels.start * filter, channels.len() * filter)?;
        let mut bindings = vec![x, w];
        bindings.extend(self.epilogue.bias.map(Tensor::bind));
        if let Some(residual) = self.epilogue.residual {
            bindings.push(g.span_to(residual, area)?.0);
        }
        bindings.push(y);
        let params = Params {
            images: area.images.len() as u32,
            rows: area.rows.len() as u32,
            columns: g.to[1] as u32,
            first_image: area.images.start as u32,
            first_row: area.rows.start as u32,
            n: channels.len() as u32,
            first_n: channels.start as u32,
            y_rows: g.to[0] as u32,
            y_channels: g.to[2] as u32,
            x_rows: g.from[0] as u32,
            x_columns: g.from[1] as u32,
            c: g.from[2] as u32,
            kernel: g.kernel.map(|k| k as u32),
            stride: g.conv.stride.map(|s| s as u32),
            before: g.conv.padding.map(|[before, _]| before as u32),
            x_start,
            w_start,
            y_start,
        };
        let (gpu, pixels) = (self.x.gpu(), g.pixels(area));
        let terms = g.kernel[0] * g.kernel[1] * g.from[2];
        let tile = self.tile.unwrap_or_else(|| Tile::choose(gpu, pixels, channels.len(), terms));
        let [wide, deep] = tile.extent();
        let groups = pixels.div_ceil(wide) * channels.len().div_ceil(deep);
        let work = 2.0 * (pixels * channels.len() * terms) as f64;
        self.variant(tile).run(gpu, &bindings, bytemuck::bytes_of(&params), groups as u64, work)
    }

    fn variant(&self, tile: Tile) -> Variant {
        variant(&Form {
            tile,
            transposed: self.geometry.transposed,
            x_quads: self.x.shape().last().is_multiple_of(4),
            w_quads: self.w.shape().last().is_multiple_of(4),
            w_dtype: self.w.dtype(),
            bias: self.epilogue.bias.is_some(),
            residual: self.epilogue.residual.is_some(),
            activation: self.epilogue.activation,
        })
    }
}

/// The kernel that a run uses, with its tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tile {
    /// A tile in registers: two pixels, and so many quads of channels.
    Registers { quads: u32 },
    /// The same for so many pixels and lanes: each lane loads one row of weights in eight, and a subgroup shares them.
    Broadcast { pixels: u32, quads: u32, lanes: u32 },
    /// Slices in workgroup memory: pixels, and as many channels, of an invocation.
    Shared { side: u32 },
}

/// Lanes of a subgroup that share the weights.
const SUBGROUP: u32 = 8;

impl Tile {
    /// Whether a device with subgroups of so many lanes can run it.
    pub(super) fn suits(self, subgroup_size: u32) -> bool {
        !matches!(self, Tile::Broadcast { .. }) || subgroup_size >= SUBGROUP
    }

    /// Every tile.
    pub(super) const ALL: [Tile; 7] = [
        Tile::Registers { quads: 2 },
        Tile::Broadcast { pixels: 2, quads: 2, lanes: 32 },
        Tile::Broadcast { pixels: 2, quads: 4, lanes: 32 },
        Tile::Broadcast { pixels: 4, quads: 4, lanes: 8 },
        Tile::Broadcast { pixels: 4, quads: 6, lanes: 8 },
        Tile::Shared { side: 4 },
        Tile::Shared { side: 8 },
    ];

    fn choose(gpu: &Gpu, pixels: usize, channels: usize, terms: usize) -> Tile {
        match gpu.class() {
            DeviceClass::Software if gpu.subgroup_size() < SUBGROUP => Tile::Registers { quads: 2 },
            DeviceClass::Software if channels <= 8 => Tile::Broadcast { pixels: 2, quads: 2, lanes: 32 },
            DeviceClass::Software if pixels * channels * terms >= WIDE_WORK => {
                Tile::Broadcast { pixels: 4, quads: wide_quads(channels), lanes: 8 }
            }
            DeviceClass::Software => Tile::Broadcast { pixels: 2, quads: 4, lanes: 32 },
            // The wide one needs fewer loads, but only many tiles fill a large GPU.
            DeviceClass::Hardware if channels >= 128 && pixels * channels >= 1 << 23 => Tile::Shared { side: 8 },
            DeviceClass::Hardware => Tile::Shared { side: 4 },
        }
    }

    /// Pixels and channels of a workgroup.
    fn extent(self) -> [usize; 2] {
        match self {
            Tile::Registers { quads } => [64, 4 * quads as usize],
            Tile::Broadcast { pixels, quads, lanes } => [(pixels * lanes) as usize, 4 * quads as usize],
            Tile::Shared { side } => [16 * side as usize; 2],
        }
    }

    fn variant(self) -> Variant {
        match self {
            Tile::Registers { quads } => CONV2D.plain().set("TNQ", quads),
            Tile::Broadcast { pixels, quads, lanes } => {
                let variant = CONV2D.plain().set("TP", pixels).set("TNQ", quads).set("WG", lanes);
                variant.import("ROWS", "lib/rows_subgroup.wgsl").enable("SUBGROUP", true)
            }
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
    let shared = matches!(form.tile, Tile::Shared { .. });
    let tiled = if shared { tiled } else { tiled.flag("C_QUADS", form.x_quads) };
    tiled
        .import("INPUT", if form.x_quads { "lib/input_f32.wgsl" } else { "lib/input_f32_any.wgsl" })
        .import("WEIGHT", weight_format(form.w_dtype, form.w_quads))
        .enable("BIAS", form.bias)
        .enable("RESIDUAL", form.residual)
        .hook(form.activation.map(Activation::hook))
}

/// Every variant.
pub(super) fn variants() -> Vec<Variant> {
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
        for (w_dtype, x_quads) in COMPRESSED.iter().flat_map(|&d| both.map(|x| (d, x))) {
            all.push(variant(&Form { w_dtype, x_quads, ..form }));
        }
        if !transposed {
            let activations = [None].into_iter().chain(Activation::ALL.map(Some));
            for (activation, bias, residual) in
                activations.flat_map(|f| both.iter().flat_map(move |&b| both.map(|r| (f, b, r))))
            {
                all.push(variant(&Form { activation, bias, residual, ..form }));
                all.extend(COMPRESSED.map(|w_dtype| variant(&Form { activation, bias, residual, w_dtype, ..form })));
            }
        }
    }
    all
}
