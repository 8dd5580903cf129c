//! Kernels: a shader file, its variants, and running one.

use super::buffer::Binding;
use super::device::Gpu;
use super::specialise::{Changes, Knob, specialise};
use crate::Result;
use std::borrow::Cow;

/// A WGSL file with one entry point of the same name.
pub struct Kernel {
    /// Name of the entry point, and of the file without `.wgsl`.
    pub name: &'static str,
    /// Text of the file.
    pub source: &'static str,
}

/// A kernel with its knobs turned: the key of its pipeline. It is made afresh for every run, so making and hashing one is
/// cheap; what takes longer, such as a rendered hook, its owner keeps.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// What differs from the file.
    pub changes: Changes,
}

/// Kernels have different names.
impl PartialEq for Kernel {
    fn eq(&self, other: &Kernel) -> bool {
        self.name == other.name
    }
}

impl Eq for Kernel {}

impl std::hash::Hash for Kernel {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Kernel {
    /// A kernel from its file's text.
    pub const fn new(name: &'static str, source: &'static str) -> Self {
        Kernel { name, source }
    }

    /// The file as it is.
    pub fn plain(&'static self) -> Variant {
        Variant { kernel: self, changes: Changes::default() }
    }
}

impl Variant {
    /// Sets a `const` to an unsigned number.
    pub fn set(mut self, name: &'static str, value: u32) -> Self {
        self.changes.knobs.push((name, Knob::U32(value)));
        self
    }

    /// Sets a `const` to a truth value.
    pub fn flag(mut self, name: &'static str, value: bool) -> Self {
        self.changes.knobs.push((name, Knob::Bool(value)));
        self
    }

    /// Sets an `alias` to a type.
    pub fn alias(mut self, name: &'static str, to: &'static str) -> Self {
        self.changes.knobs.push((name, Knob::Text(to)));
        self
    }

    /// Puts another library file into an import slot.
    pub fn import(mut self, slot: &'static str, path: &'static str) -> Self {
        self.changes.imports.push((slot, path));
        self
    }

    /// Keeps an `//@if` block when `on`.
    pub fn enable(mut self, block: &'static str, on: bool) -> Self {
        if on {
            self.changes.enabled.push(block);
        }
        self
    }

    /// Lets the hook function return this WGSL expression.
    pub fn hook(mut self, expression: Option<impl Into<Cow<'static, str>>>) -> Self {
        self.changes.hook = expression.map(Into::into);
        self
    }

    /// The final WGSL.
    pub fn text(&self) -> Result<String> {
        specialise(self.kernel.name, self.kernel.source, &self.changes)
    }

    /// Name with the knobs and the hook, as profiles and recordings show it.
    pub fn label(&self) -> String {
        let knobs = self.changes.knobs.iter().map(|(name, value)| format!("{name}={value}"));
        let imports = self.changes.imports.iter().map(|(_, path)| path.trim_start_matches("lib/").replace(".wgsl", ""));
        let blocks = self.changes.enabled.iter().map(|b| b.to_string());
        let hook = self.changes.hook.iter().map(|hook| hook.to_string());
        let parts: Vec<String> = knobs.chain(imports).chain(blocks).chain(hook).collect();
        if parts.is_empty() {
            self.kernel.name.to_string()
        } else {
            format!("{}[{}]", self.kernel.name, parts.join(" "))
        }
    }

    /// Records one run.
    ///
    /// `bindings` follow the order of the binding numbers, `params` is the uniform block, `groups` the number of
    /// workgroups (the shader folds the grid's dimensions back into one index), `work` the estimated number of
    /// floating-point operations or element moves, by which submissions are cut.
    pub fn run(&self, gpu: &Gpu, bindings: &[Binding], params: &[u8], groups: u64, work: f64) -> Result<()> {
        if groups == 0 {
            return Ok(());
        }
        let pipeline = gpu.pipeline(self)?;
        gpu.record(pipeline, bindings, params, groups, work)
    }
}
