//! Looking into a forward pass: modules show their results under their checkpoint path, and a watcher collects them.
//!
//! Without a watcher this costs a check of a thread-local. `verify` uses it, and so can anyone who wants to see what a
//! block does.

use crate::tensor::Tensor;
use std::cell::RefCell;

thread_local!(static SEEN: RefCell<Option<Vec<(String, Tensor)>>> = const { RefCell::new(None) });

/// Runs `f` and returns what it returned, and every tensor that was shown meanwhile, in order.
pub fn watch<T>(f: impl FnOnce() -> T) -> (T, Vec<(String, Tensor)>) {
    let outer = SEEN.replace(Some(Vec::new()));
    let result = f();
    (result, SEEN.replace(outer).unwrap_or_default())
}

/// Whether somebody watches.
pub fn is_watching() -> bool {
    SEEN.with_borrow(Option::is_some)
}

/// Shows a module's result.
pub fn see(path: &str, x: &Tensor) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(seen) = seen {
            seen.push((path.to_string(), x.clone()));
        }
    });
}
