//! The page that shows a run. (Being written.)

use std::path::{Path, PathBuf};

/// Writes the page.
pub fn write(run: &Path) -> crate::Result<PathBuf> {
    Ok(run.join("report.html"))
}
