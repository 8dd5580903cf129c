//! A reader for the protobuf wire format: fields of one message in order, borrowed from the bytes.
//!
//! Only what `tokenizer.model` needs. Nothing is allocated and every length is checked, so hostile bytes end in an error.

/// One field's value, by wire type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    /// Wire type 0: integers, booleans, enums.
    Varint(u64),
    /// Wire type 1, not interpreted.
    Fixed64,
    /// Wire type 2: strings, bytes, nested messages.
    Bytes(&'a [u8]),
    /// Wire type 5: `float` and 32-bit integers, as raw bits.
    Fixed32(u32),
}

impl Value<'_> {
    /// A protobuf `bool`: any non-zero varint.
    pub(super) fn is_true(self) -> bool {
        matches!(self, Value::Varint(v) if v != 0)
    }
}

/// The fields of one message, in file order. Iteration ends after the first error.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or("the file ends inside a field")?;
        self.rest = tail;
        Ok(head)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, tail) = self.rest.split_first().ok_or("the file ends inside a number")?;
            self.rest = tail;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is longer than ten bytes".into())
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| "a field is longer than memory")?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(bytes.iter().rev().fold(0, |bits, &b| bits << 8 | u32::from(b)))
            }
            other => return Err(format!("wire type {other} is not used by this format")),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_wire_type() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, b'h', b'i', 0x25, 0, 0, 0x80, 0x3f];
        let fields: Result<Vec<_>, _> = Fields::new(&bytes).collect();
        let want =
            [(1, Value::Varint(150)), (2, Value::Fixed64), (3, Value::Bytes(b"hi")), (4, Value::Fixed32(0x3f80_0000))];
        assert_eq!(fields.unwrap(), want);
    }

    #[test]
    fn broken_bytes_are_errors_and_end_the_iteration() {
        let cases: [&[u8]; 6] = [
            &[0x08],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0xff; 12],
            &[0x25, 0, 0],
        ];
        for bytes in cases {
            let fields: Vec<_> = Fields::new(bytes).collect();
            assert!(fields.last().unwrap().is_err(), "{bytes:?}");
            assert_eq!(fields.iter().filter(|f| f.is_err()).count(), 1);
        }
    }
}
