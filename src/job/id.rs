//! The name of a job: `job_` and 32 hex digits, which are also the `uuid` sent to Feishu.

use std::fmt;
use std::str::FromStr;

/// Sixteen bytes of a UUIDv7; ids of later jobs sort after those of earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub [u8; 16]);

/// The text is no job id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job id is \"job_\" and 32 hex digits")]
pub struct NotAJobId;

impl JobId {
    /// What stands before the digits.
    pub const PREFIX: &str = "job_";

    /// An id of time `ms` (Unix milliseconds); `count` orders ids of one millisecond (12 bits are
    /// kept), `random` makes it unguessable.
    pub fn new(ms: u64, count: u16, random: u64) -> JobId {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        bytes[6] = 0x70 | ((count >> 8) as u8 & 0x0f);
        bytes[7] = (count & 0xff) as u8;
        bytes[8..].copy_from_slice(&random.to_be_bytes());
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        JobId(bytes)
    }

    /// The time in the id, Unix milliseconds.
    pub fn ms(self) -> i64 {
        self.0[..6]
            .iter()
            .fold(0, |ms, b| (ms << 8) | i64::from(*b))
    }

    /// 32 hex digits, without the prefix: the `uuid` of the job's first rung.
    pub fn hex(self) -> String {
        hex(&self.0)
    }

    /// A number that differs from job to job; seeds its jitter.
    pub fn seed(self) -> u64 {
        let mut tail = [0; 8];
        tail.copy_from_slice(&self.0[8..]);
        u64::from_be_bytes(tail)
    }

    /// Reads 32 hex digits.
    ///
    /// # Errors
    /// Anything else.
    pub fn from_hex(text: &str) -> Result<JobId, NotAJobId> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotAJobId);
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| NotAJobId)?;
        }
        Ok(JobId(bytes))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", JobId::PREFIX, self.hex())
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<JobId, NotAJobId> {
        JobId::from_hex(text.strip_prefix(JobId::PREFIX).ok_or(NotAJobId)?)
    }
}

impl serde::Serialize for JobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl utoipa::PartialSchema for JobId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .pattern(Some("^job_[0-9a-f]{32}$"))
            .into()
    }
}

impl utoipa::ToSchema for JobId {}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let text = String::with_capacity(bytes.len() * 2);
    bytes.iter().fold(text, |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_text_and_nothing_else_is() {
        let id = JobId::new(1_767_225_600_123, 7, u64::MAX);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.ms(), 1_767_225_600_123);
        for bad in [
            "",
            "job_",
            "om_1",
            "job_0g",
            &id.to_string()[..35],
            "job_+0000000000000000000000000000000",
        ] {
            assert_eq!(bad.parse::<JobId>(), Err(NotAJobId), "{bad}");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        assert!(JobId::new(5, 4095, u64::MAX) < JobId::new(6, 0, 0));
        assert!(JobId::new(5, 1, u64::MAX) < JobId::new(5, 2, 0));
    }
}
