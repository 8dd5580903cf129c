//! The one error type. Every variant names what was wanted and what was there, so that one line on stderr is enough.

use std::path::{Path, PathBuf};

/// What can go wrong, as a caller sees it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No usable adapter, or none that matches the wanted name.
    #[error("no GPU adapter: {0}")]
    NoAdapter(String),
    /// The driver refused something or gave up (validation, lost device).
    #[error("{what}: the GPU driver reports: {why}")]
    Gpu {
        /// What was being done.
        what: String,
        /// The driver's words.
        why: String,
    },
    /// Device memory is used up.
    #[error("out of device memory: {0}")]
    OutOfMemory(String),
    /// An operand has the wrong shape.
    #[error("{op}: {operand} should be {want}, but is {got}")]
    Shape {
        /// Operation.
        op: String,
        /// Operand of the operation.
        operand: String,
        /// Wanted shape, in axis letters or numbers.
        want: String,
        /// Shape that was given.
        got: String,
    },
    /// An operand has the wrong element type.
    #[error("{op}: {operand} should hold {want}, but holds {got}")]
    DType {
        /// Operation.
        op: String,
        /// Operand of the operation.
        operand: String,
        /// Wanted element type.
        want: String,
        /// Element type that was given.
        got: String,
    },
    /// Something exceeds a limit of the adapter or of this program.
    #[error("{what} needs {need}, over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size, with unit.
        need: String,
        /// The limit, with unit.
        limit: String,
    },
    /// A shader could not be specialised or compiled.
    #[error("shader {kernel}: {why}")]
    Shader {
        /// Kernel name.
        kernel: String,
        /// Reason.
        why: String,
    },
    /// A gradient was asked of an operation that has none.
    #[error("{0} has no backward pass, but one of its inputs needs a gradient")]
    NoBackward(String),
    /// A file cannot be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// Bytes are not what their format says.
    #[error("{what}: {why}")]
    Format {
        /// What was being read.
        what: String,
        /// Reason.
        why: String,
    },
    /// Tensors that the model needs are not in the checkpoint.
    #[error("tensor {0} is not in the checkpoint")]
    MissingTensor(String),
    /// What the user asked for cannot be done as asked.
    #[error("{0}")]
    Input(String),
    /// The user cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A file error, with the reason as one line.
    pub fn file(path: impl AsRef<Path>, why: impl std::fmt::Display) -> Self {
        Error::File { path: path.as_ref().to_path_buf(), why: why.to_string() }
    }

    /// A format error, with the reason as one line.
    pub fn format(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Error::Format { what: what.into(), why: why.to_string() }
    }
}
