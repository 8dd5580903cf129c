//! Bits of the entropy-coded data, and Huffman codes in them.

use super::{Step, Stop};

/// Codes up to this length are found by one look into a table.
const LOOK_BITS: u32 = 9;

/// A canonical Huffman code of symbols up to 16 bits long.
pub(super) struct HuffmanTable {
    /// For every value of the next `LOOK_BITS` bits: the code's length (0 if longer) and symbol.
    look: Vec<(u8, u8)>,
    /// First code of each length, the number of codes of it, and the place of its first symbol.
    lengths: [(u32, u32, usize); 17],
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// `counts[i]` codes have `i + 1` bits; `symbols` are in order of their codes.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Step<Self> {
        let mut lengths = [(0, 0, 0); 17];
        let mut look = vec![(0, 0); 1 << LOOK_BITS];
        let (mut code, mut first) = (0u32, 0usize);
        for (bits, &count) in (1u32..).zip(counts) {
            let count = u32::from(count);
            if code + count > 1 << bits {
                return Err(Stop::Unsupported("an impossible Huffman code"));
            }
            lengths[bits as usize] = (code, count, first);
            if bits <= LOOK_BITS {
                for (code, &symbol) in (code..code + count).zip(symbols.iter().skip(first)) {
                    let from = (code << (LOOK_BITS - bits)) as usize;
                    look.iter_mut().skip(from).take(1 << (LOOK_BITS - bits)).for_each(|e| *e = (bits as u8, symbol));
                }
            }
            first += count as usize;
            code = (code + count) << 1;
        }
        Ok(Self { look, lengths, symbols: symbols.to_vec() })
    }

    fn long_code(&self, bits16: u32) -> Option<(u32, u8)> {
        (LOOK_BITS + 1..=16).find_map(|length| {
            let (first_code, count, first) = self.lengths[length as usize];
            let nth = (bits16 >> (16 - length)).checked_sub(first_code).filter(|&nth| nth < count)?;
            Some((length, *self.symbols.get(first + nth as usize)?))
        })
    }
}

/// Reads bits from `at` on, up to the next marker. Behind a marker come zeros, as libjpeg has it for damaged files;
/// behind the end of the file comes an error.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    /// Bits in the buffer.
    held: u32,
    /// How many of them, the last ones, are made up.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, held: 0, made_up: 0 }
    }

    /// Where the next marker, or the rest of the file, begins.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.held <= 48 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.made_up += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.held += 8;
        }
    }

    /// The next `n` ≤ 16 bits, left in place.
    fn peek(&mut self, n: u32) -> u32 {
        if self.held < n {
            self.fill();
        }
        (self.buffer >> (self.held - n)) as u32 & ((1 << n) - 1)
    }

    fn skip(&mut self, n: u32) -> Step {
        self.held -= n;
        if self.made_up > self.held {
            self.made_up = self.held;
            if self.at + 1 >= self.bytes.len() {
                return Err(Stop::Truncated);
            }
        }
        Ok(())
    }

    /// The next `n` ≤ 16 bits.
    pub(super) fn bits(&mut self, n: u32) -> Step<u32> {
        if n == 0 {
            return Ok(0);
        }
        let value = self.peek(n);
        self.skip(n)?;
        Ok(value)
    }

    /// The next bit.
    pub(super) fn bit(&mut self) -> Step<bool> {
        Ok(self.bits(1)? == 1)
    }

    /// The next symbol.
    pub(super) fn symbol(&mut self, table: &HuffmanTable) -> Step<u8> {
        let next = self.peek(16);
        let (length, symbol) = match table.look.get((next >> (16 - LOOK_BITS)) as usize) {
            Some(&(length, symbol)) if length > 0 => (u32::from(length), symbol),
            _ => table.long_code(next).ok_or(Stop::Unsupported("a code that is in no table"))?,
        };
        self.skip(length)?;
        Ok(symbol)
    }

    /// A number of `n` ≤ 15 bits, of which the lower half of the values is negative.
    pub(super) fn signed(&mut self, n: u32) -> Step<i32> {
        let value = self.bits(n)? as i32;
        Ok(if n > 0 && value < 1 << (n - 1) { value - (1 << n) + 1 } else { value })
    }

    /// Drops the rest of the byte and steps over the next restart marker, if that is the next marker.
    pub(super) fn restart(&mut self) {
        (self.buffer, self.held, self.made_up) = (0, 0, 0);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let found = rest.windows(2).position(|w| matches!(w, [0xff, code] if !matches!(code, 0 | 0xff)));
        self.at += found.unwrap_or(rest.len());
        if let Some(0xd0..=0xd7) = self.bytes.get(self.at + 1) {
            self.at += 2;
        }
    }
}
