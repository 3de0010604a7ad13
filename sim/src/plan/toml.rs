//! Placeholder: plans as TOML.
