//! Accuracy with intervals, pass@k, paired comparison.
