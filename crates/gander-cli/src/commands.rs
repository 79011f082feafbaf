//! One file for each verb.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod sample;
pub(crate) mod synthesize;
pub(crate) mod train;
pub(crate) mod translate;
