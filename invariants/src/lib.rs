//! What must hold. Judges two kinds of evidence kept apart: what clients saw ([`history`]) and what
//! an all-seeing observer sees ([`view`]).

#![no_std]

extern crate alloc;

pub mod history;
pub mod view;
