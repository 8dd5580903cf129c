//! Reading device memory back: the only place that waits for the device. Natively the calling thread is blocked in
//! `device.poll` meanwhile; in the browser the future is pending.

use super::buffer::Buffer;
use super::device::{Gpu, lock};
use crate::{Error, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

impl Gpu {
    /// Submits what is recorded and reads `size` bytes (a multiple of 4) of `buffer` from `offset` on.
    pub async fn read(&self, buffer: &Buffer, offset: u64, size: u64) -> Result<Vec<u8>> {
        self.flush();
        if size == 0 {
            return Ok(Vec::new());
        }
        let staging = self.0.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = self.0.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer.raw(), offset, &staging, 0, size);
        self.0.queue.submit([encoder.finish()]);
        self.map(&staging).await
    }

    /// Waits until everything submitted has run.
    pub async fn finish(&self) -> Result<()> {
        let probe = self.buffer(4)?;
        self.read(&probe, 0, 4).await.map(|_| ())
    }

    /// Sends the uploads that wait on the host, and has their copies there freed, for which it waits (not in the browser). What
    /// is recorded stays recorded.
    pub(super) fn send_uploads(&self) -> Result<()> {
        lock(&self.0.recorder).staged = 0;
        self.0.queue.submit([]);
        self.drive()?;
        self.check_fault()
    }

    pub(super) async fn map(&self, staging: &wgpu::Buffer) -> Result<Vec<u8>> {
        let signal = Signal::default();
        let done = signal.clone();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |outcome| done.set(outcome.map_err(|e| e.to_string())));
        self.drive()?;
        let outcome = signal.await;
        self.settle_all().await;
        self.check_fault()?;
        outcome.map_err(|why| Error::Gpu { what: "reading back".into(), why })?;
        let view = staging
            .slice(..)
            .get_mapped_range()
            .map_err(|e| Error::Gpu { what: "reading back".into(), why: e.to_string() })?;
        Ok(view.to_vec())
    }

    /// Lets the device make progress. Native devices need a poll; in the browser the event loop does it.
    pub(super) fn drive(&self) -> Result<()> {
        if cfg!(target_arch = "wasm32") {
            return Ok(());
        }
        match self.0.device.poll(wgpu::PollType::wait_indefinitely()) {
            Ok(_) => Ok(()),
            Err(e) => self.check_fault().and(Err(Error::Gpu { what: "waiting".into(), why: e.to_string() })),
        }
    }

    async fn settle_all(&self) {
        let unsettled = std::mem::take(&mut lock(&self.0.recorder).unsettled);
        for (what, outcome) in unsettled {
            if let Some(error) = outcome.await {
                self.set_fault(super::device::to_error(&what, error));
            }
        }
    }
}

/// A value that a callback sets and one task awaits.
#[derive(Clone, Default)]
struct Signal(Arc<Mutex<Awaited>>);

#[derive(Default)]
struct Awaited {
    value: Option<Result<(), String>>,
    waker: Option<Waker>,
}

impl Signal {
    fn set(&self, value: Result<(), String>) {
        let mut slot = lock(&self.0);
        slot.value = Some(value);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

impl Future for Signal {
    type Output = Result<(), String>;

    fn poll(self: Pin<&mut Self>, context: &mut Context) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
