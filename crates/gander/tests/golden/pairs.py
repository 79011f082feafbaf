"""Scores of pairs by scikit-image 0.26.0 on NumPy: made, truth and their PSNR and SSIM.

Run: python pairs.py  (writes pairs.safetensors beside itself)
"""
import numpy as np
from pathlib import Path
from safetensors.numpy import save_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

rng = np.random.default_rng(7)
out = {}
for name, (height, width, channels) in {"color": (24, 17, 3), "gray": (9, 31, 1)}.items():
    y, x = np.mgrid[:height, :width]
    wave = 127 + 90 * np.sin(x / 3) * np.cos(y / 4)
    truth = np.repeat(wave[..., None], channels, axis=2)
    truth = np.clip(truth + 10 * np.arange(channels), 0, 255).astype(np.uint8)
    made = np.clip(truth + rng.normal(0, 20, truth.shape), 0, 255).astype(np.uint8)
    psnr = peak_signal_noise_ratio(truth, made, data_range=255)
    ssim = structural_similarity(truth, made, data_range=255, channel_axis=2)
    out[f"{name}.made"], out[f"{name}.truth"] = made, truth
    out[f"{name}.scores"] = np.array([psnr, ssim], dtype=np.float64)
save_file(out, str(Path(__file__).with_name("pairs.safetensors")))
