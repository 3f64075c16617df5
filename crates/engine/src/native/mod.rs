//! Our own forward and backward pass on the CPU.
