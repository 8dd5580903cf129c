//! Layers: weights with a forward pass.
