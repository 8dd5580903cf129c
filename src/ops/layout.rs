//! Moving elements without changing them: permute, slice, concat.
//!
//! All of them are one strided copy:   y[to + Σ c·to_stride] = x[start + Σ c·stride].
//! Gradient: the same copy the other way; what a slice left out gets zeros.

mod cases;

pub use cases::{cases, concat_case, permute_case, slice_case};

use crate::autograd::Backward;
use crate::gpu::{Binding, Kernel, Variant};
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result};

static COPY: Kernel = Kernel::new("copy", include_str!("../../shaders/copy.wgsl"));
const WG: usize = 64;
/// Every device lets a binding start at a multiple of this many bytes.
const ALIGNMENT: usize = 256;

/// Reorders axes: axis `i` of the result is axis `order[i]` of `x`. `order` names every axis of x once.
pub fn permute(x: &Tensor, order: &[usize]) -> Result<Tensor> {
    let rank = x.shape().rank();
    let mut inverse = vec![usize::MAX; rank];
    for (i, &axis) in order.iter().enumerate() {
        if let Some(slot) = inverse.get_mut(axis) {
            *slot = i;
        }
    }
    if order.len() != rank || inverse.contains(&usize::MAX) {
        return Err(Error::Input(format!("permute: {order:?} is not an order of the axes of {}", x.shape())));
    }
    let (from, strides) = (x.shape(), own_strides(x.shape()));
    let lengths: Vec<usize> = order.iter().map(|&axis| from.as_slice()[axis]).collect();
    let y = Tensor::empty(x.gpu(), lengths.as_slice(), x.dtype())?;
    let to = own_strides(y.shape());
    let axes = (0..rank).map(|i| Axis { length: lengths[i], from: strides[order[i]], to: to[i] }).collect();
    copy(x, &y, Region { axes, start: 0, to: 0 })?;
    y.on_tape("permute", &[x], || Box::new(Permute { inverse }))
}

/// The part `[start, start + count)` of an axis, which must lie within it:  x `[.., N, ..]` → `[.., count, ..]`. Along the first axis it shares memory where the alignment allows it.
pub fn slice(x: &Tensor, axis: usize, start: usize, count: usize) -> Result<Tensor> {
    let length = axis_length("slice", x, axis)?;
    if start.checked_add(count).is_none_or(|end| end > length) {
        return Err(Error::Input(format!("slice: {start} + {count} is beyond axis {axis} of {}", x.shape())));
    }
    if count == length {
        return Ok(x.clone());
    }
    let shape = x.shape().with(axis, count);
    let view = if axis == 0 && !shape.is_empty() { x.view(start, count) } else { None };
    let y = match view {
        Some(view) => view,
        None => {
            let y = Tensor::empty(x.gpu(), shape, x.dtype())?;
            let (from, to) = (own_strides(x.shape()), own_strides(shape));
            copy(x, &y, Region::of(shape, &from, &to, start * from[axis], 0))?;
            y
        }
    };
    let from = x.shape();
    y.on_tape("slice", &[x], || Box::new(Slice { from, axis, start }))
}

/// Joins tensors along an axis:  `[.., N₁, ..]`, `[.., N₂, ..]`, … → `[.., N₁ + N₂ + …, ..]`; the other axes are equal.
pub fn concat(parts: &[&Tensor], axis: usize) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        return Err(Error::Input("concat needs at least one tensor".into()));
    };
    let mut counts = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        let count = axis_length("concat", part, axis)?;
        let operand = format!("concat part {i}");
        part.expect_shape(&operand, "like part 0 but along the axis", first.shape().with(axis, count))?;
        part.expect_dtype(&operand, first.dtype())?;
        counts.push(count);
    }
    if let [only] = parts {
        return Ok((*only).clone());
    }
    let y = Tensor::empty(first.gpu(), first.shape().with(axis, counts.iter().sum()), first.dtype())?;
    let to = own_strides(y.shape());
    let mut start = 0;
    for (part, count) in parts.iter().zip(&counts) {
        copy(part, &y, Region::of(part.shape(), &own_strides(part.shape()), &to, 0, start * to[axis]))?;
        start += count;
    }
    y.on_tape("concat", parts, || Box::new(Concat { axis, counts }))
}

/// Both halves of the last axis:  x `[.., 2C]` → two of `[.., C]`.
pub fn halves(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let [_, c] = x.rows("halves x")?;
    if c % 2 != 0 {
        return Err(Error::Input(format!("halves: the last axis of {} is odd", x.shape())));
    }
    let axis = x.shape().rank() - 1;
    Ok((slice(x, axis, 0, c / 2)?, slice(x, axis, c / 2, c / 2)?))
}

fn axis_length(op: &str, x: &Tensor, axis: usize) -> Result<usize> {
    let length = x.shape().as_slice().get(axis).copied();
    length.ok_or_else(|| Error::Input(format!("{op}: {} has no axis {axis}", x.shape())))
}

/// Writes `part` into `y` in place, from `start` of `axis` on; all other axes are equal.
pub(crate) fn write(y: &Tensor, part: &Tensor, axis: usize, start: usize) -> Result<()> {
    let (from, to) = (own_strides(part.shape()), own_strides(y.shape()));
    copy(part, y, Region::of(part.shape(), &from, &to, 0, start * to[axis]))
}

/// x over `shape`, to which it broadcasts. Not differentiable.
pub(super) fn broadcast(x: &Tensor, shape: Shape) -> Result<Tensor> {
    let y = Tensor::empty(x.gpu(), shape, x.dtype())?;
    let (lengths, strides) = (x.shape().padded(), x.shape().strides());
    let from: Vec<usize> = (0..Shape::MAX_RANK).map(|i| if lengths[i] == 1 { 0 } else { strides[i] }).collect();
    copy(x, &y, Region::of(shape, &from[Shape::MAX_RANK - shape.rank()..], &own_strides(shape), 0, 0))?;
    Ok(y)
}

/// Strides of the axes that the shape has.
fn own_strides(shape: Shape) -> Vec<usize> {
    shape.strides()[Shape::MAX_RANK - shape.rank()..].to_vec()
}

/// One axis of a copy: its length and the steps on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axis {
    length: usize,
    from: usize,
    to: usize,
}

/// What is copied where, outermost axis first. Counted in elements, later in Vs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Region {
    axes: Vec<Axis>,
    start: usize,
    to: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    axes: u32,
    start: u32,
    to: u32,
    axis: [[u32; 4]; Shape::MAX_RANK],
}

impl Region {
    fn of(lengths: Shape, from: &[usize], to: &[usize], start: usize, first: usize) -> Region {
        let sides = from.iter().zip(to);
        let axes = lengths.as_slice().iter().zip(sides).map(|(&length, (&from, &to))| Axis { length, from, to });
        Region { axes: axes.collect(), start, to: first }
    }

    fn count(&self) -> usize {
        self.axes.iter().map(|a| a.length).product()
    }

    /// The same elements with as few axes as possible, at least one.
    fn merged(self) -> Region {
        let mut axes: Vec<Axis> = Vec::with_capacity(self.axes.len());
        for axis in self.axes.into_iter().filter(|a| a.length != 1) {
            let joins = |outer: &&mut Axis| outer.from == axis.from * axis.length && outer.to == axis.to * axis.length;
            match axes.last_mut().filter(joins) {
                Some(outer) => *outer = Axis { length: outer.length * axis.length, ..axis },
                None => axes.push(axis),
            }
        }
        if axes.is_empty() {
            axes.push(Axis { length: 1, from: 1, to: 1 });
        }
        Region { axes, ..self }
    }

    /// The same region counted in groups of `n` neighbours, if both sides fall into such groups.
    fn grouped(&self, n: usize) -> Option<Region> {
        let (inner, outer) = self.axes.split_last()?;
        let whole = |a: &Axis| a.from.is_multiple_of(n) && a.to.is_multiple_of(n);
        let fits = inner.from == 1 && inner.to == 1 && inner.length.is_multiple_of(n) && outer.iter().all(whole);
        if !fits || !self.start.is_multiple_of(n) || !self.to.is_multiple_of(n) {
            return None;
        }
        let mut axes: Vec<Axis> = outer.iter().map(|a| Axis { from: a.from / n, to: a.to / n, ..*a }).collect();
        axes.push(Axis { length: inner.length / n, ..*inner });
        Some(Region { axes, start: self.start / n, to: self.to / n })
    }

    /// Elements from the first to the last one on each side.
    fn spans(&self) -> (usize, usize) {
        let last = |step: fn(&Axis) -> usize| self.axes.iter().map(|a| (a.length - 1) * step(a)).sum::<usize>();
        (last(|a| a.from) + 1, last(|a| a.to) + 1)
    }

    /// Cut in two along the axis that reaches furthest on the source's or the destination's side.
    fn split(&self, by_source: bool) -> [Region; 2] {
        let reach = |a: &Axis| (a.length - 1) * if by_source { a.from } else { a.to };
        let widest = (0..self.axes.len()).max_by_key(|&i| reach(&self.axes[i])).unwrap_or(0);
        let (mut low, mut high) = (self.clone(), self.clone());
        let Axis { length, from, to } = self.axes[widest];
        low.axes[widest].length = length / 2;
        high.axes[widest].length = length - length / 2;
        high.start += length / 2 * from;
        high.to += length / 2 * to;
        [low, high]
    }
}

/// Copies a region of `x` into `y`, in parts that the device can bind.
fn copy(x: &Tensor, y: &Tensor, region: Region) -> Result<()> {
    if region.count() == 0 {
        return Ok(());
    }
    if x.dtype().is_quantised() {
        return Err(Error::Input(format!("a copy of {} {} would cut its blocks", x.dtype(), x.shape())));
    }
    let region = region.merged();
    // Words of the shader's V, and elements of the tensor in one.
    let in_word = 4 / x.dtype().bytes(1) as usize;
    let quads = region.grouped(4 * in_word).map(|region| (4, region));
    let Some((words, region)) = quads.or_else(|| region.grouped(in_word).map(|region| (1, region))).or({
        // A word of f32 or u32 is one element whatever the strides.
        if in_word == 1 { Some((1, region)) } else { None }
    }) else {
        return Err(Error::Input(format!("a copy of f16 {} to {} would cut a pair of elements", x.shape(), y.shape())));
    };
    let mut open = vec![region];
    while let Some(region) = open.pop() {
        let limit = x.gpu().limits().max_binding as usize - ALIGNMENT;
        let (source, destination) = region.spans();
        let (source_fits, fits) = (source * 4 * words <= limit, destination * 4 * words <= limit);
        if source_fits && fits {
            run(x, y, &region, words, in_word)?;
        } else {
            open.extend(region.split(!source_fits));
        }
    }
    Ok(())
}

fn run(x: &Tensor, y: &Tensor, region: &Region, words: usize, in_word: usize) -> Result<()> {
    let (source, destination) = region.spans();
    let group = words * in_word;
    let (x_binding, start) = window(x, region.start * group, source * group)?;
    let (y_binding, to) = window(y, region.to * group, destination * group)?;
    let mut params: Params = bytemuck::Zeroable::zeroed();
    for (slot, a) in params.axis.iter_mut().zip(region.axes.iter().rev()) {
        *slot = [a.length as u32, a.from as u32, a.to as u32, 0];
    }
    let count = region.count();
    params.count = count as u32;
    params.axes = region.axes.len() as u32;
    params.start = (start / group) as u32;
    params.to = (to / group) as u32;
    let groups = count.div_ceil(WG) as u64;
    variant(words == 4).run(x.gpu(), &[x_binding, y_binding], bytemuck::bytes_of(&params), groups, count as f64)
}

/// The elements `[start, start + count)` as a binding that begins at an aligned place before them, and how many
/// elements lie between: any range of a tensor over the binding limit can be bound so.
pub(crate) fn window(x: &Tensor, start: usize, count: usize) -> Result<(Binding<'_>, usize)> {
    let skipped = start % x.dtype().aligned_elements();
    Ok((x.bind_rows(start - skipped, skipped + count, 1)?, skipped))
}

/// How many rows of `row` elements a window may hold on this device, at least one.
pub(crate) fn rows_in_window(x: &Tensor, row: usize) -> usize {
    let (dtype, limit) = (x.dtype(), x.gpu().limits().max_binding);
    (dtype.elements(limit).saturating_sub(dtype.aligned_elements()) / row.max(1)).max(1)
}

fn variant(quads: bool) -> Variant {
    if quads { COPY.plain() } else { COPY.plain().alias("V", "u32") }
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [true, false].map(variant).to_vec()
}

struct Permute {
    inverse: Vec<usize>,
}

impl Backward for Permute {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(permute(dy, &self.inverse)?)])
    }
}

struct Slice {
    from: Shape,
    axis: usize,
    start: usize,
}

impl Backward for Slice {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dx = super::fill::zeros(dy.gpu(), self.from)?;
        let to = own_strides(self.from);
        copy(dy, &dx, Region::of(dy.shape(), &own_strides(dy.shape()), &to, 0, self.start * to[self.axis]))?;
        Ok(vec![Some(dx)])
    }
}

struct Concat {
    axis: usize,
    counts: Vec<usize>,
}

impl Backward for Concat {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let mut start = 0;
        let mut gradients = Vec::with_capacity(need.len());
        for (&count, &need) in self.counts.iter().zip(need) {
            gradients.push(if need { Some(slice(dy, self.axis, start, count)?) } else { None });
            start += count;
        }
        Ok(gradients)
    }
}
