//! Where a part of a model lives: on the device for good, or by turns on one seat that the parts share.
//!
//! A part that comes by turns loads itself when it is used, after the part before it has left. So the weights on the device
//! are those of the largest part, not of all together; each turn costs reading the part from the disk once more.

use crate::Result;
use crate::gpu::{Gpu, WasmNotSendSync};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What leaves the seat for the next one.
trait Occupant: WasmNotSendSync {
    fn leave(&self);
}

/// How a part is loaded, again and again.
pub trait LoadPart<T>: Fn() -> Result<T> + WasmNotSendSync {}

impl<T, F: Fn() -> Result<T> + WasmNotSendSync> LoadPart<T> for F {}

/// Room on a device for one part at a time.
pub struct Seat {
    gpu: Gpu,
    taken: Mutex<Option<Arc<dyn Occupant>>>,
}

/// A part of a model.
pub struct Place<T> {
    part: Arc<Slot<T>>,
    /// Where it comes from, unless it stays.
    turns: Option<(Arc<Seat>, Box<dyn LoadPart<T>>)>,
}

struct Slot<T>(Mutex<Option<Arc<T>>>);

impl<T: WasmNotSendSync> Occupant for Slot<T> {
    fn leave(&self) {
        lock(&self.0).take();
    }
}

impl Seat {
    /// A free seat.
    pub fn new(gpu: &Gpu) -> Arc<Seat> {
        Arc::new(Seat { gpu: gpu.clone(), taken: Mutex::new(None) })
    }
}

impl<T: WasmNotSendSync + 'static> Place<T> {
    /// A part that stays where it is.
    pub fn stays(part: T) -> Place<T> {
        Place { part: Arc::new(Slot(Mutex::new(Some(Arc::new(part))))), turns: None }
    }

    /// A part that takes the seat when it is used, and leaves when another one does.
    pub fn by_turns(seat: &Arc<Seat>, load: impl LoadPart<T> + 'static) -> Place<T> {
        Place { part: Arc::new(Slot(Mutex::new(None))), turns: Some((seat.clone(), Box::new(load))) }
    }

    /// The part, which is loaded if it is not there. Hold it no longer than it is used.
    pub fn get(&self) -> Result<Arc<T>> {
        if let Some(part) = lock(&self.part.0).clone() {
            return Ok(part);
        }
        let Some((seat, load)) = &self.turns else {
            return Err(crate::Error::Input("a part of the model is not there".into()));
        };
        let mut taken = lock(&seat.taken);
        if let Some(before) = taken.take() {
            before.leave();
        }
        // What has left goes back to the driver before room is taken for what comes.
        seat.gpu.trim()?;
        let part = Arc::new(load()?);
        *lock(&self.part.0) = Some(part.clone());
        *taken = Some(self.part.clone());
        Ok(part)
    }
}

/// A part is there or not; a panic elsewhere leaves neither half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{DeviceClass, GpuOptions};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_part_is_there_at_a_time() {
        let gpu = pollster::block_on(Gpu::recording(DeviceClass::Software, &GpuOptions::default())).unwrap();
        let (seat, there) = (Seat::new(&gpu), Arc::new(AtomicUsize::new(0)));
        struct Part(Arc<AtomicUsize>, usize);
        impl Drop for Part {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let loads = Arc::new(AtomicUsize::new(0));
        let place = |number: usize| {
            let (there, loads) = (there.clone(), loads.clone());
            Place::by_turns(&seat, move || {
                loads.fetch_add(1, Ordering::SeqCst);
                assert_eq!(there.fetch_add(1, Ordering::SeqCst), 0, "another part is still there");
                Ok(Part(there.clone(), number))
            })
        };
        let (a, b) = (place(1), place(2));
        for _ in 0..2 {
            assert_eq!(a.get().unwrap().1, 1);
            assert_eq!(a.get().unwrap().1, 1);
            assert_eq!(b.get().unwrap().1, 2);
        }
        assert_eq!((loads.load(Ordering::SeqCst), there.load(Ordering::SeqCst)), (4, 1));
        assert_eq!(*Place::stays(7).get().unwrap(), 7);
    }
}
