//! Host data to tensors and back.

use super::{DType, Shape, Tensor, quantised};
use crate::gpu::Gpu;
use crate::{Error, Result};
use half::f16;
use std::sync::Arc;

impl Tensor {
    /// An f32 tensor from host data.
    pub fn from_f32(gpu: &Gpu, data: &[f32], shape: impl Into<Shape>) -> Result<Tensor> {
        Self::from_bytes(gpu, bytemuck::cast_slice(data), shape.into(), DType::F32)
    }

    /// An f16 tensor from host data.
    pub fn from_f16(gpu: &Gpu, data: &[f16], shape: impl Into<Shape>) -> Result<Tensor> {
        Self::from_bytes(gpu, bytemuck::cast_slice(data), shape.into(), DType::F16)
    }

    /// 8-bit blocks of host data, with the errors that [`quantised`] states. As a weight its rows are a multiple of 32
    /// elements long.
    pub fn from_q8(gpu: &Gpu, data: &[f32], shape: impl Into<Shape>) -> Result<Tensor> {
        Self::from_blocks(gpu, &quantised::quantise(data, DType::Q8), shape, DType::Q8)
    }

    /// 4-bit blocks of host data, like [`Tensor::from_q8`].
    pub fn from_q4(gpu: &Gpu, data: &[f32], shape: impl Into<Shape>) -> Result<Tensor> {
        Self::from_blocks(gpu, &quantised::quantise(data, DType::Q4), shape, DType::Q4)
    }

    /// A quantised tensor from units in the layout of [`quantised`].
    pub fn from_blocks(gpu: &Gpu, units: &[u8], shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        if !dtype.is_quantised() {
            return Err(Error::Input(format!("from_blocks: {dtype} has no blocks")));
        }
        Self::from_bytes(gpu, units, shape.into(), dtype)
    }

    /// A tensor of unsigned integers from host data.
    pub fn from_u32(gpu: &Gpu, data: &[u32], shape: impl Into<Shape>) -> Result<Tensor> {
        Self::from_bytes(gpu, bytemuck::cast_slice(data), shape.into(), DType::U32)
    }

    fn from_bytes(gpu: &Gpu, bytes: &[u8], shape: Shape, dtype: DType) -> Result<Tensor> {
        let tensor = Tensor::uninit(gpu, shape, dtype)?;
        tensor.upload(0, bytes)?;
        match dtype.bytes(shape.len()) == bytes.len() as u64 {
            true => Ok(tensor),
            false => Err(Error::Shape {
                op: "upload".into(),
                operand: "data".into(),
                want: format!("{shape} {dtype}"),
                got: format!("{} bytes", bytes.len()),
            }),
        }
    }

    /// A tensor whose memory is about to be uploaded in pieces.
    pub(crate) fn uninit(gpu: &Gpu, shape: Shape, dtype: DType) -> Result<Tensor> {
        let buffer = Arc::new(gpu.buffer(super::padded(dtype.bytes(shape.len())))?);
        Ok(Tensor { buffer, offset: 0, shape, dtype, node: None })
    }

    /// Writes raw bytes from byte `offset` of the tensor on.
    pub(crate) fn upload(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let room = super::padded(self.dtype.bytes(self.len()));
        if offset + bytes.len() as u64 > room {
            return Err(Error::TooLarge {
                what: "an upload".into(),
                need: format!("{} bytes", offset + bytes.len() as u64),
                limit: format!("{room} bytes"),
            });
        }
        self.gpu().upload(&self.buffer, self.offset + offset, bytes)
    }

    /// The elements of a tensor of floats or quantised blocks. Submits recorded work and waits for it.
    pub async fn read_f32(&self) -> Result<Vec<f32>> {
        let bytes = self.read_bytes().await?;
        Ok(match self.dtype {
            DType::F32 => bytemuck::pod_collect_to_vec(&bytes),
            DType::F16 => bytemuck::pod_collect_to_vec::<u8, u16>(&bytes)
                .into_iter()
                .map(|h| f16::from_bits(h).to_f32())
                .collect(),
            DType::Q8 | DType::Q4 => quantised::dequantise(&bytes, self.dtype, self.len()),
            DType::U32 => {
                self.expect_dtype("read x", DType::F32)?;
                Vec::new()
            }
        })
    }

    /// The elements of an integer tensor. Submits recorded work and waits for it.
    pub async fn read_u32(&self) -> Result<Vec<u32>> {
        self.expect_dtype("read x", DType::U32)?;
        Ok(bytemuck::pod_collect_to_vec(&self.read_bytes().await?))
    }

    /// The tensor's memory as it is. Waits for the device.
    pub async fn read_bytes(&self) -> Result<Vec<u8>> {
        let wanted = self.dtype.bytes(self.len());
        let mut bytes = self.gpu().read(&self.buffer, self.offset, wanted.next_multiple_of(4)).await?;
        bytes.truncate(wanted as usize);
        Ok(bytes)
    }
}
