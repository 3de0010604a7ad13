mod checkpoint;
mod store;
