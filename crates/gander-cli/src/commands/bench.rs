//! `gander bench`: how fast this machine trains.

use std::{
    env,
    fmt::Write,
    process::{Command, ExitCode, Stdio},
};

use anyhow::Context;
use clap::Args;
use gander::bench::{self, Report, Workload};
use gander_tensor::{CpuOptions, Isa};

use crate::{
    screen::{self, Screen},
    text,
    values::{self, PrecisionChoice},
};

/// Time training steps of known networks on this machine
///
/// Every step is that of `gander train`: images, logits, losses, penalties, optimizers, the average. The share of the
/// peak compares the arithmetic that is named, which faster algorithms need less of, with what the processor's multiply-add units
/// could do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander bench                          every workload, one after the other
  gander bench dcgan64 --precision f32  one workload in float32
  gander bench r3gan32 --threads 1 --json")]
pub(crate) struct Arguments {
    /// article28, dcgan64, r3gan32 or cyclegan128; all of them if none is named
    #[arg(value_name = "WORKLOAD", value_parser = values::workload)]
    workload: Option<Workload>,
    /// Precision of multiplications
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionChoice,
    /// Compute threads; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Instruction set: avx512, avx2, neon or portable; the best at hand if absent
    #[arg(long, value_parser = values::isa)]
    isa: Option<Isa>,
    /// Steps to time
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Print one object of JSON for each workload, a line each
    #[arg(long)]
    json: bool,
}

/// Times one workload here, or each of them in a process of its own, so that its memory is its own.
pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    match arguments.workload {
        Some(workload) => time(workload, arguments, screen),
        None => time_all(),
    }
}

fn time(workload: Workload, arguments: &Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    let isa = arguments.isa.unwrap_or_else(Isa::detect);
    let options = CpuOptions {
        threads: arguments.threads,
        isa: arguments.isa,
        precision: arguments
            .precision
            .precision()
            .unwrap_or_else(|| isa.fastest_precision()),
    };
    screen.say(format!("timing {workload}, {}", workload.description()));
    let report = bench::bench(workload, options, arguments.steps.into())?;
    if arguments.json {
        screen::print(&(serde_json::to_string(&report)? + "\n"))?;
    } else {
        screen::print(&describe(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn time_all() -> anyhow::Result<ExitCode> {
    let program = env::current_exe().context("cannot find this program")?;
    // What was typed, with a workload's name behind it.
    let typed: Vec<_> = env::args_os().skip(1).collect();
    for workload in Workload::ALL {
        let status = Command::new(&program)
            .args(&typed)
            .arg(workload.to_string())
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        if !status.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(report: &Report) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| _ = writeln!(lines, "{name:<12} {value}");
    let [fastest, slowest] = report.step_ms_range;
    line(
        &report.workload.to_string(),
        format!(
            "{}, batch {}, {} on {}, {}",
            report.workload.description(),
            report.batch,
            report.precision,
            report.isa,
            text::plural(report.threads as u64, "thread")
        ),
    );
    line(
        "step",
        format!(
            "{:.1} ms ({fastest:.1} to {slowest:.1}), {:.1} images/s",
            report.step_ms, report.images_per_second
        ),
    );
    line("samples", format!("{:.1} ms for a batch", report.sample_ms));
    line(
        "arithmetic",
        format!("{:.1} GFLOP a step ({})", report.gflop_per_step, report.arithmetic),
    );
    let mut speed = format!("{:.0} GFLOP/s", report.gflops);
    if let (Some(peak), Some(share)) = (report.peak_gflops, report.peak_share) {
        speed += &format!(", {:.0} % of the multiply-add peak of {peak:.0}", 100.0 * share);
    }
    line("speed", speed);
    let unknown = || "unknown".to_owned();
    line(
        "memory",
        format!(
            "{} MiB at most, {} fresh pages a step",
            report.peak_mib.map_or_else(unknown, |mib| format!("{mib:.0}")),
            report
                .page_faults_per_step
                .map_or_else(unknown, |faults| format!("{faults:.0}"))
        ),
    );
    lines + "\n"
}
