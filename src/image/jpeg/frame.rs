//! What the segments before the picture's data say: sizes, components, tables.

use super::huffman::HuffmanTable;
use super::{Step, Stop};

/// From the order in which coefficients are coded to their place in the block.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// One colour component with its coefficients.
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, 1 to 4.
    pub(super) h: usize,
    pub(super) v: usize,
    /// Number of its quantisation table.
    pub(super) quantisation: usize,
    /// That table as it was when the component's first scan began, row-major.
    pub(super) table: Option<[u16; 64]>,
    /// Samples that belong to the picture.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks, up to a whole number of interleaved units.
    pub(super) blocks_x: usize,
    pub(super) blocks_y: usize,
    /// Blocks of 64 coefficients, row-major.
    pub(super) coefficients: Vec<[i16; 64]>,
}

/// The picture's frame header.
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) max_h: usize,
    pub(super) max_v: usize,
    pub(super) components: Vec<Component>,
}

impl Frame {
    pub(super) fn parse(segment: &[u8], progressive: bool, file_len: usize) -> Step<Self> {
        let (&[precision, h1, h0, w1, w0, count], specs) = segment.split_first_chunk::<6>().ok_or(Stop::Truncated)?;
        let (width, height) = (usize::from(u16::from_be_bytes([w1, w0])), usize::from(u16::from_be_bytes([h1, h0])));
        let (specs, _) = specs.as_chunks::<3>();
        if precision != 8 || width == 0 || height == 0 || !matches!(count, 1 | 3) || specs.len() != usize::from(count) {
            return Err(Stop::Unsupported("this kind of frame"));
        }
        let factors = |spec: &[u8; 3]| (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
        if specs.iter().map(factors).any(|(h, v)| !(1..=4).contains(&h) || !(1..=4).contains(&v)) {
            return Err(Stop::Unsupported("sampling factors"));
        }
        let max_h = specs.iter().map(|spec| factors(spec).0).max().unwrap_or(1);
        let max_v = specs.iter().map(|spec| factors(spec).1).max().unwrap_or(1);
        let (units_x, units_y) = (width.div_ceil(8 * max_h), height.div_ceil(8 * max_v));
        let sizes = |spec| factors(spec).0 * factors(spec).1 * units_x * units_y;
        // Every block takes at least one bit, so a file of this length cannot fill more of them.
        if specs.iter().map(sizes).sum::<usize>() / 8 > file_len {
            return Err(Stop::Truncated);
        }
        let component = |spec: &[u8; 3]| {
            let (h, v) = factors(spec);
            let (blocks_x, blocks_y) = (units_x * h, units_y * v);
            Component {
                id: spec[0],
                h,
                v,
                quantisation: usize::from(spec[2]),
                table: None,
                width: (width * h).div_ceil(max_h),
                height: (height * v).div_ceil(max_v),
                blocks_x,
                blocks_y,
                coefficients: vec![[0; 64]; blocks_x * blocks_y],
            }
        };
        let components = specs.iter().map(component).collect();
        Ok(Self { progressive, width, height, max_h, max_v, components })
    }
}

/// How three components are to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Colours {
    YCbCr,
    Rgb,
}

/// Tables and settings that stay until they are replaced.
#[derive(Default)]
pub(super) struct Tables {
    quantisation: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<HuffmanTable>; 4],
    pub(super) ac: [Option<HuffmanTable>; 4],
    /// Units between restart markers; 0 for none.
    pub(super) restart: usize,
    jfif: bool,
    adobe_transform: Option<u8>,
}

impl Tables {
    pub(super) fn quantisation(&mut self, mut segment: &[u8]) -> Step {
        while let Some((&head, rest)) = segment.split_first() {
            let wide = head >> 4 != 0;
            let (values, rest) = rest.split_at_checked(if wide { 128 } else { 64 }).ok_or(Stop::Truncated)?;
            let mut table = [0u16; 64];
            for (i, &place) in ZIGZAG.iter().enumerate() {
                let value = match (wide, values) {
                    (true, v) => v.get(2 * i..2 * i + 2).map_or(0, |v| u16::from(v[0]) << 8 | u16::from(v[1])),
                    (false, v) => v.get(i).copied().map_or(0, u16::from),
                };
                table[place] = value;
            }
            let slot =
                self.quantisation.get_mut(usize::from(head & 15)).ok_or(Stop::Unsupported("a table's number"))?;
            *slot = Some(table);
            segment = rest;
        }
        Ok(())
    }

    pub(super) fn huffman(&mut self, mut segment: &[u8]) -> Step {
        while let Some((&head, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Stop::Truncated)?;
            let total = counts.iter().map(|&n| usize::from(n)).sum();
            let (values, rest) = rest.split_at_checked(total).ok_or(Stop::Truncated)?;
            let tables = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = tables.get_mut(usize::from(head & 15)).ok_or(Stop::Unsupported("a table's number"))?;
            *slot = Some(HuffmanTable::new(counts, values)?);
            segment = rest;
        }
        Ok(())
    }

    pub(super) fn restart_interval(&mut self, segment: &[u8]) -> Step {
        let (&interval, _) = segment.split_first_chunk::<2>().ok_or(Stop::Truncated)?;
        self.restart = usize::from(u16::from_be_bytes(interval));
        Ok(())
    }

    /// JFIF and Adobe's markers say what the components are.
    pub(super) fn application(&mut self, marker: u8, segment: &[u8]) {
        self.jfif |= marker == 0xe0 && segment.starts_with(b"JFIF\0");
        if marker == 0xee && segment.starts_with(b"Adobe") {
            self.adobe_transform = segment.get(11).copied();
        }
    }

    /// libjpeg's rules for three components.
    pub(super) fn colours(&self, frame: &Frame) -> Colours {
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        match (self.jfif, self.adobe_transform) {
            (true, _) => Colours::YCbCr,
            (false, Some(0)) => Colours::Rgb,
            (false, None) if ids == *b"RGB" => Colours::Rgb,
            _ => Colours::YCbCr,
        }
    }

    /// Keeps a component's quantisation table as it is when its first scan begins.
    pub(super) fn latch(&self, component: &mut Component) -> Step {
        if component.table.is_none() {
            component.table = self.quantisation.get(component.quantisation).copied().flatten();
        }
        component.table.map(|_| ()).ok_or(Stop::Unsupported("a missing quantisation table"))
    }
}
