//! Through the relay, with nothing changed but the address and the secret.

use serde_json::Value;

use crate::packages::{Sdk, node, python};
use crate::run::Run;
use crate::same::{Names, agreed};
use crate::straight::{judge_codes, quiet, straight};
use crate::support::House;

/// The secret of the scenario's program: a client's token.
pub(crate) const SECRET: &str = "token-of-the-scenario";

/// A house whose relay is also at a port, and that port's address.
pub(crate) async fn house(seed: Option<Value>, more: &str) -> (House, String) {
    let client = format!(
        "{more}[[clients]]\nname = \"sdk\"\ntoken = \"{SECRET}\"\nscopes = [\"enqueue\", \"read\"]\nwait = \"60s\"\n"
    );
    let mut house = House::without_relay(seed, &client).await;
    let at = |port: &str, config: &str| {
        let config = config.replace(
            "listen = \"",
            &format!("listen = [\"127.0.0.1:{port}\", \""),
        );
        config.replace("relay.sock\"", "relay.sock\"]")
    };
    // Moving the clock asks often, and nobody reads a line for each question.
    let plain = house
        .config()
        .replace("level = \"debug\"", "level = \"info\"");
    house.set_config(at("0", &plain));
    house.start();
    let log = house.log();
    let address = log.split("listening on ").nth(1).unwrap();
    let address = address.split(',').next().unwrap().trim();
    // The next start is at the same port.
    house.set_config(at(address.rsplit(':').next().unwrap(), &plain));
    let base = format!("http://{address}");
    (house, base)
}

/// What people saw, comparable: without times, and without the ids under which it was asked for.
pub(crate) fn seen(ledger: &Value) -> Vec<Value> {
    let mut effects = ledger["effects"].as_array().unwrap().clone();
    for effect in &mut effects {
        let effect = effect.as_object_mut().unwrap();
        for field in ["at", "seq", "uuid"] {
            effect.remove(field);
        }
    }
    effects
}

async fn through_the_relay_as_straight(sdk: &Sdk) {
    let straight = straight(sdk).await;
    let (mut house, base) = house(None, "").await;
    let run = Run::start(sdk, &base, SECRET, &[]).await;
    let (relayed, tokens) = quiet(&house, run).await;
    judge_codes(&relayed);
    assert_eq!(tokens, 1, "the SDK keeps its token");
    let (mut names, mut others) = (Names::default(), Names::default());
    agreed(&names.all(&straight.answers), &others.all(&relayed));
    let (one, other) = (seen(&straight.ledger), seen(&house.ledger().await));
    agreed(&names.all(&one), &others.all(&other));
    house.stop();
}

#[tokio::test]
async fn the_python_sdk_is_told_the_same_through_the_relay() {
    let Some(python) = python() else { return };
    through_the_relay_as_straight(&python).await;
}

#[tokio::test]
async fn the_node_sdk_is_told_the_same_through_the_relay() {
    let Some(node) = node() else { return };
    through_the_relay_as_straight(&node).await;
}
