//! How long to wait before the next attempt: a pure function of the job and the attempt's number.
//!
//! The same job and number give the same wait, so a restart changes nothing. Waits double, differ
//! from job to job, and stay between a policy's least and its cap.
//! Not here: which policy an outcome asks for (`judge`).

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Later attempts wait like this one; every policy is at its cap long before.
const STEPS_MAX: u32 = 16;

/// The least and the longest wait of a schedule, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) least_ms: i64,
    pub(crate) cap_ms: i64,
}

/// Feishu refused for now.
pub(crate) const RETRY: Policy = Policy::new(1_000, 300_000);
/// The call provably never left.
pub(crate) const NOT_SENT: Policy = Policy::new(1_000, 30_000);
/// A code nobody knows: at least a minute apart.
pub(crate) const UNCLEAR: Policy = Policy::new(60_000, 240_000);
/// Feishu is still working on this very request.
pub(crate) const IN_PROGRESS: Policy = Policy::new(1_000, 5_000);
/// One receiver has had enough for now.
pub(crate) const RECEIVER_LIMITED: Policy = Policy::new(500, 8_000);

impl Policy {
    /// The spread needs room: a cap below twice the least could not hold it.
    const fn new(least_ms: i64, cap_ms: i64) -> Self {
        assert!(0 < least_ms && 2 * least_ms <= cap_ms);
        Self { least_ms, cap_ms }
    }
}

/// The wait before attempt number `attempt` + 1, where `attempt` counts from 1: at least the
/// policy's `least_ms`, at most its `cap_ms`.
pub(crate) fn delay_ms(seed: u64, attempt: u32, policy: Policy) -> i64 {
    // The library adds up to the whole step on top of each step, the last one included: half the
    // cap for the steps leaves the other half for that.
    let steps = ExponentialBuilder::new()
        .with_factor(2.0)
        .with_min_delay(millis(policy.least_ms))
        .with_max_delay(millis(policy.cap_ms / 2))
        .without_max_times()
        .with_jitter()
        .with_jitter_seed(seed)
        .build();
    let step = attempt.clamp(1, STEPS_MAX) - 1;
    let wait = steps
        .into_iter()
        .nth(step as usize)
        .unwrap_or(millis(policy.cap_ms));
    i64::try_from(wait.as_millis())
        .unwrap_or(policy.cap_ms)
        .clamp(policy.least_ms, policy.cap_ms)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Policy; 5] = [RETRY, NOT_SENT, UNCLEAR, IN_PROGRESS, RECEIVER_LIMITED];

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits = |policy| [1, 2, 3, 4, 20].map(|attempt| delay_ms(7, attempt, policy));
        for (policy, steps) in [
            (RETRY, [1_000, 2_000, 4_000, 8_000, 150_000]),
            (NOT_SENT, [1_000, 2_000, 4_000, 8_000, 15_000]),
            (UNCLEAR, [60_000, 120_000, 120_000, 120_000, 120_000]),
            (IN_PROGRESS, [1_000, 2_000, 2_500, 2_500, 2_500]),
            (RECEIVER_LIMITED, [500, 1_000, 2_000, 4_000, 4_000]),
        ] {
            for (wait, step) in waits(policy).into_iter().zip(steps) {
                assert!(
                    (step..=2 * step).contains(&wait),
                    "{policy:?}: {wait} from {step}"
                );
            }
        }
    }

    #[test]
    fn jobs_that_failed_together_do_not_come_back_together() {
        for attempt in [1, 3, 50] {
            let waits = (0..100).map(|seed| delay_ms(seed, attempt, RETRY));
            let differ = waits.collect::<std::collections::HashSet<i64>>().len();
            assert!(differ > 80, "{differ} of 100 after attempt {attempt}");
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_the_same_each_time_and_within_its_bounds(seed: u64, attempt: u32, which in 0..ALL.len()) {
            let policy = ALL[which];
            let wait = delay_ms(seed, attempt, policy);
            prop_assert_eq!(wait, delay_ms(seed, attempt, policy));
            prop_assert!((policy.least_ms..=policy.cap_ms).contains(&wait));
        }
    }
}
