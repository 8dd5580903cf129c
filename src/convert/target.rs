//! What becomes of one tensor.

use super::ConvertOptions;
use crate::nn::{Wanted, WeightFormat};
use crate::tensor::DType;
use crate::weights::{Blocks, CheckpointFolder, Encoding, Order, StoredDType, StoredTensor, TensorHeader};
use crate::{Error, Result};

/// A tensor on its way into a file.
pub(super) struct Target<'a> {
    /// Its full name.
    pub name: String,
    /// Its name within its part's official file.
    pub short: String,
    tensor: StoredTensor<'a>,
    form: Form,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Its bytes as they are.
    Same,
    /// As something else.
    As(Encoding),
}

impl<'a> Target<'a> {
    pub fn new(source: &'a CheckpointFolder, wanted: &Wanted, options: &ConvertOptions) -> Result<Self> {
        let (set, short) = source.locate(&wanted.name);
        let tensor = set.require(short)?;
        let form = form(&tensor, wanted, options);
        Ok(Target { name: wanted.name.clone(), short: short.to_string(), tensor, form })
    }

    /// Its element type in the new file.
    pub fn dtype(&self) -> StoredDType {
        match self.form {
            Form::Same => self.tensor.dtype(),
            Form::As(Encoding { dtype: DType::F16, .. }) => StoredDType::F16,
            Form::As(Encoding { dtype: DType::Q8, .. }) => StoredDType::Q8,
            Form::As(Encoding { dtype: DType::Q4, .. }) => StoredDType::Q4,
            Form::As(_) => StoredDType::F32,
        }
    }

    /// Its bytes in the new file.
    pub fn bytes(&self) -> u64 {
        self.dtype().bytes(self.tensor.len()).unwrap_or(0) as u64
    }

    /// Its entry in the new file's header, under `name`.
    pub fn header(&self, name: &str) -> TensorHeader {
        let (dtype, name) = (self.dtype(), name.to_string());
        match dtype.blocks() {
            Some(_) => TensorHeader { name, dtype: StoredDType::U8, shape: vec![self.bytes() as usize] },
            None => TensorHeader { name, dtype, shape: self.tensor.shape().to_vec() },
        }
    }

    /// What its blocks are, if it becomes blocks.
    pub fn blocks(&self) -> Option<Blocks> {
        let Form::As(Encoding { dtype, order }) = self.form else { return None };
        let (shape, channels_last) = (self.tensor.shape().to_vec(), order == Order::ChannelsLast);
        dtype.is_quantised().then(|| Blocks { dtype: dtype.to_string(), shape, channels_last })
    }

    /// Gives its new bytes to `sink`, with the number of elements they are.
    pub fn write(&self, mut sink: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        match self.form {
            Form::As(encoding) => self.tensor.encode(encoding, |piece| sink(piece.bytes, piece.elements.len() as u64)),
            Form::Same => {
                let missing = || Error::format(format!("tensor {}", self.name), "lies outside its file");
                let (_, unit) = self.tensor.dtype().unit();
                for bytes in self.tensor.raw().ok_or_else(missing)?.chunks(unit << 22) {
                    sink(bytes, (bytes.len() / unit) as u64)?;
                    self.tensor.release();
                }
                Ok(())
            }
        }
    }
}

/// Blocks and f16 where they are wanted and fit; what is stored in 16 bits and is not to change stays so.
fn form(tensor: &StoredTensor, wanted: &Wanted, options: &ConvertOptions) -> Form {
    let dtype = wanted.dtype(options.format);
    let as_is = matches!(tensor.dtype(), StoredDType::F32 | StoredDType::F16 | StoredDType::BF16);
    if options.format == WeightFormat::Stored && as_is && tensor.is_contiguous() {
        return Form::Same;
    }
    match dtype.is_quantised() {
        true if options.official => Form::As(Encoding { dtype: DType::F32, order: Order::RowMajor }),
        true => Form::As(Encoding { dtype, order: wanted.order }),
        // Other programs read floats too: they keep the official order.
        false => Form::As(Encoding { dtype, order: Order::RowMajor }),
    }
}
