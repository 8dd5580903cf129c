//! Rows of different length as one rectangle.

/// On which side short rows are filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaddingSide {
    /// Training, and the official text-to-image script.
    Right,
    /// Generation: every row then ends where the next token goes.
    Left,
}

/// `B` rows of `T` ids, `[B, T]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, row by row, `[B, T]`.
    pub ids: Vec<u32>,
    /// False where a row is filled up, `[B, T]`.
    pub mask: Vec<bool>,
    /// `B`.
    pub rows: usize,
    /// `T`: the length of the longest row.
    pub width: usize,
}

impl Batch {
    /// Fills the rows up to the longest one with the id `pad` (the tokenizer's `[PAD]`).
    pub fn new<R: AsRef<[u32]>>(rows: &[R], pad: u32, side: PaddingSide) -> Self {
        let width = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
        let mut batch = Batch { ids: Vec::new(), mask: Vec::new(), rows: rows.len(), width };
        for row in rows.iter().map(AsRef::as_ref) {
            let gap = width - row.len();
            let (before, after) = if side == PaddingSide::Left { (gap, 0) } else { (0, gap) };
            batch.fill(before, pad);
            batch.ids.extend_from_slice(row);
            batch.mask.extend(row.iter().map(|_| true));
            batch.fill(after, pad);
        }
        batch
    }

    fn fill(&mut self, count: usize, pad: u32) {
        self.ids.extend(std::iter::repeat_n(pad, count));
        self.mask.extend(std::iter::repeat_n(false, count));
    }
}
