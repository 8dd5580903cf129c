//! A short name for the weights of a checkpoint, so that a picture can say which ones drew it.

use super::{CheckpointFolder, WeightSet};

/// Bytes of each end of a tensor that count.
const ENDS: usize = 64;

impl CheckpointFolder {
    /// Ten hexadecimal digits that change when any tensor's name, shape or first or last bytes do. Training changes all of
    /// them; not the whole files are read, which would take minutes for a large model. It protects against mix-ups, not
    /// against somebody who wants two checkpoints to look the same.
    pub fn fingerprint(&self) -> String {
        let mut hash = Fnv::default();
        for set in [&self.language, &self.clip, &self.dream, &self.diffusion] {
            hash.weights(set);
        }
        format!("{:010x}", (hash.0 >> 24) ^ (hash.0 & 0xff_ffff))
    }
}

/// FNV-1a with 64 bits (Fowler, Noll and Vo): one multiplication a byte.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    }

    fn weights(&mut self, set: &WeightSet) {
        for tensor in set.tensors() {
            self.bytes(tensor.name().as_bytes());
            tensor.shape().iter().for_each(|side| self.bytes(&(*side as u64).to_le_bytes()));
            let raw = tensor.raw().unwrap_or_default();
            self.bytes(&raw[..raw.len().min(ENDS)]);
            self.bytes(&raw[raw.len().saturating_sub(ENDS)..]);
            tensor.release();
        }
    }
}
