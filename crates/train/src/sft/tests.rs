use lapidary_text::ChatTemplate;

use super::*;

/// Every turn the same whatever follows: `u:…\n`, `a:…<eos>\n`.
const FAITHFUL: &str = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}\
    {% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}";
/// An assistant turn loses its last character as soon as another message follows.
const REWRITING: &str = "{% for m in messages %}{{ m.role[0] }}:{% if m.role == 'assistant' and not loop.last %}\
    {{ m.content[:-1] }}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}\
    {% if add_generation_prompt %}a:{% endif %}";

fn tokenizer(template: &str) -> Tokenizer {
    Tokenizer::characters().with_chat_template(Some(ChatTemplate::new(template, "chat_template.jinja")))
}

fn conversation() -> Item {
    let messages = [(Role::User, "1+1"), (Role::Assistant, "22"), (Role::User, "3+3"), (Role::Assistant, "44")];
    let mut messages: Vec<Message> = messages.into_iter().map(|(role, text)| Message::new(role, text)).collect();
    messages.push(Message::new(Role::User, "5"));
    Item {
        id: "talks.jsonl:7".into(),
        prompt: PromptText::Messages(messages),
        answer: None,
        completion: Some("66".into()),
        metadata: Default::default(),
    }
}

/// The text that is learned, special tokens as they are written.
fn learned(tokenizer: &Tokenizer, example: &MaskedTokens) -> String {
    let ids: Vec<u32> = example.tokens.iter().zip(&example.mask).filter(|(_, on)| **on).map(|(id, _)| *id).collect();
    tokenizer.decode_with_specials(&ids)
}

#[test]
fn every_turn_of_the_assistant_is_learned_or_the_last_or_everything() {
    let tokenizer = tokenizer(FAITHFUL);
    let of = |what| example(&tokenizer, &conversation(), what).unwrap();
    let all = of((LossOn::Completion, Turns::All));
    assert_eq!(learned(&tokenizer, &all), "22<eos>44<eos>66<eos>");
    let whole = "u:1+1\na:22<eos>\nu:3+3\na:44<eos>\nu:5\na:66<eos>\n";
    assert_eq!(tokenizer.decode_with_specials(&all.tokens), whole);
    let last = of((LossOn::Completion, Turns::Last));
    assert_eq!(learned(&tokenizer, &last), "66<eos>");
    assert_eq!(tokenizer.decode_with_specials(&last.tokens), whole.trim_end());
    let everything = of((LossOn::All, Turns::All));
    assert_eq!(everything.tokens, all.tokens);
    assert_eq!(learned(&tokenizer, &everything), whole[1..], "nothing comes before the first token");
}

#[test]
fn a_plain_prompt_is_learned_from_its_second_token_on_under_all() {
    let tokenizer = Tokenizer::characters();
    let item = Item { prompt: PromptText::Text("2+2=".into()), completion: Some("4".into()), ..conversation() };
    let of = |loss_on| learned(&tokenizer, &example(&tokenizer, &item, (loss_on, Turns::All)).unwrap());
    assert_eq!(of(LossOn::Completion), "4<eos>");
    assert_eq!(of(LossOn::All), "2+2=4<eos>", "all but <bos>");
}

/// The control: the same conversation is fine where the template is faithful.
#[test]
fn a_template_that_rewrites_turns_is_refused_where_it_does() {
    let tokenizer = tokenizer(REWRITING);
    let problem = example(&tokenizer, &conversation(), (LossOn::Completion, Turns::All)).unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Data, "T014"));
    let said = problem.to_string();
    assert!(said.contains("talks.jsonl:7") && said.contains("before message 3"), "{said}");
    assert!(said.contains("turns = \\\"last\\\"") || said.contains("turns = \"last\""), "{said}");
    assert!(example(&tokenizer, &conversation(), (LossOn::Completion, Turns::Last)).is_ok());
}

#[test]
fn several_turns_without_a_template_are_refused() {
    let problem = example(&Tokenizer::characters(), &conversation(), (LossOn::Completion, Turns::All)).unwrap_err();
    assert_eq!(problem.code(), "T015");
    assert!(problem.to_string().contains("talks.jsonl:7"), "{problem}");
}

fn rule() -> EarlyStop {
    let text = "model = \"tiny\"\n[[stage]]\nkind = \"sft\"\ntask = \"chain-sum\"\nsteps = 9\n\
                [stage.early_stop]\npatience = 2\nmin_delta = 0.1";
    let recipe = crate::Recipe::load_text("x.toml".as_ref(), text, &[]).unwrap();
    let crate::recipe::Stage::Sft(sft) = &recipe.stages[0] else { panic!("sft") };
    sft.early_stop.clone().unwrap()
}

/// By hand, with a margin of 0.1: 1.0 is the first, 0.95 is no better, 0.89 is, then two that are not.
#[test]
fn a_loss_is_better_only_by_the_margin() {
    let (rule, mut state) = (rule(), EarlyStopState::default());
    let losses = [1.0, 0.95, 0.89, 0.80, 2.0];
    let better: Vec<bool> = losses.iter().zip(1..).map(|(loss, step)| state.observe(&rule, *loss, step)).collect();
    assert_eq!(better, [true, false, true, false, false]);
    assert_eq!((state.best, state.best_step, state.waited), (Some(0.89), 3, 2));
}
