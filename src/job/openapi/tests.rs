//! Calls are found as Feishu finds them, and change where an id was promised, nowhere else.

use super::*;

const A: &str = "job_0192a0000000700080000000000000aa";
const B: &str = "job_0192a0000000700080000000000000bb";

fn made() -> Map<String, Value> {
    let Value::Object(made) = json!({A: "om_1", B: "img_\"2\"", "message": "om_9"}) else {
        unreachable!("it is an object")
    };
    made
}

#[test]
fn every_writing_endpoint_is_found_by_its_path_and_becomes_its_kind() {
    for kind in Kind::all().filter(|kind| kind.is_public() && *kind != Kind::UploadImage) {
        let endpoint = kind.api().endpoint();
        let path = endpoint.path.replace(":message_id", "om_1");
        let path = path.replace(":batch_message_id", "bm-1");
        let path = path
            .replace(":reaction_id", "r_1")
            .replace(":thread_id", "omt_1");
        let method = endpoint.method.as_str();
        let call = Call::find(method, &path).unwrap();
        assert_eq!((call.api, call.kind()), (kind.api(), Some(kind)), "{path}");
        let other = match path.strip_suffix('/') {
            Some(bare) => bare.to_owned(),
            None => format!("{path}/"),
        };
        assert_eq!(Call::find(method, &other).unwrap(), call);
    }
}

#[test]
fn a_path_is_read_as_feishu_reads_it() {
    let check = |method: &str, path: &str, expected: Option<(Api, &[&str])>| {
        let found = Call::find(method, path);
        let found = found.as_ref().map(|call| {
            let ids = call.params.iter().map(|(_, id)| id.as_str());
            (call.api, ids.collect::<Vec<_>>())
        });
        assert_eq!(
            found,
            expected.map(|(api, ids)| (api, ids.to_vec())),
            "{path}"
        );
    };
    let at = "/open-apis/im/v1/messages";
    check(
        "POST",
        &format!("{at}/merge_forward"),
        Some((Api::MergeForward, &[])),
    );
    check("PUT", &format!("{at}/om%5F1"), Some((Api::Edit, &["om_1"])));
    check("PUT", &format!("{at}/a%2Fb"), Some((Api::Edit, &["a/b"])));
    check(
        "GET",
        &format!("{at}/om_1"),
        Some((Api::GetMessage, &["om_1"])),
    );
    check("PUT", &format!("{at}/.."), None);
    check("PUT", &format!("{at}/%2e%2e"), None);
    check("PUT", &format!("{at}//"), None);
    check("PUT", &format!("{at}/%ff"), None);
    check("POST", "/open-apis/contact/v3/users", None);
}

#[test]
fn a_promised_id_is_found_wherever_it_is_a_whole_string() {
    let check = |text: &str, expected: &str| {
        assert_eq!(put(text, &made()), expected);
        assert_eq!(named(text).is_empty(), text == expected, "{text}");
    };
    check(
        &format!(r#"{{ "a" : ["{A}", 1.0] }}"#),
        r#"{ "a" : ["om_1", 1.0] }"#,
    );
    check(
        &format!(r#"{{"{A}":"see {A}"}}"#),
        &format!(r#"{{"{A}":"see {A}"}}"#),
    );
    let content = format!(r#"{{"content":"{{\"image_key\": \"{B}\"}}"}}"#);
    check(
        &content,
        r#"{"content":"{\"image_key\": \"img_\\\"2\\\"\"}"}"#,
    );
    let elsewhere = format!(r#"{{"text":"{{\"image_key\": \"{B}\"}}"}}"#);
    check(&elsewhere, &elsewhere);
    let escaped = A.replace("job", "\\u006aob");
    check(&format!(r#"["{escaped}"]"#), r#"["om_1"]"#);
    check(
        r#"{"a": "\\", "b": "\"job_"}"#,
        r#"{"a": "\\", "b": "\"job_"}"#,
    );
}

#[test]
fn the_relays_uuid_takes_the_place_of_the_callers_and_all_else_stays() {
    let check = |text: &str, expected: &str| assert_eq!(with_uuid(text, "u"), expected);
    check(
        r#"{"b": 1.0,"uuid":"mine","a":{ }}"#,
        r#"{"b":1.0,"a":{ },"uuid":"u"}"#,
    );
    check("{}", r#"{"uuid":"u"}"#);
    check(r#"{"uuid":null}"#, r#"{"uuid":"u"}"#);
    let long = format!(r#"{{"uuid":"{}"}}"#, "x".repeat(51));
    check(&long, &long);
    check(r#"{"uuid": 7}"#, r#"{"uuid": 7}"#);
}
