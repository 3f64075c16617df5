//! Tasks of the family `algorithmic`.

pub(crate) mod base_conversion;
pub(crate) mod binary_matrix;
pub(crate) mod caesar_cipher;
pub(crate) mod count_primes;
pub(crate) mod game_of_life_halting;
pub(crate) mod graph_color;
pub(crate) mod letter_counting;
pub(crate) mod number_filtering;
pub(crate) mod number_sorting;
pub(crate) mod rotate_matrix;
pub(crate) mod spell_backward;
pub(crate) mod spiral_matrix;
pub(crate) mod string_insertion;
pub(crate) mod word_sorting;
