//! Checkpoints as the field writes them: Hugging Face directories and GGUF files.
