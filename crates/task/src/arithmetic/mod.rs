//! Tasks of the family `arithmetic`.

pub(crate) mod basic_arithmetic;
pub(crate) mod chain_sum;
pub(crate) mod count_bits;
pub(crate) mod decimal_chain_sum;
pub(crate) mod fraction_simplification;
pub(crate) mod gcd;
pub(crate) mod gsm_symbolic;
pub(crate) mod lcm;
pub(crate) mod leg_counting;
pub(crate) mod prime_factorization;
pub(crate) mod products;
