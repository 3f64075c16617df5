//! Data sets as people have them, and every way in which they can be broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapidary_core::{Item, Kind, PromptText, Result, Role};
use lapidary_task::{Split, Task, TaskSpec, build};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

fn load(spec: Value) -> Result<Box<dyn Task>> {
    build(&serde_json::from_value::<TaskSpec>(spec).unwrap(), 1)
}

fn items(task: &dyn Task, split: Split) -> Vec<Item> {
    (0..task.len(split).unwrap() as u64).map(|index| task.item(split, index).unwrap()).collect()
}

fn file(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn only(spec: Value) -> Item {
    let task = load(spec).unwrap();
    assert_eq!((task.len(Split::Train), task.answer_reward()), (Some(1), "answer"));
    task.item(Split::Train, 0).unwrap()
}

#[test]
fn gsm8k_reads_as_it_is() {
    let Some(data) = std::env::var_os("LAPIDARY_DATA") else { return println!("skipped: LAPIDARY_DATA is not set") };
    let path = PathBuf::from(data).join("gsm8k");
    let task = load(json!({"path": path, "strip_annotations": true, "suffix": " End with ####."})).unwrap();
    assert_eq!((task.len(Split::Train), task.len(Split::Test)), (Some(7473), Some(1319)));
    let item = task.item(Split::Train, 0).unwrap();
    assert_eq!((item.answer.as_deref(), item.id.as_str()), (Some("72"), "train.jsonl.gz:1"));
    assert!(
        item.prompt.plain().starts_with("Natalia sold clips") && item.prompt.plain().ends_with("May? End with ####.")
    );
    assert!(item.completion.unwrap().ends_with("= 72 clips altogether in April and May.\n#### 72"));
    let single = load(json!({"path": path.join("train.jsonl.gz"), "limit": 100, "test_fraction": 0.0})).unwrap();
    assert_eq!((single.len(Split::Train), single.len(Split::Test)), (Some(100), Some(0)));
    let both = load(json!({"path": path.join("train.jsonl.gz"), "test_path": path.join("test.jsonl.gz"), "limit": 10}));
    assert_eq!(both.unwrap().len(Split::Test), Some(10));
}

#[test]
fn the_usual_column_names_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    for (line, answer, completion) in [
        (r#"{"prompt":"6*12?","answer":72}"#, Some("72"), Some("72")),
        (r#"{"question":"6*12?","solution":"it is \\boxed{72}"}"#, Some("72"), Some("it is \\boxed{72}")),
        (r#"{"problem":"6*12?","ground_truth":"72","response":"72!"}"#, Some("72"), Some("72!")),
        (r#"{"prompt":"6*12?","reward_model":{"style":"rule","ground_truth":"72"}}"#, Some("72"), Some("72")),
        (
            r#"{"prompt":[{"role":"user","content":"6*12?"}],"completion":[{"role":"assistant","content":"72"}]}"#,
            None,
            Some("72"),
        ),
        (r#"{"messages":[{"role":"user","content":"6*12?"},{"role":"assistant","content":"72"}]}"#, None, Some("72")),
        (r#"{"prompt":"6*12?","answer":null}"#, None, None),
    ] {
        let path = file(folder.path(), "x.jsonl", line);
        let item = only(json!({"path": path}));
        assert_eq!(item.prompt.plain(), "6*12?", "{line}");
        assert_eq!((item.answer.as_deref(), item.completion.as_deref()), (answer, completion), "{line}");
    }
}

#[test]
fn options_choose_columns_and_wording() {
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"q":"6*12?","meta":{"a":"72"},"cot":"think","level":3,"metadata":{"numbers":[6,12]}}"#;
    let path = file(folder.path(), "x.jsonl", line);
    let spec = json!({"path": path, "prompt": "q", "answer": "meta.a", "completion": "cot", "system": "Be brief.",
                      "template": "Q: {question}\nA:", "suffix": " "});
    let item = only(spec.clone());
    let PromptText::Messages(messages) = &item.prompt else { panic!("{item:?}") };
    assert_eq!((messages[0].role, messages[0].content.as_str()), (Role::System, "Be brief."));
    assert_eq!((messages[1].role, messages[1].content.as_str()), (Role::User, "Q: 6*12?\nA: "));
    assert_eq!((item.answer.as_deref(), item.completion.as_deref()), (Some("72"), Some("think")));
    assert_eq!(json!(item.metadata), json!({"meta": {"a": "72"}, "level": 3, "numbers": [6, 12]}));
    let mut bare = spec;
    bare["chat"] = json!(false);
    assert_eq!(only(bare).prompt, PromptText::Text("Be brief.\n\nQ: 6*12?\nA: ".into()));
    assert_eq!(load(json!({"path": path, "template": "no place"})).err().unwrap().code(), "D022");
}

#[test]
fn broken_files_say_where() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"{"prompt":"a","answer":"b"}"#;
    for (bytes, code, line, column) in [
        (format!("{good}\n{{\"prompt\": tru}}\n").into_bytes(), "D002", 2, 15),
        (format!("{good}\n{{\"prompt\":\"a\",\"answer\":[1]}}").into_bytes(), "D003", 2, 15),
        (format!("{good}\n\n{{\"promt\":\"a\"}}").into_bytes(), "D004", 3, 1),
        (br#"{"prompt":7}"#.to_vec(), "D003", 1, 2),
        (br#"{"prompt":[{"role":"king","content":"x"}]}"#.to_vec(), "D003", 1, 2),
        (br#"{"prompt":[{"role":"system","content":"x"}]}"#.to_vec(), "D003", 1, 2),
        (b"{\"prompt\":\"\xff\"}".to_vec(), "D005", 1, 12),
        (br#"{"prompt":"a","prompt":"b"}"#.to_vec(), "D002", 1, 22),
    ] {
        let path = file(folder.path(), "x.jsonl", &bytes);
        let problem = load(json!({"path": path})).err().unwrap();
        let place = problem.place().unwrap();
        assert_eq!((problem.code(), problem.kind()), (code, Kind::Data), "{problem}");
        assert_eq!((place.path.as_path(), place.line, place.column), (path.as_path(), line, column), "{problem}");
    }
    let path = file(folder.path(), "x.jsonl", "{\"promt\":\"a\"}");
    assert_eq!(load(json!({"path": path})).err().unwrap().advice(), Some("did you mean `promt` to be `prompt`?"));
    let problem = load(json!({"path": path, "prompt": "promt", "answer": "anwser"})).err().unwrap();
    assert!(problem.message().contains("column `anwser`"), "{problem}");
    for (name, bytes, code) in [
        ("e.jsonl", &b""[..], "D007"),
        ("b.jsonl", b"\n \n", "D007"),
        ("x.xlsx", b"a,b", "D010"),
        ("x.csv", b"prompt,answer\n1,2,3\n", "D097"),
        ("p.parquet", b"", "D008"),
    ] {
        let path = file(folder.path(), name, bytes);
        let problem = load(json!({"path": path})).err().unwrap();
        assert_eq!((problem.code(), problem.kind()), (code, Kind::Data), "{problem}");
    }
    assert_eq!(load(json!("no/such/file.jsonl")).err().unwrap().code(), "D001");
}

#[test]
fn packed_lines_are_read_and_a_torn_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for row in 0..500 {
        writeln!(packer, "{{\"prompt\":\"q{row}\",\"answer\":\"{row}\"}}").unwrap();
    }
    let bytes = packer.finish().unwrap();
    let path = file(folder.path(), "train.jsonl.gz", &bytes);
    let task = load(json!({"path": path, "test_fraction": 0})).unwrap();
    assert_eq!(task.item(Split::Train, 499).unwrap().prompt.plain(), "q499");
    let problem = task.item(Split::Train, 500).unwrap_err();
    assert_eq!(problem.code(), "D011");
    let torn = file(folder.path(), "torn.jsonl.gz", &bytes[..bytes.len() - 20]);
    assert_eq!(load(json!({"path": torn})).err().unwrap().kind(), Kind::Data);
    let plain = file(folder.path(), "plain.jsonl.gz", b"{\"prompt\":\"a\"}");
    assert_eq!(load(json!({"path": plain})).err().unwrap().code(), "D001");
}

#[test]
fn a_single_file_is_split_by_the_hash_of_the_question() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<String> = (0..1000).map(|row| format!("{{\"prompt\":\"q{}\"}}", row % 500)).collect();
    let path = file(folder.path(), "a.jsonl", rows.join("\n"));
    let task = load(json!({"path": path, "test_fraction": 0.2})).unwrap();
    let prompts = |task: &dyn Task, split| -> std::collections::BTreeSet<String> {
        items(task, split).iter().map(|item| item.prompt.plain()).collect()
    };
    let (train, test) = (prompts(&*task, Split::Train), prompts(&*task, Split::Test));
    assert_eq!(train.intersection(&test).count(), 0);
    assert_eq!(train.len() + test.len(), 500);
    assert!((70..=130).contains(&test.len()), "{}", test.len());
    let reversed: Vec<String> = rows.into_iter().rev().collect();
    let other = file(folder.path(), "b.jsonl", reversed.join("\n"));
    assert_eq!(prompts(&*load(json!({"path": other, "test_fraction": 0.2})).unwrap(), Split::Test), test);
    let two = file(folder.path(), "c.jsonl", "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}");
    let task = load(json!({"path": two})).unwrap();
    assert_eq!((task.len(Split::Train), task.len(Split::Test)), (Some(1), Some(1)), "neither side is empty");
}

/// A row as verl ships them: the prompt a list of messages, the answer inside a struct.
#[test]
fn parquet_with_messages_and_nested_columns() {
    let folder = tempfile::tempdir().unwrap();
    let schema = "message rows {
        optional group prompt (LIST) { repeated group list { optional group element {
            optional binary role (UTF8); optional binary content (UTF8);
        } } }
        optional group reward_model { optional binary ground_truth (UTF8); }
    }";
    // Cells, how deeply each is defined, and where a list goes on (1) or a row begins (0).
    type Column = (&'static [&'static str], &'static [i16], Option<&'static [i16]>);
    let columns: [Column; 3] = [
        (&["system", "user", "user"], &[4, 4, 4], Some(&[0, 1, 0])),
        (&["Be brief.", "6*12?", "1+1?"], &[4, 4, 4], Some(&[0, 1, 0])),
        (&["72", "2"], &[2, 2], None),
    ];
    let path = folder.path().join("train-00000-of-00001.parquet");
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(std::fs::File::create(&path).unwrap(), schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (cells, definition, repetition) in columns {
        let cells: Vec<ByteArray> = cells.iter().map(|cell| ByteArray::from(*cell)).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&cells, Some(definition), repetition).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let task = load(json!({"path": folder.path(), "test_fraction": 0})).unwrap();
    let items = items(&*task, Split::Train);
    assert_eq!(items[0].prompt.plain(), "Be brief.\n6*12?");
    assert_eq!((items[1].answer.as_deref(), items[1].id.as_str()), (Some("2"), "train-00000-of-00001.parquet:2"));
    let problem = load(json!({"path": path, "answer": "reward_modle.ground_truth"})).err().unwrap();
    assert_eq!((problem.code(), problem.kind()), ("D004", Kind::Data), "{problem}");
}

/// Prompt, chosen, rejected and label of the only row of a file.
fn comparison(line: &str, options: Value) -> (PromptText, Value, Value, Option<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = json!({"path": file(folder.path(), "pairs.jsonl", line)});
    spec.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let item = only(spec);
    let of = |key: &str| item.metadata.get(key).cloned().unwrap_or_default();
    assert_eq!(item.completion.as_deref(), of("chosen").as_str());
    (item.prompt.clone(), of("chosen"), of("rejected"), of("label").as_f64())
}

#[test]
fn comparisons_are_read_in_every_usual_shape() {
    let shapes = [
        r#"{"prompt":"why?","chosen":"so","rejected":"no"}"#,
        r#"{"prompt":[{"role":"user","content":"why?"}],"chosen":[{"role":"assistant","content":"so"}],"rejected":[{"role":"assistant","content":"no"}]}"#,
        r#"{"messages":[{"role":"user","content":"why?"}],"chosen":"so","rejected":"no"}"#,
        r#"{"chosen":[{"role":"user","content":"why?"},{"role":"assistant","content":"so"}],"rejected":[{"role":"user","content":"why?"},{"role":"assistant","content":"no"}]}"#,
        r#"{"prompt":"why?","chosen":[{"role":"user","content":"why?"},{"role":"assistant","content":"so"}],"rejected":[{"role":"user","content":"why?"},{"role":"assistant","content":"no"}]}"#,
        r#"{"chosen":"\n\nHuman: why?\n\nAssistant: so","rejected":"\n\nHuman: why?\n\nAssistant: no"}"#,
        r#"{"prompt":"why?","response_a":"no","response_b":"so","winner":"model_b"}"#,
        r#"{"prompt":"why?","response_0":"so","response_1":"no","better_response_id":0}"#,
        r#"{"instruction":"why?","input":"","response1":"no","response2":"so","annotator1":2,"annotator2":2}"#,
    ];
    let asked = PromptText::Messages(vec![lapidary_core::Message::new(Role::User, "why?")]);
    for line in shapes {
        let (prompt, chosen, rejected, label) = comparison(line, json!({}));
        assert_eq!((prompt, chosen, rejected, label), (asked.clone(), json!("so"), json!("no"), None), "{line}");
    }
    let (prompt, ..) = comparison(shapes[5], json!({"chat": false}));
    assert_eq!(prompt, PromptText::Text("\n\nHuman: why?\n\nAssistant:".into()));
    let label = |line: &str| comparison(line, json!({})).3;
    assert_eq!(label(r#"{"prompt":"?","chosen":"a","rejected":"b","label":0.8}"#), Some(0.8));
    assert_eq!(label(r#"{"prompt":"?","response1":"a","response2":"b","annotator1":1,"annotator2":0}"#), Some(0.75));
    let (_, chosen, rejected, label) =
        comparison(r#"{"prompt":"?","chosen":"a","rejected":"b","label":0.2}"#, json!({}));
    assert_eq!((chosen, rejected, label), (json!("b"), json!("a"), Some(0.8)), "the likelier one is the chosen");
}

#[test]
fn a_comparison_that_is_none_is_refused_where_it_stands() {
    for (line, code) in [
        (r#"{"chosen":"yes","rejected":"no"}"#, "D004"),
        (r#"{"prompt":"?","chosen":"a","rejected":"b","label":1.5}"#, "D003"),
        (r#"{"prompt":"?","response_a":"a","response_b":"b"}"#, "D004"),
        (r#"{"prompt":"?","response_a":"a","response_b":"b","winner":"both"}"#, "D003"),
        (
            r#"{"chosen":[{"role":"user","content":"x"},{"role":"assistant","content":"so"}],"rejected":[{"role":"user","content":"y"},{"role":"assistant","content":"no"}]}"#,
            "D065",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let problem = load(json!({"path": file(folder.path(), "pairs.jsonl", line)})).err().unwrap();
        assert_eq!((problem.kind(), problem.code()), (Kind::Data, code), "{line}: {problem}");
    }
}

#[test]
fn real_comparisons_read_as_they_are() {
    let Some(data) = std::env::var_os("LAPIDARY_DATA") else { return println!("skipped: LAPIDARY_DATA is not set") };
    for (name, rows) in
        [("hh_harmless_base_test", 2312), ("llmbar", 419), ("oasst_rank_pairs", 754), ("pandalm_testset", 999)]
    {
        let path = PathBuf::from(&data).join(format!("preference/{name}.jsonl.gz"));
        let task = load(json!({"path": path, "test_fraction": 0.1})).unwrap();
        let (train, test) = (items(&*task, Split::Train), items(&*task, Split::Test));
        assert_eq!(train.len() + test.len(), rows, "{name}");
        assert!(
            train
                .iter()
                .chain(&test)
                .all(|item| item.metadata["chosen"].is_string() && item.metadata["rejected"].is_string())
        );
        let prompts: std::collections::HashSet<String> = train.iter().map(|item| item.prompt.plain()).collect();
        assert!(test.iter().all(|item| !prompts.contains(&item.prompt.plain())), "{name}: a prompt is on both sides");
        println!("{name}: {} train, {} test", train.len(), test.len());
    }
}
