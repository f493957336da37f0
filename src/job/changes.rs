//! A message whose children change it must be one that can be changed: Feishu refuses the change otherwise, when it
//! is too late for the message.

use feishu_im::Content;
use serde_json::{Map, Value};

use crate::job::fields::Flaw;
use crate::job::{Kind, NewJob, Role};

/// Why the children cannot change the message of a `kind` with these args, standing at `at`.
pub(super) fn flaws(
    kind: Kind,
    args: Option<&Map<String, Value>>,
    at: &str,
    children: &[NewJob],
) -> Vec<Flaw> {
    let (Kind::Send | Kind::Reply, Some(args)) = (kind, args) else {
        return Vec::new();
    };
    let changes_it = |child: &&NewJob, kind: Kind| {
        let of_parent = child
            .references
            .iter()
            .any(|needed| needed.role == Role::Message && needed.job.is_none());
        child.kind == kind && of_parent
    };
    let any = |kind: Kind| children.iter().any(|child| changes_it(&child, kind));
    let updated = any(Kind::UpdateCard).then(|| Content::not_updatable(args));
    let edited = any(Kind::Edit).then(|| Content::not_editable(args));
    let found = [updated, edited].into_iter().flatten().flatten();
    found
        .map(|flaw| Flaw {
            pointer: format!("{at}/args{}", flaw.pointer),
            detail: format!("{}; a job of \"then\" changes it", flaw.detail),
        })
        .collect()
}
