//! docker's shapes of a container and an image, as `inspect` prints them. Facts come from the record, the document of the
//! stages, and the options as they were typed.

mod container;
mod image;
mod network;

pub use container::container;
pub use image::image;
pub use network::ports;
