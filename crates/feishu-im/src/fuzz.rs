//! A door for the fuzzer: the bytes of an answer, read as every call and every type. Not in a normal build.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::answers;
use crate::classify::{Class, classify};
use crate::endpoints::Api;
use crate::exchange::{Exchange, Head, Reply};

/// The first two bytes choose the call and the status; the rest is the body of its answer.
pub fn answer(bytes: &[u8]) {
    let [api, http, body @ ..] = bytes else {
        return;
    };
    let api = Api::ALL[usize::from(*api) % Api::ALL.len()];
    let http = [200, 400, 401, 403, 429, 500, 503, 302][usize::from(*http) % 8];
    let head = Head {
        http,
        ..Head::default()
    };
    let Some(reply) = Reply::read(&head, Bytes::copy_from_slice(body)) else {
        return;
    };
    types(&reply);
    let code = reply.code;
    let verdict = classify(&Exchange {
        api,
        answer: Ok(reply),
        log_id: None,
        fresh_token_same: false,
    });
    let done = verdict.class == Class::Done;
    assert!(!done || http < 500 && (code == 0 || verdict.row.is_some()));
}

fn types(reply: &Reply) {
    fn read<T: DeserializeOwned>(reply: &Reply) {
        let _ = (reply.data::<T>(), reply.whole::<T>());
    }
    read::<answers::Message>(reply);
    read::<answers::Messages>(reply);
    read::<answers::BatchSent>(reply);
    read::<answers::Urgent>(reply);
    read::<answers::Pinned>(reply);
    read::<answers::Pins>(reply);
    read::<answers::ReadUsers>(reply);
    read::<answers::Progress>(reply);
    read::<answers::BatchReads>(reply);
    read::<answers::UploadedImage>(reply);
    read::<answers::BotInfo>(reply);
    read::<answers::TenantToken>(reply);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kept_corpus_passes() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/answer");
        let files: Vec<_> = std::fs::read_dir(corpus).expect("it is there").collect();
        assert!(files.len() >= 3);
        for file in files {
            let path = file.expect("it can be listed").path();
            super::answer(&std::fs::read(path).expect("it can be read"));
        }
    }
}
