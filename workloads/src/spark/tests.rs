mod checkpoint;
mod query;
mod search;
mod store;
mod table;
mod world;
