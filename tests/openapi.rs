//! The description of the doors is the doors: what it names answers, and nothing else does.

mod support;

use serde_json::Value;
use support::House;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

async fn document(house: &House) -> Value {
    let (status, document) = house.request("GET", "/openapi.json", None).await;
    assert_eq!(status, 200, "{document}");
    document
}

#[tokio::test]
async fn each_route_has_an_operation_and_each_operation_a_route() {
    let house = House::new().await;
    let document = document(&house).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 14, "{paths:?}");
    for (path, operations) in paths {
        let mut real = path.replace("{id}", "job_0199a5b1c0007000800000000000beef");
        if path == "/v1/events" {
            // A stream would not end; a word that it does not know ends it at once.
            real.push_str("?unknown=1");
        }
        for method in METHODS {
            let (status, answer) = house.request(&method.to_uppercase(), &real, None).await;
            let described = operations.get(method).is_some();
            assert_eq!(described, status != 405, "{method} {path}: {status}");
            let missing = answer["type"] == "urn:feishu-relay:problem:no-such-path";
            assert!(!missing, "{method} {path}: {answer}");
            if described {
                let known = &operations[method]["responses"][status.to_string()];
                assert!(!known.is_null(), "{method} {path} answers {status}");
            }
        }
    }
}
