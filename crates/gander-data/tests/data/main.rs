//! Sets opened from files that are made here.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "functions that serve tests are not tests themselves"
)]

mod archives;
mod arrays;
mod check;
mod folders;
mod formats;
mod pictures;
mod real;
