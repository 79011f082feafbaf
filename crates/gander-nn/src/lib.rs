//! Layers, initializers and optimizers for Gander.
