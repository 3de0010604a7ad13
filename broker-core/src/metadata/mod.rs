//! The metadata log's records and the image that results from applying them in order.

mod apply;
pub mod digest;
pub mod image;
pub mod record;

pub use image::Image;
pub use record::Record;
