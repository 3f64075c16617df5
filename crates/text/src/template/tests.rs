use std::time::{Duration, Instant};

use super::*;
use lapidary_core::Role;
use serde_json::json;

fn user(text: &str) -> Vec<Message> {
    vec![Message::new(Role::User, text)]
}

fn render(source: &str, messages: &[Message]) -> Result<String> {
    ChatTemplate::new(source, "chat_template.jinja").render(messages, &Vec::new(), &RenderOptions::default())
}

fn rendered(source: &str) -> String {
    render(source, &user("hi")).unwrap()
}

/// Programs that want too much: each must be a typed error, soon, whatever it is.
fn hostile() -> Vec<(&'static str, String)> {
    let deep = |open: &str, close: &str, n: usize| format!("{{{{ {}1{} }}}}", open.repeat(n), close.repeat(n));
    [
        ("nested loops", "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}".to_string()),
        (
            "doubling a text",
            "{% set n = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
                .to_string(),
        ),
        ("a macro that calls itself", "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}".to_string()),
        (
            "two macros that call each other twice",
            "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(0) }}".to_string(),
        ),
        ("a template that includes itself", "{% include 'chat_template' %}".to_string()),
        ("a loop that recurses", "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_string()),
        ("a huge repeat", "{{ 'abcdefgh' * 999999999 }}".to_string()),
        ("a huge range", "{{ range(999999999999)|list|length }}".to_string()),
        ("parentheses without end", deep("(", ")", 100_000)),
        ("lists in lists without end", deep("[", "]", 100_000)),
        ("blocks in blocks without end", "{% if true %}".repeat(50_000)),
        ("a join that grows", "{{ (range(9999)|list)|join('y' * 99999) }}".to_string()),
        ("a replace that grows", "{{ ('a' * 99999)|replace('a', 'b' * 99999) }}".to_string()),
        (
            "a filler of great width",
            "{{ '%999999999d'|format(1) }}{{ 'x'|indent(999999999) }}{{ ''.join(['a'] * 99999999) }}".to_string(),
        ),
        ("padding by format", "{{ '{:>999999999}'.format('x') }}".to_string()),
        ("padding by format, computed", "{{ '{:>{}}'.format('x', 999999999) }}".to_string()),
        ("padding by the filter", "{{ '%*d'|format(999999999, 1) }}".to_string()),
        ("padding by a filter", "{{ 'x'|center(999999999) }}{{ 'x'|wordwrap(1) }}".to_string()),
        (
            "a value nested by a loop",
            "{% set n = namespace(s=[]) %}{% for i in range(90000) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}"
                .to_string(),
        ),
        (
            "a nested value as JSON",
            "{% set n = namespace(s=[]) %}{% for i in range(900) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s|tojson }}"
                .to_string(),
        ),
        ("a filter that does not exist", "{{ 1|system }}".to_string()),
        ("a file", "{% include '/etc/passwd' %}".to_string()),
        ("an import", "{% import 'os' as os %}{{ os.system('id') }}".to_string()),
        ("Python's back door", "{{ ''.__class__.__mro__[1].__subclasses__() }}".to_string()),
    ]
    .into()
}

#[test]
fn hostile_templates_are_typed_errors_soon() {
    let mut slowest = (Duration::ZERO, "");
    for (name, source) in hostile() {
        let start = Instant::now();
        let problem = render(&source, &user("hi")).expect_err(name);
        let took = start.elapsed();
        assert!(["T010", "T011", "T012"].contains(&problem.code()), "{name}: {problem:?}");
        assert!(problem.to_string().len() < 2_000, "{name}: {} bytes of message", problem.to_string().len());
        println!("{name}: {} in {took:?}: {}", problem.code(), problem.message());
        slowest = slowest.max((took, name));
        assert!(took < Duration::from_millis(500), "{name} took {took:?}");
    }
    println!("slowest: {slowest:?}");
}

#[test]
fn values_nested_as_deep_as_the_most_fuel_allows_are_dropped_safely() {
    let messages = vec![Message::new(Role::User, "x".repeat(50_000)); 4_000];
    let source = "{% set n = namespace(s=[]) %}{% for a in range(9999) %}{% for b in range(9999) %}{% set n.s = [n.s] %}{% endfor %}{% endfor %}";
    assert_eq!(render(source, &messages).unwrap_err().code(), "T012");
}

#[test]
fn an_honest_long_chat_passes_where_a_hostile_one_does_not() {
    let chat = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | trim + '<|im_end|>' + '\\n' }}{% endfor %}";
    for (turns, bytes) in [(1, 4_000_000), (5_000, 40), (2_000, 2_000)] {
        let messages = vec![Message::new(Role::User, "y".repeat(bytes)); turns];
        let text = render(chat, &messages).unwrap();
        assert_eq!(text.len(), turns * (bytes + "<|im_start|>user\n<|im_end|>\n".len()));
    }
    // The control: the same input, and a template that writes it a hundred times over.
    let hostile = format!("{{% for i in range(100) %}}{chat}{{% endfor %}}");
    assert_eq!(render(&hostile, &vec![Message::new(Role::User, "y".repeat(2_000)); 2_000]).unwrap_err().code(), "T012");
}

#[test]
fn output_is_bounded() {
    let source = "{% for i in range(10) %}{% for m in messages %}{{ m.content }}{% endfor %}{% endfor %}";
    let problem = render(source, &vec![Message::new(Role::User, "z".repeat(1_000_000)); 4]).unwrap_err();
    assert_eq!(problem.code(), "T012");
    let long = " ".repeat(limits::TEMPLATE_BYTES + 1);
    assert_eq!(render(&long, &user("")).unwrap_err().code(), "T012");
}

#[test]
fn json_is_written_as_python_writes_it() {
    let mut message = Message::new(Role::User, "é<&'\"\n\u{1}");
    message.extra.insert("z".into(), json!({"b": [1, 2.0, null, true], "a": {}, "c": []}));
    let render = |source: &str| render(source, std::slice::from_ref(&message)).unwrap();
    assert_eq!(render("{{ messages[0].content | tojson }}"), r#""é<&'\"\n\u0001""#);
    assert_eq!(render("{{ messages[0].content | tojson(ensure_ascii=true) }}"), r#""\u00e9<&'\"\n\u0001""#);
    assert_eq!(render("{{ messages[0].z | tojson }}"), r#"{"b": [1, 2.0, null, true], "a": {}, "c": []}"#);
    assert_eq!(
        render("{{ messages[0].z | tojson(sort_keys=true, separators=[',', ':']) }}"),
        r#"{"a":{},"b":[1,2.0,null,true],"c":[]}"#
    );
    let indented = "{\n  \"b\": [\n    1,\n    2.0,\n    null,\n    true\n  ],\n  \"a\": {},\n  \"c\": []\n}";
    assert_eq!(render("{{ messages[0].z | tojson(indent=2) }}"), indented);
    let emoji = vec![Message::new(Role::User, "🙂")];
    let escaped = super::tests::render("{{ messages[0].content | tojson(ensure_ascii=true) }}", &emoji).unwrap();
    assert_eq!(escaped, r#""\ud83d\ude42""#);
}

#[test]
fn python_words_are_printed_as_python_prints_them() {
    assert_eq!(rendered("{{ none }} {{ true }} {{ 1.0 }} {{ [1, 'a', none] }}"), "None True 1.0 [1, 'a', None]");
    assert_eq!(rendered("{{ 'a,b'.split(',')[-1].upper() }}{{ messages[-1].content.startswith('h') }}"), "BTrue");
    assert_eq!(
        rendered("{{ tools is none }}{{ documents is none }}{{ absent is defined }}{{ absent }}"),
        "TrueTrueFalse"
    );
    assert_eq!(rendered("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"), "012");
}

#[test]
fn blocks_take_their_line_with_them() {
    assert_eq!(rendered("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
}

#[test]
fn generation_marks_are_invisible() {
    let marked = "x\n{%- generation -%}\n  {{ messages[0].content }}\n{%- endgeneration %}\ny";
    let plain = "x\n{%- if true -%}\n  {{ messages[0].content }}\n{%- endif %}\ny";
    assert_eq!(rendered(marked), rendered(plain));
    assert_eq!(rendered("{% generation %}{{ 1 }}{% endgeneration %}{{ '{% generation' }}"), "1{% generation");
}

#[test]
fn the_clock_is_the_one_that_is_given() {
    assert_eq!(rendered("{{ strftime_now('%d %b %Y') }}"), "26 Jul 2024");
    let options = RenderOptions { clock: 0, ..RenderOptions::default() };
    let template = ChatTemplate::new("{{ strftime_now('%Y') }}", "t");
    assert_eq!(template.render(&user(""), &Vec::new(), &options).unwrap(), "1970");
}

#[test]
fn problems_name_the_line_of_the_template() {
    let broken = render("a\n{% for m in messages %}\n{% endif %}\n", &user("")).unwrap_err();
    assert_eq!((broken.code(), broken.place().unwrap().line), ("T010", 3), "{broken}");
    let failing = render("a\n\n  {{ messages[0].content.nothing() }}\n", &user("")).unwrap_err();
    let place = failing.place().unwrap();
    assert_eq!((failing.code(), place.line, place.column), ("T011", 3, 3), "{failing}");
    let raised = render("{{ raise_exception('roles must alternate') }}", &user("")).unwrap_err();
    assert_eq!((raised.code(), raised.kind()), ("T013", Kind::Data));
    assert!(raised.message().ends_with("roles must alternate"), "{raised}");
    let nested = render("{% macro f() %}{{ raise_exception('no') }}{% endmacro %}{{ f() }}", &user("")).unwrap_err();
    assert_eq!(nested.code(), "T013");
}

#[test]
fn keys_keep_the_order_of_the_data() {
    let mut message = Message::new(Role::Assistant, "");
    message.extra.insert("zebra".into(), json!(1));
    message.extra.insert("ant".into(), json!(2));
    let keys = render("{% for key in messages[0] %}{{ key }} {% endfor %}", &[message]).unwrap();
    assert_eq!(keys, "role content zebra ant ");
}
