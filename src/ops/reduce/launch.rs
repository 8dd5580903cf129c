//! Running a reduction's kernels over the parts of a plan.

use super::super::layout::{rows_in_window, window};
use super::plan::{Axis, Part, Sharing};
use super::{Kind, WG};
use crate::Result;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static REDUCE: Kernel = Kernel::new("reduce", include_str!("../../../shaders/reduce.wgsl"));
static MAX: Kernel = Kernel::new("reduce_max", include_str!("../../../shaders/reduce_max.wgsl"));
static MAX_BACKWARD: Kernel =
    Kernel::new("reduce_max_backward", include_str!("../../../shaders/reduce_max_backward.wgsl"));

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    outputs: u32,
    terms: u32,
    sharers: u32,
    more: u32,
    x_start: u32,
    y_start: u32,
    first: u32,
    flip: u32,
    scale: f32,
    pad: [u32; 3],
    kept: [u32; 4],
    kept_stride: [u32; 4],
    length: [u32; 4],
    stride: [u32; 4],
    step: [u32; 4],
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct BackwardParams {
    count: u32,
    axes: u32,
    first: u32,
    starts: [u32; 3],
    pad: [u32; 2],
    axis: [[u32; 4]; 5],
}

/// A run: what is reduced, and where results and the places of maxima go.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub kind: Kind,
    pub class: DeviceClass,
    pub x: &'a Tensor,
    /// Places of the terms, if x holds maxima of shares.
    pub given: Option<&'a Tensor>,
    pub y: &'a Tensor,
    pub places: Option<&'a Tensor>,
}

impl Run<'_> {
    /// Reduces all that `part` covers.
    pub fn all(&self, part: Part) -> Result<()> {
        let limit = rows_in_window(self.x, 1);
        part.cut(limit).iter().try_for_each(|part| self.part(part))
    }

    fn part(&self, part: &Part) -> Result<()> {
        let (quads, inner) = (part.in_quads(), part.is_inner());
        let in_v = |along: bool| if quads && along { 4 } else { 1 };
        let (outputs, terms) = (part.outputs() / in_v(!inner), part.terms() / in_v(inner));
        let sharing = Sharing::new(self.class, outputs, terms, inner);
        if sharing.sharers == 1 {
            return self.launch(part, sharing, part.to, part.more, self.y, self.places);
        }
        // The sharers' parts lie one after the other, so that the second run reduces the first axis.
        let shape = [sharing.sharers, part.outputs()];
        let shares = Tensor::empty(self.x.gpu(), shape, DType::F32)?;
        let places = match self.places {
            Some(_) => Some(Tensor::empty(self.x.gpu(), shape, DType::U32)?),
            None => None,
        };
        self.launch(part, sharing, 0, false, &shares, places.as_ref())?;
        let kind = self.kind.of_shares();
        let second = Run { kind, x: &shares, given: places.as_ref(), ..*self };
        let axes = [Axis { length: shape[0], reduced: true }, Axis { length: shape[1], reduced: false }];
        second.all(Part { to: part.to, more: part.more, ..Part::of(axes) })
    }

    fn launch(
        &self,
        part: &Part,
        sharing: Sharing,
        to: usize,
        more: bool,
        y: &Tensor,
        places: Option<&Tensor>,
    ) -> Result<()> {
        let quads = part.in_quads();
        let width = if quads { 4 } else { 1 };
        let results = part.outputs() * sharing.sharers;
        let (x_binding, x_start) = window(self.x, part.start, part.elements())?;
        let (y_binding, y_start) = window(y, to, results)?;
        let mut params = params(part, sharing, width);
        params.more = u32::from(more);
        params.x_start = (x_start / width) as u32;
        params.y_start = y_start as u32;
        params.first = part.first as u32;
        (params.scale, params.flip) = self.kind.factors();
        let mut bindings = vec![x_binding];
        if let Some(given) = self.given {
            bindings.push(window(given, part.start, part.elements())?.0);
        }
        bindings.push(y_binding);
        if let Some(places) = places {
            bindings.push(window(places, to, results)?.0);
        }
        let variant = variant(self.kind, quads, part.is_inner(), sharing.workgroups);
        let variant =
            if self.kind.is_maximum() { with_places(variant, self.given.is_some(), places.is_some()) } else { variant };
        let invocations = params.outputs as usize * sharing.sharers;
        let groups = if sharing.workgroups { invocations } else { invocations.div_ceil(WG) };
        let work = part.elements() as f64;
        variant.run(self.x.gpu(), &bindings, bytemuck::bytes_of(&params), groups as u64, work)
    }
}

/// Lengths, strides and steps, in Vs of `width` elements along the innermost axis.
fn params(part: &Part, sharing: Sharing, width: usize) -> Params {
    let mut params: Params = bytemuck::Zeroable::zeroed();
    (params.kept, params.length) = ([1; 4], [1; 4]);
    let (mut kept, mut reduced, mut stride) = (0, 0, 1);
    for (i, axis) in part.axes.iter().rev().enumerate() {
        let length = if i == 0 { axis.length / width } else { axis.length };
        let (lengths, strides, at) = match axis.reduced {
            true => (&mut params.length, &mut params.stride, &mut reduced),
            false => (&mut params.kept, &mut params.kept_stride, &mut kept),
        };
        (lengths[*at], strides[*at]) = (length as u32, stride as u32);
        *at += 1;
        stride *= length;
    }
    params.outputs = params.kept.iter().product();
    params.terms = params.length.iter().product();
    params.sharers = sharing.sharers as u32;
    let mut step = params.sharers * if sharing.workgroups { WG as u32 } else { 1 };
    for (digit, length) in params.step.iter_mut().zip(params.length).take(3) {
        *digit = step % length;
        step /= length;
    }
    params
}

/// dx `[..]` from the gradient of a maximum, `dy`, and the places where it was.
pub(super) fn max_backward(dy: &Tensor, places: &Tensor, dx: &Tensor) -> Result<()> {
    for part in Part::whole(dx.shape(), dy.shape()).cut(rows_in_window(dx, 1)) {
        let (dy_binding, dy_start) = window(dy, part.to, part.outputs())?;
        let (places_binding, places_start) = window(places, part.to, part.outputs())?;
        let (dx_binding, dx_start) = window(dx, part.start, part.elements())?;
        let mut params: BackwardParams = bytemuck::Zeroable::zeroed();
        params.count = part.elements() as u32;
        params.axes = part.axes.len() as u32;
        params.first = part.first as u32;
        params.starts = [dx_start, dy_start, places_start].map(|n| n as u32);
        let (mut outputs, mut terms) = (1, 1);
        for (slot, axis) in params.axis.iter_mut().zip(part.axes.iter().rev()) {
            let steps = if axis.reduced { [0, terms] } else { [outputs, 0] };
            *slot = [axis.length as u32, steps[0] as u32, steps[1] as u32, 0];
            *(if axis.reduced { &mut terms } else { &mut outputs }) *= axis.length;
        }
        let bindings = [dy_binding, places_binding, dx_binding];
        let groups = part.elements().div_ceil(WG) as u64;
        let work = part.elements() as f64;
        MAX_BACKWARD.plain().run(dx.gpu(), &bindings, bytemuck::bytes_of(&params), groups, work)?;
    }
    Ok(())
}

fn variant(kind: Kind, quads: bool, inner: bool, shared: bool) -> Variant {
    let kernel = if kind.is_maximum() { &MAX } else { &REDUCE };
    let variant = kernel.plain().flag("QUADS", quads).flag("INNER", inner).flag("SHARED", shared);
    let element = if kind.is_maximum() { "u32" } else { "f32" };
    let variant = if quads { variant } else { variant.alias("V", element) };
    if kind.is_maximum() { variant } else { variant.flag("SQUARE", matches!(kind, Kind::Squares)) }
}

/// A maximum whose terms have places already, and one that writes places.
fn with_places(variant: Variant, given: bool, places: bool) -> Variant {
    variant.flag("GIVEN", given).enable("GIVEN", given).enable("PLACES", places)
}

/// Every variant.
pub(super) fn variants() -> Vec<Variant> {
    let both = [false, true];
    let forms = [(false, false), (true, false), (true, true)];
    let forms = forms.iter().flat_map(|&(inner, shared)| both.map(|quads| (quads, inner, shared)));
    let of = |(quads, inner, shared): (bool, bool, bool)| {
        let max = variant(Kind::Max, quads, inner, shared);
        let blocks = both.iter().flat_map(|&given| both.map(|places| (given, places)));
        let blocks: Vec<Variant> = blocks.map(|(given, places)| with_places(max.clone(), given, places)).collect();
        let sums = [variant(Kind::Sum(1.0), quads, inner, shared), variant(Kind::Squares, quads, inner, shared)];
        [sums.to_vec(), blocks].concat()
    };
    forms.flat_map(of).chain([MAX_BACKWARD.plain()]).collect()
}
