//! A made-up shop: every rule by hand, and calls that no agent should make. Nothing may panic.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking

use lapidary_world::python::{Value, parse, text};
use lapidary_world::{
    Action, Domain, End, Episode, Mode, RESPOND, STEPS, STOP, Silent, Task, World, judge, state_hash,
};
use proptest::prelude::*;

fn shop() -> World {
    World {
        name: "shop".into(),
        domain: Domain::Retail,
        tables: parse(include_str!("world.json")).unwrap(),
        policy: String::new(),
        schemas: Vec::new(),
        tasks: Vec::new(),
    }
}

fn action(name: &str, kwargs: &str) -> Action {
    Action { name: name.into(), kwargs: parse(kwargs).unwrap().as_dict().unwrap().clone() }
}

/// What a call answers on a fresh shop, and the shop after it.
fn call(name: &str, kwargs: &str) -> (String, Value) {
    let world = shop();
    let mut records = world.records(Mode::Compat);
    let seen = match world.apply(&mut records, &action(name, kwargs)) {
        Ok(Value::Str(text)) => text.to_string(),
        Ok(other) => text(&other),
        Err(raised) => format!("raised {}", raised.0),
    };
    (seen, records.tables().clone())
}

#[track_caller]
fn answers(name: &str, kwargs: &str, wanted: &str) {
    let (seen, tables) = call(name, kwargs);
    assert_eq!(seen, wanted, "{name} {kwargs}");
    assert_eq!(tables, shop().tables, "a refused call must leave the shop as it was");
}

#[test]
fn refusals_come_in_the_published_order() {
    let items = "modify_pending_order_items";
    answers("cancel_pending_order", r##"{"order_id": "#W9", "reason": "bored"}"##, "Error: order not found");
    answers(
        "cancel_pending_order",
        r##"{"order_id": "#W2", "reason": "bored"}"##,
        "Error: non-pending order cannot be cancelled",
    );
    answers("cancel_pending_order", r##"{"order_id": "#W1", "reason": "bored"}"##, "Error: invalid reason");
    answers(
        "return_delivered_order_items",
        r##"{"order_id": "#W2", "item_ids": ["c9"], "payment_method_id": "x"}"##,
        "Error: payment method not found",
    );
    answers(
        "return_delivered_order_items",
        r##"{"order_id": "#W2", "item_ids": ["c1", "c1"], "payment_method_id": "gift_card_1"}"##,
        "Error: some item not found",
    );
    let order = |ids: &str, new: &str, method: &str| {
        format!(r##"{{"order_id": "#W1", "item_ids": {ids}, "new_item_ids": {new}, "payment_method_id": "{method}"}}"##)
    };
    answers(items, &order(r#"["c2"]"#, r#"[]"#, "x"), "Error: c2 not found");
    answers(items, &order(r#"["t1"]"#, r#"[]"#, "x"), "Error: the number of items to be exchanged should match");
    answers(items, &order(r#"["t1"]"#, r#"["t3"]"#, "x"), "Error: new item t3 not found or available");
    answers(items, &order(r#"["t1"]"#, r#"["c2"]"#, "x"), "Error: new item c2 not found or available");
    answers(items, &order(r#"["t1"]"#, r#"["t2"]"#, "x"), "Error: payment method not found");
    answers(
        items,
        &order(r#"["t1", "c1"]"#, r#"["t2", "c2"]"#, "gift_card_1"),
        "Error: insufficient gift card balance to pay for the new item",
    );
    answers(
        "modify_pending_order_payment",
        r##"{"order_id": "#W1", "payment_method_id": "gift_card_1"}"##,
        "Error: the new payment method should be different from the current one",
    );
    answers(
        "find_user_id_by_name_zip",
        r#"{"first_name": "ann", "last_name": "o'neil", "zip": 89073}"#,
        "Error: user not found",
    );
    answers("get_product_details", r#"{"product_id": "t1"}"#, "Error: product not found");
}

#[test]
fn looking_answers_what_python_prints() {
    answers("find_user_id_by_name_zip", r#"{"first_name": "ANN", "last_name": "o'neil", "zip": "89073"}"#, "ann_1");
    answers("find_user_id_by_email", r#"{"email": "ANN@example.com"}"#, "ann_1");
    answers("list_all_product_types", "{}", r#"{"Cup": "7002", "Tea Pot": "7001"}"#);
    assert!(
        call("get_product_details", r#"{"product_id": "7001"}"#)
            .0
            .contains(r#"{"colour": "r\u00e9d"}, "available": true, "price": 30.4}"#)
    );
    answers("calculate", r#"{"expression": "2.675 * 1"}"#, "2.67");
    answers("think", r#"{"thought": [1]}"#, "");
    answers("fly", r#"{"to": "the moon"}"#, "Unknown action fly");
}

#[test]
fn writes_by_hand() {
    let part = |tables: &Value, path: &[&str]| text(path.iter().fold(tables, |value, key| value.get(key).unwrap()));
    let (_, after) = call("cancel_pending_order", r##"{"order_id": "#W1", "reason": "no longer needed"}"##);
    // 12.3 + 25.15 in cents
    assert_eq!(part(&after, &["users", "ann_1", "payment_methods", "gift_card_1", "balance"]), "37.45");
    assert_eq!(part(&after, &["orders", "#W1", "cancel_reason"]), "\"no longer needed\"");
    let (seen, after) = call(
        "modify_pending_order_items",
        r##"{"order_id": "#W1", "item_ids": ["t1"], "new_item_ids": ["t2"], "payment_method_id": "gift_card_1"}"##,
    );
    assert!(seen.contains(r#""status": "pending (item modified)""#), "{seen}");
    // 30.4 − 20.1 is left as the doubles give it, the balance is in cents: 12.3 − 10.3
    assert!(
        seen.contains(
            r#"{"transaction_type": "payment", "amount": 10.299999999999997, "payment_method_id": "gift_card_1"}"#
        ),
        "{seen}"
    );
    assert_eq!(part(&after, &["users", "ann_1", "payment_methods", "gift_card_1", "balance"]), "2.0");
    let (_, after) =
        call("modify_pending_order_payment", r##"{"order_id": "#W1", "payment_method_id": "credit_card_1"}"##);
    assert_eq!(part(&after, &["users", "ann_1", "payment_methods", "gift_card_1", "balance"]), "37.45");
    let (seen, _) = call(
        "exchange_delivered_order_items",
        r##"{"order_id": "#W2", "item_ids": ["c2", "c1"], "new_item_ids": ["c1", "c2"], "payment_method_id": "credit_card_1"}"##,
    );
    assert!(seen.ends_with(r#""exchange_items": ["c1", "c2"], "exchange_new_items": ["c1", "c2"], "exchange_payment_method_id": "credit_card_1", "exchange_price_difference": 0.0}"#), "{seen}");
}

#[test]
fn calls_that_do_not_fit_raise_pythons_words() {
    let name = "get_user_details";
    for (kwargs, words) in [
        ("{}", "GetUserDetails.invoke() missing 1 required positional argument: 'user_id'"),
        (r#"{"user": "ann_1"}"#, "GetUserDetails.invoke() got an unexpected keyword argument 'user'"),
        (
            r#"{"user_id": "ann_1", "data": {}}"#,
            "tau_bench.envs.retail.tools.get_user_details.GetUserDetails.invoke() got multiple values for keyword argument 'data'",
        ),
        (r#"{"user_id": ["ann_1"]}"#, "unhashable type: 'list'"),
        (r#"{"user_id": {}}"#, "unhashable type: 'dict'"),
    ] {
        answers(name, kwargs, &format!("raised {words}"));
    }
    answers(name, r#"{"user_id": 123456789012345678901234567890}"#, "Error: user not found");
    answers(name, r#"{"user_id": null}"#, "Error: user not found");
    let names = "raised FindUserIdByNameZip.invoke() missing 3 required positional arguments: 'first_name', 'last_name', and 'zip'";
    answers("find_user_id_by_name_zip", "{}", names);
    answers("find_user_id_by_email", r#"{"email": 5}"#, "raised 'int' object has no attribute 'lower'");
    answers(
        "return_delivered_order_items",
        r##"{"order_id": "#W2", "item_ids": 5, "payment_method_id": "credit_card_1"}"##,
        "raised 'int' object is not iterable",
    );
    answers(
        "return_delivered_order_items",
        r##"{"order_id": "#W2", "item_ids": "c1", "payment_method_id": "credit_card_1"}"##,
        "Error: some item not found",
    );
}

fn task(outputs: &[&str]) -> Task {
    Task {
        id: "shop_0".into(),
        user_id: "ann_1".into(),
        instruction: String::new(),
        actions: vec![action("cancel_pending_order", r##"{"order_id": "#W1", "reason": "no longer needed"}"##)],
        outputs: outputs.iter().map(|output| (*output).to_string()).collect(),
    }
}

#[test]
fn the_reward_wants_the_state_the_outputs_and_an_end() {
    let (world, wanted) = (shop(), task(&["37.45"]));
    let cancel = wanted.actions[0].clone();
    let look = action("get_user_details", r#"{"user_id": "ann_1"}"#);
    let harm = action(
        "modify_user_address",
        r#"{"user_id": "ann_1", "address1": "", "address2": "", "city": "", "state": "", "country": "", "zip": ""}"#,
    );
    let say = Action::respond("You now have 37.45 on your card.");
    let hand_over = action("transfer_to_human_agents", r#"{"summary": ""}"#);
    for (actions, reward) in [
        (vec![cancel.clone(), say.clone()], 1),
        (vec![look.clone(), cancel.clone(), look.clone(), say.clone()], 1),
        (vec![cancel.clone()], 0),
        (vec![say.clone()], 0),
        (vec![cancel.clone(), harm, say.clone()], 0),
        (vec![cancel.clone(), action("fly", "{}"), say.clone()], 1),
        (vec![say.clone(), cancel.clone(), hand_over.clone()], 1),
        // what comes after the end does not happen
        (vec![hand_over, cancel.clone(), say.clone()], 0),
        (std::iter::repeat_n(look.clone(), 29).chain([say.clone()]).collect(), 0),
        ([cancel.clone()].into_iter().chain(std::iter::repeat_n(look.clone(), 28)).chain([say.clone()]).collect(), 1),
        ([cancel, say].into_iter().chain(std::iter::repeat_n(look, 28)).collect(), 0),
    ] {
        let mut user = Silent { messages: if actions.last().unwrap().name == RESPOND { 1 } else { 0 } };
        let mut episode = Episode::new(&world, &wanted, Mode::Compat, STEPS);
        for action in &actions {
            episode.act(action, &mut user).unwrap();
        }
        assert_eq!(
            episode.judge().reward,
            reward,
            "{:?}",
            actions.iter().map(|action| &action.name).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_conversation_ends_with_the_users_word() {
    let (world, wanted) = (shop(), task(&[]));
    let mut episode = Episode::new(&world, &wanted, Mode::Compat, STEPS);
    let mut user = Silent { messages: 2 };
    assert_eq!(episode.act(&Action::respond("Hello?"), &mut user).unwrap(), Some(Value::str("")));
    assert_eq!(episode.end(), None);
    assert_eq!(
        episode.act(&action(RESPOND, "{}"), &mut user).unwrap().unwrap().as_str().unwrap().find("Error"),
        Some(0)
    );
    assert_eq!(episode.act(&Action::respond("Bye."), &mut user).unwrap(), Some(Value::str(STOP)));
    assert_eq!(episode.end(), Some(End::UserStopped));
    assert_eq!(episode.act(&wanted.actions[0], &mut user).unwrap(), None);
}

#[test]
fn mended_rules() {
    let world = shop();
    // a tool that raises leaves nothing behind, and pairs stay pairs
    let mut records = world.records(Mode::Fixed);
    let swap = r##"{"order_id": "#W2", "item_ids": ["c2", "c1"], "new_item_ids": ["c1", "c2"], "payment_method_id": "credit_card_1"}"##;
    let seen = world.apply(&mut records, &action("exchange_delivered_order_items", swap)).unwrap();
    assert!(seen.as_str().unwrap().contains(r#""exchange_items": ["c1", "c2"], "exchange_new_items": ["c2", "c1"]"#));
    // an agent that says nothing earns nothing, even where nothing had to be done
    let mut idle = task(&[]);
    idle.actions.clear();
    let records = |mode| world.records(mode);
    assert_eq!(judge(&world, &idle, &records(Mode::Compat), &[], End::UserStopped).reward, 1);
    assert_eq!(judge(&world, &idle, &records(Mode::Fixed), &[], End::UserStopped).reward, 0);
    assert_eq!(judge(&world, &idle, &records(Mode::Fixed), &["No.".into()], End::UserStopped).reward, 1);
}

fn hostile() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_string()),
        Just("true".into()),
        Just("-0.0".into()),
        Just("1e400".into()),
        Just("123456789012345678901234567890".into()),
        Just("\"it's \\\"é\\\" 😀\\n\"".into()),
        Just("\"#W1\"".into()),
        Just("\"#W2\"".into()),
        Just("\"t1\"".into()),
        Just("\"c1\"".into()),
        Just("\"gift_card_1\"".into()),
        Just("\"ann_1\"".into()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::vec(inner, 0..3).prop_map(|values| {
                let pairs: Vec<String> =
                    values.iter().zip(["a", "flight_number"]).map(|(v, k)| format!("\"{k}\": {v}")).collect();
                format!("{{{}}}", pairs.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics(domain in 0usize..2, tool in 0usize..16, values in prop::collection::vec(hostile(), 11), fixed in any::<bool>()) {
        let mut world = shop();
        world.domain = [Domain::Retail, Domain::Airline][domain];
        let tools = world.domain.tools();
        let tool = &tools[tool % tools.len()];
        let pairs: Vec<String> =
            tool.parameters.iter().zip(&values).map(|(parameter, value)| format!("\"{}\": {value}", parameter.name)).collect();
        let mut records = world.records(if fixed { Mode::Fixed } else { Mode::Compat });
        let _ = world.apply(&mut records, &action(tool.name, &format!("{{{}}}", pairs.join(", "))));
        let _ = state_hash(&records);
    }
}
