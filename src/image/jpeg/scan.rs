//! One scan: the coefficients of some components, or a part of their bits in a progressive file.

use std::ops::RangeInclusive;

use super::frame::{Frame, Tables, ZIGZAG};
use super::huffman::{Bits, HuffmanTable};
use super::{Step, Stop};

/// What a scan header says.
struct Scan {
    /// Places of its components in the frame, with the numbers of their DC and AC tables.
    components: Vec<(usize, usize, usize)>,
    /// First and last coefficient, in coding order.
    band: RangeInclusive<usize>,
    /// Whether earlier scans gave upper bits of these coefficients.
    refines: bool,
    /// The lowest bit given.
    low_bit: u32,
}

/// Decodes the scan whose data begins at `at`; gives where it ends.
pub(super) fn decode(bytes: &[u8], at: usize, header: &[u8], frame: &mut Frame, tables: &Tables) -> Step<usize> {
    let scan = Scan::parse(header, frame)?;
    for &(index, ..) in &scan.components {
        tables.latch(frame.components.get_mut(index).ok_or(Stop::Truncated)?)?;
    }
    let mut state = State { bits: Bits::new(bytes, at), predictions: [0; 3], end_of_band: 0, tables, scan: &scan };
    match scan.components.as_slice() {
        &[only] => state.single(frame, only)?,
        _ => state.interleaved(frame)?,
    }
    Ok(state.bits.position())
}

impl Scan {
    fn parse(header: &[u8], frame: &Frame) -> Step<Self> {
        let (&count, rest) = header.split_first().ok_or(Stop::Truncated)?;
        let (specs, rest) = rest.split_at_checked(usize::from(count) * 2).ok_or(Stop::Truncated)?;
        let (&[first, last, bits], _) = rest.split_first_chunk::<3>().ok_or(Stop::Truncated)?;
        let (specs, _) = specs.as_chunks::<2>();
        let place = |&[id, tables]: &[u8; 2]| {
            let index = frame.components.iter().position(|c| c.id == id)?;
            Some((index, usize::from(tables >> 4), usize::from(tables & 15)))
        };
        let components: Option<Vec<_>> = specs.iter().map(place).collect();
        let components =
            components.filter(|c| (1..=3).contains(&c.len())).ok_or(Stop::Unsupported("a scan's components"))?;
        if !frame.progressive {
            return Ok(Self { components, band: 0..=63, refines: false, low_bit: 0 });
        }
        let band = usize::from(first)..=usize::from(last);
        let dc_only = first == 0 && last == 0;
        let ac_only = first > 0 && first <= last && last < 64 && components.len() == 1;
        if !(dc_only || ac_only) || bits & 15 > 13 {
            return Err(Stop::Unsupported("a scan's band"));
        }
        Ok(Self { components, band, refines: bits >> 4 != 0, low_bit: u32::from(bits & 15) })
    }
}

struct State<'a> {
    bits: Bits<'a>,
    /// The DC coefficient before, for each component.
    predictions: [i32; 3],
    /// Blocks whose band is known to have nothing more.
    end_of_band: u32,
    tables: &'a Tables,
    scan: &'a Scan,
}

impl State<'_> {
    /// A scan of one component goes through the blocks that hold samples of the picture.
    fn single(&mut self, frame: &mut Frame, (index, dc, ac): (usize, usize, usize)) -> Step {
        let progressive = frame.progressive;
        let component = frame.components.get_mut(index).ok_or(Stop::Truncated)?;
        let (columns, rows) = (component.width.div_ceil(8), component.height.div_ceil(8));
        for unit in 0..columns * rows {
            self.restart_before(unit);
            let place = unit / columns * component.blocks_x + unit % columns;
            let block = component.coefficients.get_mut(place).ok_or(Stop::Truncated)?;
            self.block(block, index, (dc, ac), progressive)?;
        }
        Ok(())
    }

    /// A scan of several goes through units of `h` × `v` blocks of each.
    fn interleaved(&mut self, frame: &mut Frame) -> Step {
        let progressive = frame.progressive;
        let units_x = frame.width.div_ceil(8 * frame.max_h);
        let units_y = frame.height.div_ceil(8 * frame.max_v);
        for unit in 0..units_x * units_y {
            self.restart_before(unit);
            for &(index, dc, ac) in &self.scan.components {
                let component = frame.components.get_mut(index).ok_or(Stop::Truncated)?;
                for part in 0..component.h * component.v {
                    let row = unit / units_x * component.v + part / component.h;
                    let column = unit % units_x * component.h + part % component.h;
                    let place = row * component.blocks_x + column;
                    let block = component.coefficients.get_mut(place).ok_or(Stop::Truncated)?;
                    self.block(block, index, (dc, ac), progressive)?;
                }
            }
        }
        Ok(())
    }

    fn restart_before(&mut self, unit: usize) {
        if self.tables.restart > 0 && unit > 0 && unit.is_multiple_of(self.tables.restart) {
            self.bits.restart();
            self.predictions = [0; 3];
            self.end_of_band = 0;
        }
    }

    fn block(&mut self, block: &mut [i16; 64], index: usize, (dc, ac): (usize, usize), progressive: bool) -> Step {
        match (progressive, *self.scan.band.start(), self.scan.refines) {
            (false, ..) => {
                self.dc_first(block, index, dc)?;
                self.ac_sequential(block, table(&self.tables.ac, ac)?)
            }
            (true, 0, false) => self.dc_first(block, index, dc),
            (true, 0, true) => self.dc_refine(block),
            (true, _, false) => self.ac_first(block, table(&self.tables.ac, ac)?),
            (true, _, true) => self.ac_refine(block, table(&self.tables.ac, ac)?),
        }
    }

    fn dc_first(&mut self, block: &mut [i16; 64], index: usize, dc: usize) -> Step {
        let size = self.bits.symbol(table(&self.tables.dc, dc)?)?;
        if size > 15 {
            return Err(Stop::Unsupported("a DC difference of over 15 bits"));
        }
        let difference = self.bits.signed(u32::from(size))?;
        let prediction = self.predictions.get_mut(index).ok_or(Stop::Truncated)?;
        *prediction = prediction.wrapping_add(difference);
        block[0] = (*prediction << self.scan.low_bit) as i16;
        Ok(())
    }

    fn dc_refine(&mut self, block: &mut [i16; 64]) -> Step {
        if self.bits.bit()? {
            block[0] |= 1 << self.scan.low_bit;
        }
        Ok(())
    }

    fn ac_sequential(&mut self, block: &mut [i16; 64], table: &HuffmanTable) -> Step {
        let mut k = 1;
        while k < 64 {
            let symbol = self.bits.symbol(table)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => break,
                _ => {
                    k += run;
                    let value = self.bits.signed(size)? as i16;
                    set(block, k, value);
                    k += 1;
                }
            }
        }
        Ok(())
    }

    fn ac_first(&mut self, block: &mut [i16; 64], table: &HuffmanTable) -> Step {
        if self.end_of_band > 0 {
            self.end_of_band -= 1;
            return Ok(());
        }
        let mut k = *self.scan.band.start();
        while k <= *self.scan.band.end() {
            let symbol = self.bits.symbol(table)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => {
                    self.end_of_band = (1 << run) - 1 + self.bits.bits(run)?;
                    break;
                }
                _ => {
                    k += run as usize;
                    let value = self.bits.signed(size)? << self.scan.low_bit;
                    set(block, k, value as i16);
                    k += 1;
                }
            }
        }
        Ok(())
    }

    fn ac_refine(&mut self, block: &mut [i16; 64], table: &HuffmanTable) -> Step {
        let end = *self.scan.band.end();
        let one = 1i16 << self.scan.low_bit;
        let mut k = *self.scan.band.start();
        while self.end_of_band == 0 && k <= end {
            let symbol = self.bits.symbol(table)?;
            let (run, size) = (u32::from(symbol >> 4), symbol & 15);
            let value = match (run, size) {
                (15, 0) => 0,
                (_, 0) => {
                    self.end_of_band = (1 << run) + self.bits.bits(run)?;
                    break;
                }
                _ if self.bits.bit()? => one,
                _ => -one,
            };
            k = self.refine_until(block, k, run)?;
            if value != 0 {
                set(block, k, value);
            }
            k += 1;
        }
        if self.end_of_band > 0 {
            self.refine_until(block, k, u32::MAX)?;
            self.end_of_band -= 1;
        }
        Ok(())
    }

    /// Refines coefficients that are not zero, from `k` on, and steps over `zeros` that are: up to the next zero, or the
    /// end of the band.
    fn refine_until(&mut self, block: &mut [i16; 64], mut k: usize, mut zeros: u32) -> Step<usize> {
        let one = 1i16 << self.scan.low_bit;
        while k <= *self.scan.band.end() {
            let coefficient = &mut block[ZIGZAG[k]];
            if *coefficient != 0 {
                if self.bits.bit()? && *coefficient & one == 0 {
                    *coefficient = coefficient.wrapping_add(if *coefficient > 0 { one } else { -one });
                }
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
        }
        Ok(k)
    }
}

/// Sets the `k`-th coefficient in coding order; a run that leaves the block (damage) sets none.
fn set(block: &mut [i16; 64], k: usize, value: i16) {
    if let Some(&place) = ZIGZAG.get(k) {
        block[place] = value;
    }
}

fn table(tables: &[Option<HuffmanTable>; 4], number: usize) -> Step<&HuffmanTable> {
    tables.get(number).and_then(Option::as_ref).ok_or(Stop::Unsupported("a missing Huffman table"))
}
