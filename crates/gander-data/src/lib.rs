//! Datasets of images for Gander.
