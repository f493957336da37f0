//! A job in doubt for a person: what is known, and the commands that settle it, ready to be pasted.

use serde_json::Value;

use crate::cli::out;

/// Prints what is known of `job`, which is in doubt, and what can be done.
pub(super) fn show(job: &Value) -> std::io::Result<()> {
    for line in lines(job) {
        out::line(&line)?;
    }
    let doubt = &job["doubt"];
    for name in ["candidates", "parts"] {
        if let Some(items) = doubt[name].as_array().filter(|items| !items.is_empty()) {
            out::line(&format!("\n{name}:"))?;
            out::objects(items)?;
        }
    }
    out::line("\nsettle it with one of:")?;
    for (command, said) in commands(job) {
        out::line(&format!("  {command}\n      {said}"))?;
    }
    Ok(())
}

fn lines(job: &Value) -> Vec<String> {
    let doubt = &job["doubt"];
    let mut lines = vec![String::new()];
    let mut say = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<12} {value}"));
        }
    };
    say("in doubt", out::text(&doubt["since"]));
    say("chat", out::text(&doubt["chat_id"]));
    let checked = out::text(&doubt["checked_at"]);
    let found = match doubt["candidates"].as_array().map(Vec::len) {
        None => String::new(),
        Some(0) => format!("{checked}, no message that could be it"),
        Some(1) => format!("{checked}, 1 message that may be it"),
        Some(count) => format!("{checked}, {count} messages that may be it"),
    };
    say("looked", found);
    say("note", out::text(&doubt["note"]));
    lines
}

/// Each way out, and what it is for. What speaks for itself comes first.
fn commands(job: &Value) -> Vec<(String, String)> {
    let (id, doubt) = (out::text(&job["id"]), &job["doubt"]);
    let settle = |more: &str| format!("feishu-relay jobs settle {id} {more}");
    let mut ways = Vec::new();
    let items = |name: &str| doubt[name].as_array().cloned().unwrap_or_default();
    for candidate in items("candidates") {
        let same = match candidate["same_content"].as_bool() {
            Some(true) => "says the same",
            Some(false) => continue,
            None => "may say the same",
        };
        let recalled = match candidate["recalled"].as_bool() {
            Some(true) => ", and was taken back",
            _ => "",
        };
        let message = out::text(&candidate["message_id"]);
        let at = out::text(&candidate["create_time"]);
        ways.push((
            settle(&format!("--done --message-id {message}")),
            format!("it was shown: this one, of {at}, {same}{recalled}"),
        ));
    }
    let parts = items("parts");
    if parts.len() > 1 {
        for part in &parts {
            let part = out::text(&part["part"]);
            ways.push((
                settle(&format!("--done --part {part}")),
                format!("part {part} arrived (--failed: it did not)"),
            ));
        }
    }
    if ways.is_empty() {
        let with_id = match job["kind"].as_str() {
            Some("send") => " (with --message-id om_… its pin and its buzz go on)",
            Some("batch_send") => " (with --message-id bm-… it can be taken back)",
            _ => "",
        };
        ways.push((settle("--done"), format!("it happened{with_id}")));
    }
    let again = match (job["kind"].as_str(), doubt["window_ends_at"].as_str()) {
        (_, Some(until)) => {
            format!("it did not happen: do it again (after {until} it may show twice)")
        }
        _ => String::from("it did not happen: do it again (if it did, it happens twice)"),
    };
    ways.push((
        settle("--failed"),
        String::from("it did not happen, or nobody cares"),
    ));
    ways.push((format!("feishu-relay jobs retry {id}"), again));
    ways
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(job: Value, expected: &[&str]) {
        let all = commands(&job);
        let commands: Vec<_> = all
            .iter()
            .map(|(command, _)| command.trim_start_matches("feishu-relay jobs "))
            .collect();
        assert_eq!(commands, expected);
    }

    #[test]
    fn each_way_out_is_a_command_to_paste() {
        let candidates = json!([{"message_id": "om_1", "same_content": true}, {"message_id": "om_2"},
            {"message_id": "om_3", "same_content": false}]);
        check(
            json!({"id": "job_1", "kind": "send", "doubt": {"candidates": candidates}}),
            &[
                "settle job_1 --done --message-id om_1",
                "settle job_1 --done --message-id om_2",
                "settle job_1 --failed",
                "retry job_1",
            ],
        );
        check(
            json!({"id": "job_1", "kind": "send", "doubt": {"candidates": []}}),
            &[
                "settle job_1 --done",
                "settle job_1 --failed",
                "retry job_1",
            ],
        );
        check(
            json!({"id": "job_1", "kind": "batch_send", "doubt": {"parts": [{"part": 0}, {"part": 2}]}}),
            &[
                "settle job_1 --done --part 0",
                "settle job_1 --done --part 2",
                "settle job_1 --failed",
                "retry job_1",
            ],
        );
    }
}
