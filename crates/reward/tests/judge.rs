//! The `judge` reward against a server that answers, lingers, breaks, refuses, floods and lies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lapidary_core::{Kind, Verdict};
use lapidary_reward::{Attempt, build};
use serde_json::{Map, Value, json};

/// A request as it came: headers in lower case, and the body.
type Request = (String, Value);

/// A server on this machine that lets `answer` write to each connection; requests are counted from 0.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    most_at_once: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (open, most_at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (answer, kept, most) = (Arc::new(answer), Arc::clone(&requests), Arc::clone(&most_at_once));
        // ends with the test's process
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, kept, open, most) =
                    (Arc::clone(&answer), Arc::clone(&kept), Arc::clone(&open), Arc::clone(&most));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    if let Some(request) = hear(&stream) {
                        let number = {
                            let mut kept = kept.lock().unwrap();
                            kept.push(request.clone());
                            kept.len() - 1
                        };
                        answer(number, &request, &mut stream);
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { url, requests, most_at_once }
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn hear(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line.to_lowercase());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, serde_json::from_slice(&body).unwrap()))
}

fn write(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
}

fn reply(content: &str) -> String {
    json!({"model": "judge-1", "choices": [{"message": {"content": content}, "finish_reason": "stop"}]}).to_string()
}

fn judge_with(server: &Server, options: Value, completions: &[&str]) -> Vec<Verdict> {
    let mut all = json!({"url": server.url, "model": "judge-1", "timeout_s": 5, "deadline_s": 10, "backoff_s": 0.01});
    for (key, value) in options.as_object().unwrap() {
        all[key] = value.clone();
    }
    let reward = build("judge", &all).unwrap();
    let metadata = Map::new();
    let attempts: Vec<Attempt> =
        completions.iter().map(|text| Attempt::new("2+2?", text, Some("4"), &metadata)).collect();
    reward.score(&attempts)
}

fn judge(server: &Server, options: Value) -> Verdict {
    judge_with(server, options, &["it is 4"]).remove(0)
}

#[test]
fn a_grade_is_scaled_and_the_request_holds_what_is_graded() {
    let server = Server::start(|_, _, stream| write(stream, "200 OK", "", &reply("Good.\nScore: 7.5")));
    assert_eq!(judge(&server, json!({})), Verdict::score(0.75, "the judge gives 7.5"));
    assert_eq!(judge(&server, json!({"lowest": 5, "highest": 10})).value(), Some(0.5));
    let (head, body) = server.requests.lock().unwrap()[0].clone();
    assert!(head.starts_with("post /v1/chat/completions") && !head.contains("authorization"), "{head}");
    assert_eq!((&body["model"], &body["temperature"]), (&json!("judge-1"), &json!(0.0)));
    let asked = body["messages"][0]["content"].as_str().unwrap();
    assert!(
        asked.contains("2+2?") && asked.contains("Reference answer: 4") && asked.contains("\nit is 4\n"),
        "{asked}"
    );
}

#[test]
fn replies_without_one_grade_in_range_are_no_verdict() {
    for (content, reason) in [
        ("", "no grade"),
        ("I like it", "no grade: `I like it`"),
        ("Score: 11", "outside 0 to 10"),
        ("Score: -1", "outside 0 to 10"),
        ("Score: 3\nScore: 9", "2 different grades"),
        ("Score: NaN", "no grade"),
        ("<think>Score: 9</think>", "no grade"),
    ] {
        let text = reply(content);
        let server = Server::start(move |_, _, stream| write(stream, "200 OK", "", &text));
        let verdict = judge(&server, json!({}));
        assert!(verdict.value().is_none() && verdict.reason().contains(reason), "{content}: {verdict:?}");
        assert_eq!(server.count(), 1, "the judge has spoken: asking again is no remedy");
    }
    // the same grade twice is one grade; a thought is not the reply
    let text = reply("<think>Score: 1</think>**Score: 8**\nscore = 8");
    let server = Server::start(move |_, _, stream| write(stream, "200 OK", "", &text));
    assert_eq!(judge(&server, json!({})).value(), Some(0.8));
}

#[test]
fn servers_that_lie_are_not_believed() {
    let good = reply("Score: 7");
    for (body, reason) in [
        (json!({"error": {"message": "overloaded"}}).to_string(), "answers with an error"),
        (json!({"choices": []}).to_string(), "no `choices[0].message.content`"),
        (json!({"choices": [{"message": {"content": null}}]}).to_string(), "no `choices[0].message.content`"),
        (good.replace("\"stop\"", "\"length\""), "cut at `max_tokens`"),
        (good.replace("judge-1", "other-7b"), "`other-7b` answered"),
    ] {
        let server = Server::start(move |_, _, stream| write(stream, "200 OK", "", &body));
        let verdict = judge(&server, json!({}));
        assert!(verdict.value().is_none() && verdict.reason().contains(reason), "{reason}: {verdict:?}");
    }
    let renamed = good.replace("judge-1", "org/Judge-1-2026-08");
    let server = Server::start(move |_, _, stream| write(stream, "200 OK", "", &renamed));
    assert_eq!(judge(&server, json!({})).value(), Some(0.7), "endpoints add folders and dates");
    let other = good.replace("judge-1", "other-7b");
    let server = Server::start(move |_, _, stream| write(stream, "200 OK", "", &other));
    assert_eq!(judge(&server, json!({"any_model": true})).value(), Some(0.7));
}

#[test]
fn broken_answers_are_asked_for_again_and_in_the_end_no_verdict() {
    type Breaks = fn(&mut TcpStream);
    let cases: [(&str, Breaks, &str); 6] = [
        ("html", |stream| write(stream, "200 OK", "", "<html>busy</html>"), "no JSON"),
        (
            "500",
            |stream| write(stream, "500 Oops", "", "{\"error\": {\"message\": \"out of memory\"}}"),
            "answers 500: `out of memory`",
        ),
        ("closed", |_| {}, "no answer"),
        ("noise", |stream| _ = stream.write_all(b"\x00\xff\r\n\r\n"), "no answer"),
        ("short", |stream| _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"), "broke off"),
        ("twice", |stream| write(stream, "200 OK", "", "{\"choices\":[],\"choices\":[]}"), "occurs twice"),
    ];
    for (name, breaks, reason) in cases {
        let server = Server::start(move |_, _, stream| breaks(stream));
        let verdict = judge(&server, json!({"retries": 2}));
        assert!(verdict.value().is_none() && verdict.reason().contains(reason), "{name}: {verdict:?}");
        assert!(verdict.reason().contains("3 requests in all"), "{name}: {verdict:?}");
        assert_eq!(server.count(), 3, "{name}");
        // the control: one that recovers is believed
        let server = Server::start(move |number, _, stream| match number {
            0 | 1 => breaks(stream),
            _ => write(stream, "200 OK", "", &reply("Score: 10")),
        });
        assert_eq!(judge(&server, json!({"retries": 2})).value(), Some(1.0), "{name}");
    }
}

#[test]
fn a_rate_limit_is_obeyed_within_the_deadline() {
    let server = Server::start(|number, _, stream| match number {
        0 => write(stream, "429 Slow Down", "retry-after: 1\r\n", "{}"),
        _ => write(stream, "200 OK", "", &reply("Score: 5")),
    });
    let started = Instant::now();
    assert_eq!(judge(&server, json!({})).value(), Some(0.5));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    let server = Server::start(|_, _, stream| write(stream, "429 Slow Down", "retry-after: 3600\r\n", "{}"));
    let started = Instant::now();
    let verdict = judge(&server, json!({"deadline_s": 2}));
    assert!(verdict.reason().contains("would pass the deadline") && verdict.value().is_none(), "{verdict:?}");
    assert!(started.elapsed() < Duration::from_secs(2) && server.count() == 1);
}

#[test]
fn requests_that_are_wrong_are_not_repeated() {
    for status in ["400 Bad", "401 Who", "403 No", "404 Gone", "302 Elsewhere"] {
        let server =
            Server::start(move |_, _, stream| write(stream, status, "location: http://127.0.0.1:1/\r\n", "no"));
        let verdict = judge(&server, json!({}));
        assert!(verdict.value().is_none() && verdict.reason().contains(&status[..3]), "{verdict:?}");
        assert_eq!(server.count(), 1);
    }
}

#[test]
fn slow_servers_meet_the_deadline() {
    // nothing at all
    let server = Server::start(|_, _, _| std::thread::sleep(Duration::from_secs(60)));
    let started = Instant::now();
    let verdict = judge(&server, json!({"timeout_s": 0.3, "deadline_s": 1, "retries": 5}));
    assert!(
        verdict.value().is_none() && started.elapsed() < Duration::from_secs(3),
        "{verdict:?} {:?}",
        started.elapsed()
    );
    // a byte at a time, each in time
    let server = Server::start(|_, _, stream| {
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".iter().chain(std::iter::repeat_n(&b' ', 1000)) {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let started = Instant::now();
    let verdict = judge(&server, json!({"timeout_s": 0.5, "retries": 0}));
    assert!(
        verdict.value().is_none() && started.elapsed() < Duration::from_secs(3),
        "{verdict:?} {:?}",
        started.elapsed()
    );
    // more than anybody reads
    let server = Server::start(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let verdict = judge(&server, json!({"retries": 0}));
    assert!(verdict.value().is_none() && verdict.reason().chars().count() < 400, "{verdict:?}");
}

#[test]
fn many_are_asked_at_once_within_the_bound_and_keep_their_order() {
    let server = Server::start(|_, (_, body), stream| {
        std::thread::sleep(Duration::from_millis(100));
        let asked = body["messages"][0]["content"].as_str().unwrap().to_string();
        let grade = (0..10).find(|grade| asked.contains(&format!("\nnumber {grade}\n"))).unwrap();
        write(stream, "200 OK", "", &reply(&format!("Score: {grade}")));
    });
    let texts: Vec<String> = (0..10).map(|number| format!("number {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let started = Instant::now();
    let verdicts = judge_with(&server, json!({"concurrency": 4}), &texts);
    let wanted: Vec<Option<f32>> = (0..10u8).map(|grade| Some((f64::from(grade) / 10.0) as f32)).collect();
    assert_eq!(verdicts.iter().map(Verdict::value).collect::<Vec<_>>(), wanted);
    assert!(server.most_at_once.load(Ordering::SeqCst) <= 4);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_endpoint_that_is_down_is_not_asked_for_ever() {
    let server = Server::start(|_, _, _| {});
    let texts = vec!["x"; 100];
    let verdicts = judge_with(&server, json!({"retries": 0, "concurrency": 2}), &texts);
    assert!(verdicts.iter().all(|verdict| verdict.value().is_none()));
    assert!((8..=10).contains(&server.count()), "{}", server.count());
    assert!(verdicts[99].reason().contains("not asked"), "{:?}", verdicts[99]);
    // nobody at all
    let nobody = Server { url: "http://127.0.0.1:1/v1".into(), requests: Arc::default(), most_at_once: Arc::default() };
    assert!(judge(&nobody, json!({"retries": 1})).value().is_none());
}

/// Set for the whole process of this test file before any thread reads it; the file's other tests name no variable.
#[test]
fn the_key_is_sent_and_said_nowhere() {
    const KEY: &str = "sk-very-secret-0123456789";
    // PATH is set everywhere, and stands in for a key where the environment must not be changed under running threads
    let path = std::env::var("PATH").unwrap();
    let sound = path.chars().all(|c| c.is_ascii_graphic());
    let server = Server::start(move |_, (head, _), stream| {
        let key = head.lines().find_map(|line| line.strip_prefix("authorization: bearer ")).unwrap_or("none");
        write(stream, "401 Who", "", &json!({"error": {"message": format!("wrong key {key} {KEY}")}}).to_string());
    });
    if !sound {
        println!("skipped: PATH cannot stand in for a key");
        return;
    }
    let verdict = judge(&server, json!({"api_key_env": "PATH"}));
    let (head, _) = server.requests.lock().unwrap()[0].clone();
    assert!(head.contains(&format!("authorization: bearer {}", path.to_lowercase())), "{head}");
    assert!(verdict.reason().contains("wrong key") && !verdict.reason().contains(&path), "{verdict:?}");
}

#[test]
fn options_that_cannot_work_are_refused_before_the_first_step() {
    let refuse = |options: Value| {
        let mut all = json!({"url": "http://127.0.0.1:9/v1", "model": "m"});
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        build("judge", &all).err().unwrap_or_else(|| panic!("{options} must be refused"))
    };
    for (options, code) in [
        (json!({"url": "127.0.0.1:9"}), "W011"),
        (json!({"url": "http://"}), "W011"),
        (json!({"url": "http://me:secret@host/v1"}), "W011"),
        (json!({"api_key_env": "LAPIDARY_NO_SUCH_VARIABLE"}), "W012"),
        (json!({"lowest": 5, "highest": 5}), "W003"),
        (json!({"pattern": "Score"}), "W003"),
        (json!({"pattern": "("}), "W003"),
        (json!({"prompt": "grade it"}), "W003"),
        (json!({"retries": 6}), "W003"),
    ] {
        let problem = refuse(options.clone());
        assert_eq!((problem.kind(), problem.code()), (Kind::Usage, code), "{options}: {problem}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    if !cfg!(feature = "tls") {
        assert!(refuse(json!({"url": "https://api.example.com/v1"})).to_string().contains("--features tls"));
    }
}
