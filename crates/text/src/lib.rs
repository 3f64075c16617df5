//! Tokenizers, chat templates and the masks that come from them.
