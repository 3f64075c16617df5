//! Pure objectives: advantage, ratio, surrogate, aggregate, KL, and the methods made of them.
