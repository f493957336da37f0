//! Users' templates: what they may do, what they may not, and what happens to broken ones.

use std::fs;

use proptest::prelude::*;

use super::template::Template;
use super::tests::{alert, hostile_incident, incident, is_tame};
use super::*;

/// A card as somebody would write one, in each place where an alert's words may stand.
const CARD: &str = r#"
{
  "schema": "2.0",
  "config": { "update_multi": true, "summary": { "content": "{{ title }}" } },
  "header": {
    "title": { "tag": "plain_text", "content": {{ title }} },
    "template": "{{ 'red' if firing else color }}"
  },
  "body": { "elements": [
    {% macro line(name, value) -%}
    { "tag": "div", "text": { "tag": "plain_text", "content": "{{ name }}: {{ value|upper }}" } },
    {%- endmacro %}
    {% for alert in alerts %}
      { "tag": "markdown", "content": "**{{ alert.name }}** {{ alert.summary ~ ' ' ~ alert.description }} {{ alert.instance }}" },
      {% for name, value in alert.labels|items %}
        {{ line(name, value) }}
      {% endfor %}
      {% if alert.links.runbook %}
        { "tag": "markdown", "content": "[runbook]({{ alert.links.runbook }})" },
        { "tag": "button", "text": { "tag": "plain_text", "content": "source" },
          "behaviors": [{ "type": "open_url", "default_url": "{{ alert.links.runbook }}" },
                        { "type": "callback", "value": { "labels": {{ alert.labels|items|list }} } }] },
      {% endif %}
    {% endfor %}
    {% set names = alerts|map(attribute="name")|join(", ") %}
    { "tag": "markdown", "content": "{{ names }} {{ mentions }} {{ common_labels.team|default('-') }}" },
    { "tag": "hr" }
  ] }
}
"#;

fn draw(source: &str, incident: &Incident) -> Result<Value, String> {
    let people = People {
        ids: vec!["ou_1".to_owned()],
        ..People::default()
    };
    let template = Template::new(source).map_err(|broken| format!("{broken:?}"))?;
    let values = values::of(incident, &people, true);
    template
        .draw(values)
        .map_err(|broken| format!("{broken:?}"))
}

#[test]
fn a_template_makes_a_card_of_its_own() {
    let mut one = alert("DiskFull", "db-1", "critical");
    one.labels
        .insert("path".to_owned(), "C:\\\"data\"".to_owned());
    let card = draw(CARD, &incident([one])).expect("it is a card");
    let elements = card["body"]["elements"].as_array().expect("a list");
    assert_eq!(
        elements[0]["content"],
        "**DiskFull** DiskFull on db-1  db-1"
    );
    assert_eq!(elements[3]["text"]["content"], "path: C:\\\"DATA\"");
    let last = &elements[elements.len() - 2]["content"];
    assert_eq!(last, "DiskFull <at id=ou_1></at> -");
    assert_eq!(card["header"]["template"], "red");
    let old = r#"{"elements": [{"tag": "markdown", "content": "{{ firing_count }} of {{ alerts|length }}"}]}"#;
    let card = draw(old, &incident([alert("A", "b", "info")])).expect("it is a card");
    assert_eq!(card["config"]["update_multi"], true);
    assert_eq!(card["elements"][0]["content"], "1 of 1");
}

#[test]
fn the_documents_template_is_good_as_printed() {
    let document = include_str!("../../../docs/ALERTS.md");
    let (_, behind) = document
        .split_once("```jinja\n")
        .expect("it has a template");
    let (template, _) = behind.split_once("```").expect("it ends");
    let card = draw(template, &incident([alert("DiskFull", "db-1", "critical")]));
    let card = card.expect("it is a card");
    let content = &card["body"]["elements"][0]["content"];
    assert_eq!(content, "🔴 **DiskFull** on db-1, team -\nDiskFull on db-1");
}

#[test]
fn a_broken_template_is_not_taken_and_says_where() {
    let mut wrong = Vec::new();
    let mut check = |source: &str, line: Option<usize>, says: &str| {
        let broken = Template::new(source).expect_err(source);
        if broken.line != line || !broken.says.contains(says) {
            wrong.push(format!("{source}: {broken:?}"));
        }
    };
    let text = |content: &str| {
        format!("{{\"elements\": [\n{{\"tag\": \"markdown\", \"content\": \"{content}\"}}]}}")
    };
    check("{\n{% for x in alerts %}", Some(2), "syntax error");
    check("{\n{{ alerts|nothing }}}", Some(2), "unknown filter");
    check(&text("{{ title|safe }}"), Some(2), "unknown filter");
    check(&text("{{ sumary }}"), Some(2), "undefined value");
    check(&text("{{ alerts[0].sumary }}"), Some(2), "undefined value");
    check(&text("{% include 'x' %}"), Some(2), "");
    check(
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        Some(1),
        "runs too long",
    );
    check(
        "{% for a in range(9999) %}{{ '----------------------------------------' * 9 }}{% endfor %}",
        None,
        "makes more than",
    );
    check(
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        Some(1),
        "",
    );
    check("hello", None, "makes no JSON");
    check("{\"elements\": [}", None, "makes no JSON");
    check("[]", None, "no card");
    check("{}", None, "no card");
    check("", None, "makes no JSON");
    check("{\"elements\": \u{fdd0}[]}", Some(1), "no character");
    check(&text("<at user_id='x'></at>"), None, "/elements/0/content");
    check(&text("<at id={{ title }}></at>"), None, "within a tag");
    check(&text(&"x".repeat(30_000)), None, "bytes");
    check(
        "{\"config\": {\"update_multi\": false}, \"elements\": []}",
        None,
        "update_multi",
    );
    let many = "{\"schema\":\"2.0\",\"body\":{\"elements\":[{% for i in range(201) %}{\"tag\":\"hr\"},{% endfor %}{\"tag\":\"hr\"}]}}";
    check(many, None, "202");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_template_that_fails_at_work_gives_way_to_the_built_in_card() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("card.json");
    let text = |content: &str| {
        let card =
            format!("{{\"elements\": [\n{{\"tag\": \"markdown\", \"content\": \"{content}\"}}]}}");
        fs::write(&path, card).expect("it is written");
    };
    text("{{ alerts[0].labels.team }}");
    let cards = Cards::with([("card.json".to_owned(), path.clone())]).expect("it is good");
    let mut incident = incident([alert("DiskFull", "db-1", "critical")]);
    let draw = |incident: &Incident| cards.live(incident, &People::default(), true);
    assert_eq!(draw(&incident).note, None);
    incident.policy.template = Some("gone.json".to_owned());
    let drawn = draw(&incident);
    assert_eq!(drawn.args["card"]["schema"], "2.0");
    assert!(drawn.note.is_some_and(|note| note.contains("gone.json")));
    incident.policy.template = Some("card.json".to_owned());
    let drawn = draw(&incident);
    let built_in = drawn.args["card"].clone();
    assert_eq!(built_in["header"]["template"], "red");
    let note = drawn.note.expect("it is noted");
    assert!(note.contains("card.json:2: undefined value"), "{note}");
    let label = |incident: &mut Incident, value: &str| {
        let tracked = incident.alerts.values_mut().next().expect("there is one");
        tracked
            .alert
            .labels
            .insert("team".to_owned(), value.to_owned());
    };
    label(&mut incident, "db");
    let content =
        |incident: &Incident| draw(incident).args["card"]["elements"][0]["content"].clone();
    assert_eq!(content(&incident), "db");
    // Changed, broken, gone, and mended.
    text("now: {{ alerts[0].labels.team }}");
    assert_eq!(content(&incident), "now: db");
    text("{{ alerts[0].labels.team");
    assert_eq!(content(&incident), "now: db");
    fs::remove_file(&path).expect("it goes");
    assert_eq!(content(&incident), "now: db");
    text("again: {{ alerts[0].labels.team }}");
    assert_eq!(content(&incident), "again: db");
    // Too large only with what this alert says.
    text("{% for i in range(30) %}{{ alerts[0].labels.team }}{% endfor %}");
    label(&mut incident, &"字".repeat(2_000));
    let drawn = draw(&incident);
    assert_eq!(drawn.args["card"]["header"]["template"], "red");
    assert!(
        drawn
            .note
            .is_some_and(|note| note.contains("bytes") && !note.contains('字'))
    );
    let faults = Cards::with([("x".to_owned(), folder.path().join("none.json"))]);
    let faults = faults.expect_err("it is not there");
    assert!(
        faults[0].to_string().contains("none.json: cannot be read"),
        "{}",
        faults[0]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_alert_makes_more_than_text_of_a_template(mut incident in hostile_incident()) {
        while incident.alerts.len() > 2 {
            incident.alerts.pop_first();
        }
        for tracked in incident.alerts.values_mut() {
            while tracked.alert.labels.len() > 4 {
                tracked.alert.labels.pop_first();
            }
            for text in tracked.alert.labels.values_mut().chain(tracked.alert.annotations.values_mut()) {
                *text = text.chars().take(60).collect();
            }
        }
        let people = People { ids: vec!["ou_1".to_owned()], ..People::default() };
        let template = Template::new(CARD).expect("it is good");
        let card = template.draw(values::of(&incident, &people, true));
        let card = card.map_err(|broken| TestCaseError::fail(format!("{broken:?}")))?;
        let mut calm = card.clone();
        // The author's own words, which are more than text.
        for element in calm["body"]["elements"].as_array_mut().expect("a list") {
            if let Some(content) = element["content"].as_str() {
                let content = content.replace("<at id=ou_1></at>", "").replace("[runbook](", "[手册 runbook](");
                element["content"] = json!(content);
            }
        }
        is_tame(&calm, "")?;
        let tags: Vec<&Value> = card["body"]["elements"].as_array().expect("a list").iter().map(|each| &each["tag"]).collect();
        let known = ["markdown", "div", "button", "hr"];
        prop_assert!(tags.iter().all(|tag| known.contains(&tag.as_str().unwrap_or_default())));
    }
}
