//! A Spark Structured Streaming query that reads one Kafka topic and writes another, as pure state
//! machines: its checkpoint, its driver, its tasks and its sinks.
//!
//! What it leaves to its host: the object store, the Kafka client, timers, and the choice of when
//! the driver dies. It draws no conclusion about brokers or data. Source: Apache Spark 4.x
//! (`MicroBatchExecution`, `HDFSMetadataLog`, `CheckpointFileManager`, `KafkaMicroBatchStream`,
//! `KafkaDataWriter`); the page `docs/spark-handoff.md` says what is simplified.

pub mod checkpoint;
pub mod driver;
pub mod format;
pub mod handoff;
pub mod mutants;
pub mod step;
#[cfg(test)]
mod tests;
