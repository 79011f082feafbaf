//! Weights and arrays in and out, read as untrusted bytes.
