//! Where prompts come from: data sets and procedural tasks.
