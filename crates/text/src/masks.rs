//! Which tokens of a text are whose.

use lapidary_core::{Kind, Message, Problem, PromptText, Result, Role};

use crate::{RenderOptions, Tokenizer};

/// Token ids, and which of them are to be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskedTokens {
    /// `[tokens]` ids.
    pub tokens: Vec<u32>,
    /// `[tokens]` whether the token is the assistant's own (its end token included).
    pub mask: Vec<bool>,
}

impl MaskedTokens {
    fn push(&mut self, ids: &[u32], own: bool) {
        self.tokens.extend_from_slice(ids);
        self.mask.resize(self.tokens.len(), own);
    }
}

impl Tokenizer {
    /// Renders a conversation with the model's chat template (T015 where it has none).
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String> {
        let Some(template) = self.template_for(!options.tools.is_empty()) else {
            return Err(Problem::new(Kind::Model, "T015", "this model has no chat template")
                .hint("give the prompt as plain text, or put a chat_template.jinja into the model's directory"));
        };
        template.render(messages, &self.0.specials.named, options)
    }

    /// Ids of a rendered conversation. The template writes its own start token; none is added.
    pub fn encode_chat(&self, messages: &[Message], options: &RenderOptions) -> Result<Vec<u32>> {
        Ok(self.encode(&self.render(messages, options)?))
    }

    /// Ids of a prompt, ready to be continued.
    ///
    /// Messages go through the chat template with its generation prompt where the model has one. Everything else is plain
    /// text, after `bos` where the tokenizer adds one (`add_bos_token`, or else the post-processor of `tokenizer.json`),
    /// as Hugging Face does.
    pub fn encode_prompt(&self, prompt: &PromptText) -> Result<Vec<u32>> {
        match prompt {
            PromptText::Messages(messages) if self.chat_template().is_some() => {
                self.encode_chat(messages, &RenderOptions::prompt())
            }
            _ => Ok(self.encode_plain(&prompt.plain())),
        }
    }

    fn encode_plain(&self, text: &str) -> Vec<u32> {
        let bos = self.bos().filter(|_| self.adds_bos());
        bos.into_iter().chain(self.encode(text)).collect()
    }

    /// A demonstration for SFT: the prompt as [`Tokenizer::encode_prompt`] makes it, then the completion, then the end
    /// token. The mask is over completion and end token.
    ///
    /// Prompt and completion are tokenised apart, as they are when the model answers: no token spans both.
    pub fn encode_example(&self, prompt: &PromptText, completion: &str) -> Result<MaskedTokens> {
        let Some(eos) = self.eos() else {
            return Err(Problem::new(Kind::Model, "T016", "this tokenizer has no end token, so no answer could end")
                .hint("name one as eos_token in tokenizer_config.json"));
        };
        let mut out = MaskedTokens::default();
        out.push(&self.encode_prompt(prompt)?, false);
        out.push(&self.encode_continuation(completion), true);
        out.push(&[eos], true);
        Ok(out)
    }

    /// Ids of a whole conversation and a mask over what the assistant says, end tokens included.
    ///
    /// Each assistant turn is found by rendering the conversation up to it (with the generation prompt) and through it. Its
    /// text is tokenised apart from what is around it, as it is when the model answers. What the template writes after
    /// the end token (a newline, say) is not the assistant's.
    ///
    /// # Errors
    /// T014 where the template writes earlier turns differently once later ones follow (it drops old thoughts, say): no mask
    /// would be right. T017 without an assistant turn. Those of [`Tokenizer::render`].
    pub fn assistant_mask(&self, messages: &[Message], options: &RenderOptions) -> Result<MaskedTokens> {
        let whole_options = RenderOptions { add_generation_prompt: false, ..options.clone() };
        let prompt_options = RenderOptions { add_generation_prompt: true, ..options.clone() };
        let whole = self.render(messages, &whole_options)?;
        let mut out = MaskedTokens::default();
        let mut done = 0;
        for (turn, message) in messages.iter().enumerate() {
            if message.role != Role::Assistant {
                continue;
            }
            let before = self.render(&messages[..turn], &prompt_options).map_err(|problem| at_turn(problem, turn))?;
            let through = self.render(&messages[..=turn], &whole_options).map_err(|problem| at_turn(problem, turn))?;
            if before.len() < done || !through.starts_with(&before) || !whole.starts_with(&through) {
                return Err(rewritten(turn, &before, &through, &whole));
            }
            self.push_between(&mut out, &whole[done..before.len()], done == 0);
            self.push_turn(&mut out, &whole[before.len()..through.len()]);
            done = through.len();
        }
        if done == 0 {
            return Err(Problem::new(Kind::Data, "T017", "the conversation has no assistant turn to learn from"));
        }
        self.push_between(&mut out, &whole[done..], false);
        Ok(out)
    }

    fn push_between(&self, out: &mut MaskedTokens, text: &str, first: bool) {
        let ids = if first { self.encode(text) } else { self.encode_continuation(text) };
        out.push(&ids, false);
    }

    /// A turn is the assistant's up to its last special token, if only blanks follow that; else all of it.
    fn push_turn(&self, out: &mut MaskedTokens, text: &str) {
        let ids = self.encode_continuation(text);
        let end = ids.iter().rposition(|&id| self.is_special(id)).map(|at| at + 1);
        let end = end.filter(|&end| self.decode(&ids[end..]).trim().is_empty()).unwrap_or(ids.len());
        out.push(&ids[..end], true);
        out.push(&ids[end..], false);
    }
}

fn at_turn(problem: Problem, turn: usize) -> Problem {
    problem.context(format!("rendering the conversation up to its assistant turn, message {}", turn + 1))
}

/// Names the turn and shows where the renderings part.
fn rewritten(turn: usize, before: &str, through: &str, whole: &str) -> Problem {
    let (short, long) = if through.starts_with(before) { (through, whole) } else { (before, through) };
    let same = short.chars().zip(long.chars()).take_while(|(a, b)| a == b).count();
    let excerpt = |text: &str| text.chars().skip(same.saturating_sub(20)).take(60).collect::<String>();
    let message = format!("the chat template rewrites what comes before message {}, an assistant turn", turn + 2);
    let (message, why) = if through.starts_with(before) {
        (message, "alone the conversation ends one way, with the later messages the same place reads otherwise")
    } else {
        let message = format!("the chat template does not continue its own prompt at message {}", turn + 1);
        (message, "the prompt that the model is given and the turn as it is written down part ways")
    };
    Problem::new(Kind::Data, "T014", message)
        .why(format!("{why}: {:?} against {:?}", excerpt(short), excerpt(long)))
        .hint("learn the last turn of each conversation only (`turns = \"last\"`), or use a template that never rewrites turns")
}
