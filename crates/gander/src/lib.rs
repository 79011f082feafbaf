//! Generative adversarial networks: families, losses, training, sampling.
