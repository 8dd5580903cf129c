//! Rows of like length go through the decoder together, so that a short row is not computed to the length of the longest one of its
//! batch: every state that is read afterwards is the same.
//!
//! A step that mixes captions, questions and comparisons takes half the time so: `benches/NOTES.md`.

use crate::Result;
use crate::ops::embedding::{gather_rows, put_rows};
use crate::ops::fill::zeros;
use crate::ops::layout::concat;
use crate::tensor::Tensor;
use crate::text::Batch;

/// Rows that are computed together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// Their places in the batch.
    rows: Vec<usize>,
    /// The length of the longest one.
    width: usize,
}

/// What one more pass through the decoder costs, in tokens: launches, and on a GPU weights that are read once more.
const PASS: usize = 64;

/// The decoder's states `[B, T, C]` of embeddings `[B, T, C]`, group by group; zeros stand where rows are filled up. `decode` gets
/// embeddings and which of their tokens are real; it gets no flags where rows are filled up on the right alone, since a real token
/// attends to none that follow it.
pub(super) fn by_length(
    embeds: &Tensor,
    rows: &Batch,
    decode: impl Fn(&Tensor, Option<Vec<bool>>) -> Result<Tensor>,
) -> Result<Tensor> {
    let Some(lengths) = lengths(rows) else { return decode(embeds, Some(rows.mask.clone())) };
    let groups = groups(&lengths);
    if groups.len() <= 1 {
        return decode(embeds, None);
    }
    let [b, t, c] = embeds.dims("training embeddings", "B T C")?;
    let (gpu, flat) = (embeds.gpu(), embeds.reshape([b * t, c])?);
    let (mut states, mut source, mut at) = (Vec::new(), vec![u32::MAX; b * t], 0);
    for Group { rows, width } in groups {
        let places: Vec<u32> = rows.iter().flat_map(|row| row * t..row * t + width).map(|at| at as u32).collect();
        let n = places.len();
        let own = gather_rows(&flat, &Tensor::from_u32(gpu, &places, [n])?)?.reshape([rows.len(), width, c])?;
        states.push(decode(&own, None)?.reshape([n, c])?);
        for (row, from) in rows.iter().zip((at..).step_by(width)) {
            (0..lengths[*row]).for_each(|token| source[row * t + token] = (from + token) as u32);
        }
        at += n;
    }
    let states = concat(&states.iter().collect::<Vec<_>>(), 0)?;
    let source = Tensor::from_u32(gpu, &source, [b * t])?;
    put_rows(&zeros(gpu, [b * t, c])?, &source, &states)?.reshape([b, t, c])
}

/// How many tokens every row has, if it is filled up on the right alone.
fn lengths(rows: &Batch) -> Option<Vec<usize>> {
    let length = |row: &[bool]| row.iter().position(|real| !real).unwrap_or(row.len());
    let row = |row: &[bool]| (!row[length(row)..].contains(&true)).then(|| length(row).max(1));
    rows.mask.chunks(rows.width.max(1)).map(row).collect()
}

/// The cheapest groups: the sum over them of rows times width, and [`PASS`] for each, is least. Those of neighbours in the order of
/// lengths are enough, so the first n rows have a best last group.
fn groups(lengths: &[usize]) -> Vec<Group> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| lengths[row]);
    let mut best = vec![(0, 0)];
    for n in 1..=order.len() {
        let width = lengths[order[n - 1]];
        best.extend((0..n).map(|first| (best[first].0 + (n - first) * width + PASS, first)).min());
    }
    let (mut groups, mut n) = (Vec::new(), order.len());
    while n > 0 {
        let first = best[n].1;
        groups.push(Group { rows: order[first..n].to_vec(), width: lengths[order[n - 1]] });
        n = first;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::PaddingSide;

    #[test]
    fn rows_of_like_length_are_together() {
        let all = groups(&[40, 200, 38, 100, 41, 210, 39, 99]);
        let of = |rows: &[usize], width| Group { rows: rows.to_vec(), width };
        assert_eq!(all, [of(&[1, 5], 210), of(&[7, 3], 100), of(&[2, 6, 0, 4], 41)]);
        assert!(groups(&[]).is_empty());
        for even in [vec![7; 5], vec![10, 12, 9]] {
            assert_eq!(groups(&even).len(), 1, "{even:?}");
        }
    }

    #[test]
    fn no_other_groups_of_neighbours_are_cheaper() {
        let lengths = [3, 90, 260, 91, 12, 170, 14];
        let cost = |groups: &[Group]| groups.iter().map(|group| group.rows.len() * group.width + PASS).sum::<usize>();
        let mut sorted = lengths;
        sorted.sort();
        let cut = |cuts: u32| {
            let mut costs = 0;
            let mut first = 0;
            for n in 1..=sorted.len() {
                if n == sorted.len() || cuts >> (n - 1) & 1 == 1 {
                    costs += (n - first) * sorted[n - 1] + PASS;
                    first = n;
                }
            }
            costs
        };
        let least = (0..1 << (sorted.len() - 1)).map(cut).min().unwrap();
        assert_eq!(cost(&groups(&lengths)), least);
    }

    #[test]
    fn only_rows_that_are_filled_up_on_the_right_have_lengths() {
        let rows = [vec![1, 2, 3], vec![4]];
        assert_eq!(lengths(&Batch::new(&rows, 0, PaddingSide::Right)), Some(vec![3, 1]));
        assert_eq!(lengths(&Batch::new(&rows, 0, PaddingSide::Left)), None);
        assert_eq!(lengths(&Batch::new::<Vec<u32>>(&[], 0, PaddingSide::Right)), Some(vec![]));
    }
}
