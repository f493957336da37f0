"""Runs scenario.json with the official Python SDK, unmodified: python scenario.py --base URL --app-id ID.

The secret comes in the environment (SDK_SECRET). Each line on stdout is a word to whoever started
this, in JSON: {"begin": step}, {"act": …} and {"clock": …} wait for one line of JSON on stdin;
{"answer": …} says what a step was answered; {"tokens": n} at the end how often the SDK fetched a
token. With --patient a call that breaks is made again, under the same Idempotency-Key.
"""

import argparse
import base64
import hashlib
import importlib
import io
import json
import os
import sys
import time
import typing

import lark_oapi as lark
import requests
from lark_oapi.core.cache import ICache, LocalCache

TRIES_MAX = 600
PAUSE_S = 0.1


class Counted(ICache):
    """The SDK's own cache of tokens, and how often it had to be filled."""

    def __init__(self):
        self.inner = LocalCache()
        self.fills = 0

    def get(self, key):
        return self.inner.get(key)

    def set(self, key, value, expire):
        self.fills += 1
        self.inner.set(key, value, expire)


def say(word):
    print(json.dumps(word), flush=True)


def ask(word):
    say(word)
    return json.loads(sys.stdin.readline())


def found(answers, reference):
    """What `step.path.to.value` names; behind a `#` a key of JSON in a string."""
    path, _, inner = reference.partition("#")
    step, *path = path.split(".")
    value = answers[step]
    for part in path:
        if isinstance(value, list):
            value = value[int(part)]
        elif isinstance(value, dict):
            value = value[part]
        else:
            # A typed answer of the SDK.
            value = getattr(value, part)
    if value is None:
        raise KeyError(reference)
    return json.loads(value)[inner] if inner else value


def filled(answers, value):
    if isinstance(value, str) and value.startswith("$"):
        return found(answers, value[1:])
    if isinstance(value, list):
        return [filled(answers, each) for each in value]
    if not isinstance(value, dict):
        return value
    if "#json" in value:
        inner = filled(answers, value["#json"])
        return json.dumps(inner, separators=(",", ":"), ensure_ascii=False)
    if "#bytes" in value:
        return (value["name"], io.BytesIO(base64.b64decode(value["#bytes"])))
    return {name: filled(answers, each) for name, each in value.items()}


def camel(text):
    return "".join(part.capitalize() for part in text.split("_"))


def typed(client, name, parts):
    """The SDK's method of that name, its request built from `path`, `query`, `body` or `form`."""
    service, version, resource, method = name.split(".")
    module = importlib.import_module(f"lark_oapi.api.{service}.{version}")
    builder = getattr(module, f"{camel(method)}{camel(resource)}Request").builder()
    for where in ("path", "query"):
        for field, value in parts.get(where, {}).items():
            getattr(builder, field)(value)
    body = parts.get("body", parts.get("form"))
    if body is not None:
        kind = typing.get_type_hints(builder.request_body)["request_body"]
        builder.request_body(kind(body))
    request = builder.build()
    call = getattr(getattr(getattr(getattr(client, service), version), resource), method)
    return lambda option: call(request, option)


def raw(client, name, parts):
    """The SDK's way to call what it has no method for."""
    method, uri = name.split(" ")
    request = lark.BaseRequest.builder().http_method(lark.HttpMethod[method]).uri(uri)
    request = request.token_types({lark.AccessTokenType.TENANT})
    if "body" in parts:
        request = request.body(parts["body"])
    request = request.build()
    return lambda option: client.request(request, option)


def lost(data, typed, path=""):
    """Places of what came that the SDK's types have no room for."""
    if isinstance(data, list):
        pairs = zip(data, typed or [])
        return [place for n, (one, other) in enumerate(pairs) for place in lost(one, other, f"{path}/{n}")]
    if not isinstance(data, dict):
        return []
    if not hasattr(typed, "__dict__"):
        return [path]
    places = []
    for name, value in data.items():
        if hasattr(typed, name):
            places += lost(value, getattr(typed, name), f"{path}/{name}")
        else:
            places.append(f"{path}/{name}")
    return places


def told(step, response):
    """What a step was answered, as it came."""
    kind = response.raw.headers.get("Content-Type", "")
    if kind.startswith("application/json"):
        body = json.loads(response.raw.content)
    else:
        content = response.raw.content
        digest = hashlib.sha256(content).hexdigest()
        name = getattr(response, "file_name", None)
        body = {"bytes": len(content), "sha256": digest, "type": kind, "name": name}
    state = response.raw.headers.get("X-Relay-State")
    answer = {"step": step, "http": response.raw.status_code, "state": state, "body": body}
    places = lost(body.get("data"), getattr(response, "data", None)) if response.success() else []
    return dict(answer, lost=places) if places and "data" in vars(response) else answer


def perform(client, answers, spec, patient):
    """Calls until there is an answer; broken ones are repeated only by the patient."""
    for attempt in range(TRIES_MAX):
        # Anew each time: the SDK writes into the request, and a form is read once.
        parts = filled(answers, {k: v for k, v in spec.items() if k in ("path", "query", "body", "form")})
        build, name = (typed, spec["call"]) if "call" in spec else (raw, spec["raw"])
        call = build(client, name, parts)
        headers = {}
        if patient:
            own = spec.get("body", {}).get("uuid") or spec.get("query", {}).get("uuid")
            headers = {"Idempotency-Key": own or "sdk " + spec["step"], "X-Relay-Wait": "120s"}
        option = lark.RequestOption.builder().headers(headers).build()
        try:
            response = call(option)
        except requests.exceptions.RequestException as error:
            if not patient or attempt + 1 == TRIES_MAX:
                raise
            time.sleep(PAUSE_S)
            continue
        in_doubt = response.raw.headers.get("X-Relay-State") == "in_doubt"
        if not patient or response.raw.status_code < 500 or in_doubt:
            return response
        time.sleep(PAUSE_S)
    return response


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--base", required=True)
    words.add_argument("--app-id", required=True)
    words.add_argument("--patient", action="store_true")
    words = words.parse_args()
    secret = os.environ["SDK_SECRET"]

    cache = Counted()
    builder = lark.Client.builder().app_id(words.app_id).app_secret(secret).domain(words.base)
    client = builder.cache(cache).timeout(150).log_level(lark.LogLevel.ERROR).build()

    with open(os.path.join(os.path.dirname(__file__), "scenario.json"), encoding="utf-8") as file:
        scenario = json.load(file)
    answers = dict(ask({"names": True}), app_id=words.app_id, secret=secret)
    for spec in scenario:
        step = spec["step"]
        try:
            if "act" in spec:
                answers[step] = ask({"act": filled(answers, spec["act"])})
                continue
            if "clock" in spec:
                ask({"clock": spec["clock"]})
                continue
            filled(answers, spec)
        except (KeyError, AttributeError, IndexError, TypeError, ValueError):
            # It needs what another step was not given.
            say({"answer": {"step": step, "skipped": True}})
            continue
        ask({"begin": step})
        response = perform(client, answers, spec, words.patient)
        answer = told(step, response)
        # Later steps take what the SDK's own types hold.
        answers[step] = response if getattr(response, "data", None) is not None else answer["body"]
        say({"answer": answer})
    say({"tokens": cache.fills})


if __name__ == "__main__":
    main()
