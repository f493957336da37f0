//! stub
use super::CodeRow;
pub(super) const ROWS: &[CodeRow] = &[];
