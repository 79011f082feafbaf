//! Sets opened from files that are made here.

#![expect(clippy::unwrap_used, reason = "functions that make test files are not tests themselves")]

mod archives;
mod arrays;
mod folders;
mod formats;
mod pictures;
mod real;
