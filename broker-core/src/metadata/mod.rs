//! The metadata log's records and the image that results from applying them in order.

pub mod image;
pub mod record;

pub use image::Image;
pub use record::Record;
