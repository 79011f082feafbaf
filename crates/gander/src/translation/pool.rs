//! Earlier fakes that a judge is shown again.

use gander_nn::{Init, Parameters, Scope};
use gander_tensor::{DeviceRef, RandomKey, Tensor, concat};

use crate::{error::Result, models::ImageSpec};

/// A pool of earlier fakes, half of which are shown to the judge in place of new ones, so that it does not forget.
///
/// # Source
/// Shrivastava et al. 2017, <https://arxiv.org/abs/1612.07828>, section 2.3; in the form of CycleGAN, section 4: 50
/// images, one in, one out.
#[derive(Debug)]
pub struct ImagePool {
    /// The images, as buffers named `0`, `1`, …, and how many of them are filled, `filled`.
    tensors: Parameters,
    size: usize,
}

impl ImagePool {
    /// An empty pool of `size` images; with 0 it lets everything through.
    pub fn new(size: usize, images: ImageSpec, device: &DeviceRef) -> Result<Self> {
        let mut tensors = Parameters::default();
        let mut scope = Scope::new(&mut tensors, RandomKey::from_seed(0), device);
        for index in 0..size {
            let shape = [1, images.height_px, images.width_px, images.channels];
            scope.buffer(&index.to_string(), shape, Init::ZEROS)?;
        }
        scope.buffer("filled", [1], Init::ZEROS)?;
        Ok(Self { tensors, size })
    }

    /// Its named tensors.
    pub fn tensors(&self) -> &Parameters {
        &self.tensors
    }

    /// Puts fakes in. While there is room, they come back; then each comes back half of the time, and else an earlier
    /// one whose place it takes.
    ///
    /// # Shapes
    /// - `fakes`: `[batch, height, width, channels]`; returns the same
    pub fn exchange(&self, fakes: &Tensor, key: RandomKey) -> Result<Tensor> {
        if self.size == 0 {
            return Ok(fakes.clone());
        }
        let shown = (0..fakes.side(0)).map(|index| {
            let fake = fakes.slice(0, index, index + 1)?.detach();
            self.exchange_one(fake, key.split(index as u64))
        });
        let shown = shown.collect::<Result<Vec<Tensor>>>()?;
        Ok(concat(&shown.iter().collect::<Vec<_>>(), 0)?)
    }

    fn exchange_one(&self, fake: Tensor, key: RandomKey) -> Result<Tensor> {
        let Some(filled) = self.tensors.get("filled") else {
            return Ok(fake);
        };
        let count = filled.get().item()? as usize;
        let is_full = count == self.size;
        let place = if is_full {
            (key.named("place").uniform() * self.size as f64) as usize
        } else {
            count
        };
        let Some(slot) = self.tensors.get(&place.to_string()) else {
            return Ok(fake);
        };
        if !is_full {
            slot.set(&fake)?;
            filled.set(&Tensor::full((count + 1) as f32, [1], fake.device())?)?;
            return Ok(fake);
        }
        if key.named("coin").uniform() < 0.5 {
            return Ok(fake);
        }
        let earlier = slot.get();
        slot.set(&fake)?;
        Ok(earlier)
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    fn pool(size: usize) -> ImagePool {
        let images = ImageSpec {
            height_px: 1,
            width_px: 1,
            channels: 1,
            num_classes: 0,
        };
        ImagePool::new(size, images, &Reference::shared()).unwrap()
    }

    fn exchange(pool: &ImagePool, values: &[f32], seed: u64) -> Vec<f32> {
        let fakes = Tensor::from_slice(values, [values.len(), 1, 1, 1], &Reference::shared()).unwrap();
        pool.exchange(&fakes, RandomKey::from_seed(seed))
            .unwrap()
            .to_vec()
            .unwrap()
    }

    #[test]
    fn it_fills_before_it_exchanges() {
        let pool = pool(3);
        assert_eq!(exchange(&pool, &[1.0, 2.0, 3.0], 0), [1.0, 2.0, 3.0]);
        assert_eq!(pool.tensors().get("filled").unwrap().get().item().unwrap(), 3.0);
    }

    #[test]
    fn half_of_what_comes_out_is_earlier_and_nothing_comes_twice() {
        let pool = pool(50);
        let mut out = Vec::new();
        for step in 0..1000u16 {
            out.extend(exchange(&pool, &[f32::from(step)], step.into()));
        }
        let earlier = out
            .iter()
            .enumerate()
            .filter(|&(step, &value)| value < step as f32)
            .count();
        assert!((430..540).contains(&earlier), "{earlier} of 950 were earlier ones");
        let mut sorted = out.clone();
        sorted.sort_by(f32::total_cmp);
        sorted.dedup();
        // The first fifty come back at once, and once more when they are exchanged.
        assert!(sorted.len() >= 950, "{} different", sorted.len());
    }

    #[test]
    fn without_places_it_lets_everything_through() {
        assert_eq!(exchange(&pool(0), &[5.0, 6.0], 1), [5.0, 6.0]);
    }
}
