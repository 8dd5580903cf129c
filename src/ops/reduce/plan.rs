//! How a reduction is laid out: axes merged, cut where a binding ends, and shared among invocations.

use crate::gpu::DeviceClass;
use crate::tensor::Shape;

/// One axis of x, contiguous with its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub length: usize,
    pub reduced: bool,
}

/// A part of x that one run reads, and where its results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its first element in x.
    pub start: usize,
    /// Its first result in y.
    pub to: usize,
    /// Terms of its outputs that lie in earlier parts.
    pub first: usize,
    /// Whether earlier parts have written its results, which are one more term then.
    pub more: bool,
    /// Outermost first; kept and reduced ones alternate.
    pub axes: Vec<Axis>,
}

impl Part {
    /// All of x, reduced along the axes along which `y` has length 1 and x does not.
    pub fn whole(x: Shape, y: Shape) -> Part {
        let lengths = x.padded().into_iter().zip(y.padded());
        Part::of(lengths.map(|(from, to)| Axis { length: from, reduced: from != to }))
    }

    /// A part that begins with its tensors; neighbouring axes of a kind become one.
    pub fn of(all: impl IntoIterator<Item = Axis>) -> Part {
        let mut axes: Vec<Axis> = Vec::new();
        for axis in all.into_iter().filter(|axis| axis.length != 1) {
            match axes.last_mut().filter(|outer| outer.reduced == axis.reduced) {
                Some(outer) => outer.length *= axis.length,
                None => axes.push(axis),
            }
        }
        Part { start: 0, to: 0, first: 0, more: false, axes }
    }

    /// Elements of x.
    pub fn elements(&self) -> usize {
        self.axes.iter().map(|axis| axis.length).product()
    }

    /// Lengths of the axes of a kind, multiplied.
    fn product(&self, reduced: bool) -> usize {
        self.axes.iter().filter(|axis| axis.reduced == reduced).map(|axis| axis.length).product()
    }

    /// Number of results.
    pub fn outputs(&self) -> usize {
        self.product(false)
    }

    /// Terms of each result.
    pub fn terms(&self) -> usize {
        self.product(true)
    }

    /// Whether the innermost axis is reduced.
    pub fn is_inner(&self) -> bool {
        self.axes.last().is_some_and(|axis| axis.reduced)
    }

    /// Whether four neighbours of x can be read at once.
    pub fn in_quads(&self) -> bool {
        self.start.is_multiple_of(4) && self.axes.last().is_some_and(|axis| axis.length.is_multiple_of(4))
    }

    /// The same work in parts of at most `limit` elements on either side, in the order of the terms.
    pub fn cut(self, limit: usize) -> Vec<Part> {
        let Some((outer, inner)) = self.axes.split_first().filter(|_| self.elements() > limit) else {
            return vec![self];
        };
        let row = Part { axes: inner.to_vec(), ..self.clone() };
        let mut step = (limit / row.elements()).max(1);
        if inner.is_empty() && step > 64 {
            step &= !63;
        }
        let mut parts = Vec::new();
        for i in (0..outer.length).step_by(step) {
            let count = step.min(outer.length - i);
            let mut part = Part { start: self.start + i * row.elements(), ..row.clone() };
            if count > 1 {
                part.axes.insert(0, Axis { length: count, ..*outer });
            }
            if outer.reduced {
                part.first += i * row.terms();
                part.more |= i > 0;
            } else {
                part.to += i * row.outputs();
            }
            parts.extend(part.cut(limit));
        }
        parts
    }
}

/// Who adds up a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sharing {
    /// A workgroup, whose lanes fold, takes an invocation's place.
    pub workgroups: bool,
    /// How many share a result.
    pub sharers: usize,
}

/// Terms that one invocation adds at most where more would be too slow and too inexact.
const LONGEST: usize = 4096;
/// Fewer terms than this are not worth a second run.
const SHORT: usize = 2048;

impl Sharing {
    /// For results of `terms` each, both counted in Vs. Few results with many terms are shared until the device is full.
    pub fn new(class: DeviceClass, outputs: usize, terms: usize, inner: bool) -> Sharing {
        let workgroups = class == DeviceClass::Hardware && inner && terms >= 32;
        let wanted = match (class, workgroups) {
            (DeviceClass::Software, _) => 1024,
            (DeviceClass::Hardware, true) => 1024,
            (DeviceClass::Hardware, false) => 65_536,
        };
        // Invocations of one sharer, and the fewest terms that each should have.
        let (lanes, least) = if workgroups { (super::WG, 8) } else { (1, 16) };
        let sharers = (wanted / outputs.max(1)).min(terms / (lanes * least)).max(terms.div_ceil(lanes * LONGEST));
        Sharing { workgroups, sharers: if terms < SHORT { 1 } else { sharers.max(1) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(of: &[(usize, bool)]) -> Vec<Axis> {
        of.iter().map(|&(length, reduced)| Axis { length, reduced }).collect()
    }

    #[test]
    fn neighbouring_axes_merge() {
        let part = Part::whole([2, 3, 1, 4, 5].into(), [1, 1, 1, 4, 5].into());
        assert_eq!(part.axes, axes(&[(6, true), (20, false)]));
        assert_eq!((part.outputs(), part.terms(), part.is_inner(), part.in_quads()), (20, 6, false, true));
        assert!(Part::whole([1, 1].into(), [1].into()).axes.is_empty());
    }

    /// Every element is in one part, every result is begun once, and a part knows how many terms came before it.
    #[test]
    fn cuts_cover_everything_once() {
        let shapes = [
            &[(7, false), (5, true)][..],
            &[(9, true)],
            &[(3, true), (50, false)],
            &[(5, true), (3, false), (7, true)],
        ];
        for (shape, limit) in shapes.iter().flat_map(|shape| [1, 4, 11, 40, 1000].map(|limit| (shape, limit))) {
            let whole = Part::of(axes(shape));
            let (elements, outputs) = (whole.elements(), whole.outputs());
            let parts = whole.cut(limit);
            assert_eq!(parts.iter().map(Part::elements).sum::<usize>(), elements, "{shape:?} {limit}");
            assert!(parts.iter().all(|part| part.elements() <= limit && part.to + part.outputs() <= outputs));
            let begun: usize = parts.iter().filter(|part| !part.more).map(Part::outputs).sum();
            assert_eq!(begun, outputs, "{shape:?} {limit}");
            assert!(parts.iter().all(|part| part.more == (part.first > 0)));
        }
    }
}
