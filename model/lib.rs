//! A model of how rowfall writes exactly once into ClickHouse.

pub mod broker;
pub mod claim;
pub mod goal;
pub mod mutant;
pub mod process;
pub mod system;
pub mod table;

#[cfg(test)]
mod tests;
