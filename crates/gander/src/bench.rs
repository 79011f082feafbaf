//! How fast this machine trains: known networks, the trainer's own step, and the processor's peak beside it.

mod process;
mod workload;

use std::time::{Duration, Instant};

use gander_tensor::{Cpu, CpuOptions, trace};
use serde::Serialize;

pub use workload::{Run, Workload};

use crate::{diagnosis::median, error::Result};

/// The version of [`Report`].
pub const VERSION: u32 = 1;

/// Steps before the clock runs: caches fill, memory is found.
const WARM_UP: usize = 3;

/// Steps over which fresh pages are counted, after all timed ones.
const COUNTED: usize = 3;

/// What [`bench()`] measured.
///
/// Arithmetic is counted for the direct algorithm, whatever the kernels do: so the share of the peak says how much
/// of the least time is lost, and passes one where an algorithm needs less.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this format.
    pub version: u32,
    /// The workload's name.
    pub workload: Workload,
    /// Precision of multiplications.
    pub precision: String,
    /// Instruction set.
    pub isa: String,
    /// Compute threads.
    pub threads: usize,
    /// Images in a step.
    pub batch: usize,
    /// Milliseconds of a training step, the median.
    pub step_ms: f64,
    /// The fastest and the slowest step, in milliseconds.
    pub step_ms_range: [f64; 2],
    /// Images that a step trains on in a second.
    pub images_per_second: f64,
    /// Milliseconds of a batch of samples, the median.
    pub sample_ms: f64,
    /// Operations of one step, in units of 10⁹.
    pub gflop_per_step: f64,
    /// The algorithm that the operations were counted for: [`Workload::arithmetic`].
    pub arithmetic: &'static str,
    /// 10⁹ operations in a second.
    pub gflops: f64,
    /// The multiply-add peak of these threads, the same unit, measured in this run.
    pub peak_gflops: Option<f64>,
    /// Share of the peak.
    pub peak_share: Option<f64>,
    /// Fresh pages of memory that a step takes from the system after a dozen steps, where the system tells.
    pub page_faults_per_step: Option<f64>,
    /// The most memory that the process held so far, where the system tells.
    pub peak_mib: Option<f64>,
}

/// Times `steps` training steps and as many batches of samples.
///
/// # Errors
/// [`gander_tensor::Error::IsaUnavailable`] for an instruction set that the processor lacks.
pub fn bench(workload: Workload, options: CpuOptions, steps: usize) -> Result<Report> {
    let device = Cpu::with_options(options)?;
    let mut run = Run::new(workload, &device)?;
    for _ in 0..WARM_UP {
        run.step()?;
    }
    let mut step = times(steps, || run.step().map(drop))?;
    let faults_before = process::page_faults();
    for _ in 0..COUNTED {
        run.step()?;
    }
    let faults = process::page_faults().zip(faults_before);
    run.sample()?;
    let mut sample = times(steps, || run.sample())?;
    let peak_gflops = device.peak_operations_per_second().map(|peak| peak / 1e9);
    // Recording holds on to what a step would let go, so it comes last.
    let peak_mib = process::peak_mib();
    let (done, recorded) = trace(|| Ok(run.step()))?;
    done?;

    let gflop_per_step = recorded.flops() as f64 / 1e9;
    let step_ms = median(&mut step);
    let gflops = gflop_per_step / step_ms * 1e3;
    Ok(Report {
        version: VERSION,
        workload,
        precision: format!("{:?}", options.precision).to_lowercase(),
        isa: device.name(),
        threads: device.threads(),
        batch: run.batch(),
        step_ms,
        step_ms_range: [step[0], step[step.len() - 1]],
        images_per_second: run.batch() as f64 / step_ms * 1e3,
        sample_ms: median(&mut sample),
        gflop_per_step,
        arithmetic: workload.arithmetic(),
        gflops,
        peak_gflops,
        peak_share: peak_gflops.map(|peak| gflops / peak),
        page_faults_per_step: faults.map(|(after, before)| (after - before) as f64 / COUNTED as f64),
        peak_mib,
    })
}

/// Milliseconds of each of `count` calls, at least one, ascending.
fn times(count: usize, mut call: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut times = (0..count.max(1))
        .map(|_| {
            let begun = Instant::now();
            call()?;
            Ok(begun.elapsed())
        })
        .collect::<Result<Vec<Duration>>>()?;
    times.sort();
    Ok(times.iter().map(|time| time.as_secs_f64() * 1e3).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_together() {
        let report = bench(Workload::Article28, CpuOptions::default(), 1).unwrap();
        assert_eq!((report.batch, report.workload), (100, Workload::Article28));
        // 93 GFLOP in the published count of this step, which leaves out all but products.
        assert!(
            (91.0..97.0).contains(&report.gflop_per_step),
            "{}",
            report.gflop_per_step
        );
        assert!(report.step_ms > 0.0 && report.sample_ms < report.step_ms);
        assert!((report.gflops * report.step_ms / 1e3 - report.gflop_per_step).abs() < 1e-6);
        if cfg!(target_os = "linux") {
            assert!(report.page_faults_per_step.is_some() && report.peak_mib.is_some());
        }
    }
}
