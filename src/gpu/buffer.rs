//! Device buffers: taken from the pool, given back when the last handle goes.

use super::device::{Gpu, lock, to_error};
use super::pool::{class_within, size_class};
use crate::{Error, Result};

/// A storage buffer. Its bytes are undefined until something writes them (in debug builds every bit is set).
pub struct Buffer {
    gpu: Gpu,
    raw: Option<wgpu::Buffer>,
    id: u64,
    bytes: u64,
}

/// A range of a buffer as a kernel sees it.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The buffer.
    pub buffer: &'a Buffer,
    /// First byte, a multiple of the device's storage alignment.
    pub offset: u64,
    /// Number of bytes, a multiple of 4.
    pub size: u64,
}

/// Bytes of uploads that may wait on the host: the driver's copies of them are freed only after a submission.
const STAGED: u64 = 64 << 20;

const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// Bytes of device memory that a tensor of `bytes` bytes takes.
pub fn allocated(bytes: u64) -> u64 {
    size_class(bytes)
}

impl Gpu {
    /// A buffer of at least `bytes` bytes.
    pub fn buffer(&self, bytes: u64) -> Result<Buffer> {
        self.check_fault()?;
        let class = class_within(bytes, self.0.limits.max_buffer);
        if class < bytes {
            return Err(Error::TooLarge {
                what: "a tensor".into(),
                need: format!("{bytes} bytes"),
                limit: format!("{} bytes, the adapter's largest buffer", self.0.limits.max_buffer),
            });
        }
        if let Some((id, raw)) = lock(&self.0.pool).take(class) {
            return Ok(Buffer { gpu: self.clone(), raw: Some(raw), id, bytes: class });
        }
        let raw = match self.create(class) {
            Err(Error::OutOfMemory(_)) => {
                self.trim()?;
                self.create(class)?
            }
            other => other?,
        };
        let id = lock(&self.0.pool).adopt(class);
        Ok(Buffer { gpu: self.clone(), raw: Some(raw), id, bytes: class })
    }

    fn create(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let device = &self.0.device;
        let what = format!("allocating {bytes} bytes");
        let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory]
            .map(|filter| device.push_error_scope(filter));
        let descriptor = wgpu::BufferDescriptor { label: None, size: bytes, usage: USAGE, mapped_at_creation: false };
        let raw = device.create_buffer(&descriptor);
        // Scopes are a stack: the last pushed is popped first.
        for scope in scopes.into_iter().rev() {
            self.settle(&what, scope)?;
        }
        Ok(raw)
    }

    /// The outcome of an error scope: at once where the platform knows it, otherwise it becomes a fault when it arrives.
    pub(super) fn settle(&self, what: &str, scope: wgpu::ErrorScopeGuard) -> Result<()> {
        use std::{future::Future, pin::pin, task};
        let mut outcome = Box::pin(scope.pop());
        let mut context = task::Context::from_waker(task::Waker::noop());
        match pin!(outcome.as_mut()).poll(&mut context) {
            task::Poll::Ready(None) => Ok(()),
            task::Poll::Ready(Some(error)) => Err(to_error(what, error)),
            task::Poll::Pending => {
                let what = what.to_string();
                lock(&self.0.recorder).unsettled.push((what, outcome));
                Ok(())
            }
        }
    }

    /// Submits what is recorded and gives every unused buffer back to the driver. For that the device must be done with them:
    /// natively this waits.
    pub fn trim(&self) -> Result<()> {
        self.flush();
        let dead = lock(&self.0.pool).drain();
        {
            let mut recorder = lock(&self.0.recorder);
            dead.iter().for_each(|(id, _)| recorder.groups.forget_buffer(*id));
        }
        drop(dead);
        self.drive()
    }

    /// Bytes of device memory: (in use, kept for reuse).
    pub fn memory(&self) -> (u64, u64) {
        lock(&self.0.pool).memory()
    }

    /// Highest number of bytes in use at once since the start or the last call of this.
    pub fn take_peak_memory(&self) -> u64 {
        lock(&self.0.pool).take_peak()
    }

    /// Writes `bytes` into `buffer` from byte `offset` on, before all work recorded from now on and after all recorded so far.
    pub fn upload(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        debug_assert!(offset % 4 == 0 && offset + bytes.len() as u64 <= buffer.bytes);
        // The queue writes ahead of the work that is recorded but not submitted: that may still need the old bytes.
        if lock(&self.0.recorder).uses(buffer.id) {
            self.flush();
        }
        let whole = bytes.len() & !3;
        self.0.queue.write_buffer(buffer.raw(), offset, &bytes[..whole]);
        if whole < bytes.len() {
            let mut tail = [0u8; 4];
            tail[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.0.queue.write_buffer(buffer.raw(), offset + whole as u64, &tail);
        }
        let staged = {
            let mut recorder = lock(&self.0.recorder);
            recorder.staged += bytes.len() as u64;
            recorder.staged
        };
        if staged >= STAGED { self.send_uploads() } else { self.check_fault() }
    }
}

impl Buffer {
    /// The device it lives on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Usable size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn raw(&self) -> &wgpu::Buffer {
        match &self.raw {
            Some(raw) => raw,
            None => unreachable!("a buffer has its memory until it is dropped"),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            let kept = lock(&self.gpu.0.pool).put(self.bytes, self.id, raw);
            if !kept {
                lock(&self.gpu.0.recorder).groups.forget_buffer(self.id);
            }
        }
    }
}
