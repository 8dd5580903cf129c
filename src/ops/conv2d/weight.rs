//! The gradient of a convolution by its weight: partial sums over slices of the pixels, added in a fixed order.

use super::super::fill::zeros;
use super::Conv;
use super::geometry::{Area, Geometry};
use crate::Result;
use crate::gpu::{DeviceClass, Gpu, Kernel, Variant};
use crate::tensor::{DType, Shape, Tensor};

static KERNEL: Kernel =
    Kernel::new("conv2d_weight_backward", include_str!("../../../shaders/conv2d_weight_backward.wgsl"));

/// What an invocation and a workgroup cover.
#[derive(Clone, Copy)]
struct Tile {
    /// Quads of output and of input channels of an invocation.
    quads: [u32; 2],
    /// Lanes of a workgroup, which share the output channels.
    lanes: u32,
    /// Whether a subgroup of at least eight shares what its lanes load.
    subgroup: bool,
}

impl Tile {
    const OWN: Tile = Tile { quads: [2, 2], lanes: 32, subgroup: false };
    const NARROW: Tile = Tile { quads: [2, 1], lanes: 8, subgroup: true };
    const MIDDLE: Tile = Tile { quads: [4, 1], lanes: 8, subgroup: true };
    const WIDE: Tile = Tile { quads: [6, 2], lanes: 8, subgroup: true };

    fn choose(gpu: &Gpu, g: &Geometry) -> Tile {
        match (gpu.class(), gpu.subgroup_size()) {
            (DeviceClass::Software, 8..) if g.to[2] > 16 && g.from[2] > 4 => Tile::WIDE,
            (DeviceClass::Software, 8..) if g.to[2] > 8 => Tile::MIDDLE,
            (DeviceClass::Software, 8..) => Tile::NARROW,
            _ => Tile::OWN,
        }
    }

    /// Workgroups of one slice of the pixels.
    fn groups(self, g: &Geometry) -> usize {
        let [outputs, inputs] = self.quads.map(|quads| 4 * quads as usize);
        let columns = g.kernel[0] * g.kernel[1] * g.from[2].div_ceil(inputs);
        columns.div_ceil(self.lanes as usize) * g.to[2].div_ceil(outputs)
    }
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
    y_rows: u32,
    x_rows: u32,
    x_columns: u32,
    c: u32,
    kernel: [u32; 2],
    stride: [u32; 2],
    before: [u32; 2],
    x_start: u32,
    y_start: u32,
    slices: u32,
}

/// x `[B, Y, X, C]`, dy `[B, Y', X', N]` → dw `[N, KY, KX, C]`, the given shape.
pub(super) fn gradient(x: &Tensor, dy: &Tensor, shape: Shape, conv: Conv) -> Result<Tensor> {
    if dy.is_empty() || shape.is_empty() {
        return zeros(x.gpu(), shape);
    }
    let &[n, ky, kx, c] = shape.as_slice() else { return zeros(x.gpu(), shape) };
    let [images, y0, x0, _] = x.dims("conv2d x", "B Y X C")?;
    let [_, y1, x1, _] = dy.dims("conv2d dy", "B Y' X' N")?;
    let geometry = Geometry { conv, transposed: false, images, from: [y0, x0, c], to: [y1, x1, n], kernel: [ky, kx] };
    let mut dw: Option<Tensor> = None;
    for area in geometry.areas(x) {
        let slices = slices(x, &geometry, &area);
        let parts = Tensor::empty(x.gpu(), [slices, n, ky, kx, c], DType::F32)?;
        run(x, dy, &parts, &geometry, &area, slices)?;
        let sum = parts.sum_to([1, n, ky, kx, c])?.reshape(shape)?;
        dw = Some(dw.map_or(Ok(sum.clone()), |dw| dw.add(&sum))?);
    }
    dw.map_or_else(|| zeros(x.gpu(), shape), Ok)
}

/// Into how many slices an area's pixels are cut: enough invocations to fill the device, but not much memory.
fn slices(x: &Tensor, g: &Geometry, area: &Area) -> usize {
    let wanted = match x.gpu().class() {
        DeviceClass::Software => 1 << 9,
        DeviceClass::Hardware => 1 << 16,
    };
    let weights = g.to[2] * g.kernel[0] * g.kernel[1] * g.from[2];
    let room = x.gpu().limits().max_binding as usize / 4 / weights;
    let tile = Tile::choose(x.gpu(), g);
    (wanted / (tile.groups(g) * tile.lanes as usize)).min(g.pixels(area) / 32).min(room).max(1)
}

fn run(x: &Tensor, dy: &Tensor, parts: &Tensor, g: &Geometry, area: &Area, slices: usize) -> Result<()> {
    let (x_part, x_start) = g.span_from(x, area)?;
    let (y_part, y_start) = g.span_to(dy, area)?;
    let params = Params {
        images: area.images.len() as u32,
        rows: area.rows.len() as u32,
        columns: g.to[1] as u32,
        first_image: area.images.start as u32,
        first_row: area.rows.start as u32,
        n: g.to[2] as u32,
        y_rows: g.to[0] as u32,
        x_rows: g.from[0] as u32,
        x_columns: g.from[1] as u32,
        c: g.from[2] as u32,
        kernel: g.kernel.map(|k| k as u32),
        stride: g.conv.stride.map(|s| s as u32),
        before: g.conv.padding.map(|[before, _]| before as u32),
        x_start,
        y_start,
        slices: slices as u32,
    };
    let tile = Tile::choose(x.gpu(), g);
    let groups = (slices * tile.groups(g)) as u64;
    let work = 2.0 * (g.pixels(area) * parts.len() / parts.shape().as_slice()[0]) as f64;
    let variant = variant(tile, g.from[2].is_multiple_of(4), g.to[2].is_multiple_of(4));
    variant.run(x.gpu(), &[x_part, y_part, parts.bind()], bytemuck::bytes_of(&params), groups, work)
}

fn variant(tile: Tile, x_quads: bool, dy_quads: bool) -> Variant {
    let x = if x_quads { "lib/input_f32.wgsl" } else { "lib/input_f32_any.wgsl" };
    let dy = if dy_quads { "lib/weight_f32.wgsl" } else { "lib/weight_f32_any.wgsl" };
    let [outputs, inputs] = tile.quads;
    let variant = KERNEL.plain().set("TN", outputs).set("TC", inputs).set("WG", tile.lanes);
    let variant = variant.import("INPUT", x).import("WEIGHT", dy).enable("SUBGROUP", tile.subgroup);
    if tile.subgroup { variant.import("QUADS", "lib/quads_subgroup.wgsl") } else { variant }
}

/// Every variant.
pub(super) fn variants() -> Vec<Variant> {
    let both = [false, true];
    let tiles = [Tile::OWN, Tile::NARROW, Tile::MIDDLE, Tile::WIDE];
    tiles.into_iter().flat_map(|t| both.into_iter().flat_map(move |x| both.map(|dy| variant(t, x, dy)))).collect()
}
