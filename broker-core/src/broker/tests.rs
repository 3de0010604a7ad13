//! The broker as a whole: with real controllers, over a perfect store, in one process.

mod host;
mod lifecycle;
mod reads;
mod writes;
