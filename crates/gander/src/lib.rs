//! Generative adversarial networks: families, losses, training, sampling.
//!
//! A generator makes synthetic images, a discriminator judges them, and through that contest both improve.
//!
//! - [`models`]: the families, each its settings, generator and discriminator in one file
//! - [`losses`], [`regularizers`], [`augment`]: pure functions of logits and images
//! - [`train`]: a step as the papers write it, the state, the loop
//! - [`session`]: a whole run, from what a user asks for to the files it leaves
//! - [`shipped`]: the generator file and images from it
//! - [`synthesize`]: new images for a labeled set, and whether they help
//! - [`suite`]: the classic tests of a GAN, whose modes are known
//! - [`translation`]: from one collection of images to another, or from the first picture of a pair to the second
//! - [`features`], [`metrics`]: how good are these images?
//! - [`diagnosis`]: is this training healthy?
//! - [`mod@bench`]: how fast this machine trains
//! - [`run`], [`events`], [`report`], [`images`]: what a run leaves behind and tells on its way

pub mod augment;
pub mod bench;
pub mod diagnosis;
pub mod error;
pub mod events;
pub mod features;
pub mod images;
pub mod losses;
pub mod metrics;
pub mod models;
pub mod regularizers;
pub mod report;
pub mod run;
pub mod session;
pub mod shipped;
pub mod suite;
pub mod synthesize;
pub mod train;
pub mod translation;

pub use error::{Error, Result};
