mod checkpoint;
mod planted;
mod query;
mod search;
mod store;
mod table;
mod world;
