//! stub
use crate::answer::Answer;
use crate::call::Arrived;
use crate::shared::Shared;

pub(super) fn page(_shared: &Shared, _arrived: &Arrived) -> Answer {
    Answer::of(
        200,
        "text/html; charset=utf-8",
        bytes::Bytes::from_static(b"<!doctype html>"),
    )
}
pub(super) fn part(shared: &Shared, arrived: &Arrived) -> Answer {
    page(shared, arrived)
}
