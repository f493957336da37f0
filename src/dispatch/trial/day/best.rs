//! The oracle: the soonest that a queue can be empty under windows, if nothing costs any time.
//!
//! It counts as Feishu's windows do in their worst phase: in no stretch of a window's length are there more
//! calls than it holds. Jobs of one queue are alike to it, so serving them in the order they came is the best
//! there is, for the last of them and for the longest wait. It knows no way there and back, no reserve and no turns.

/// A window: its length in milliseconds, and the calls that fit into any stretch of it.
pub(super) type Window = (i64, usize);

/// When each of a queue's jobs can go, the first first. `comes`: when they come, in order.
pub(super) fn best(comes: &[i64], windows: &[Window]) -> Vec<i64> {
    let mut goes: Vec<i64> = Vec::with_capacity(comes.len());
    for (k, came) in comes.iter().enumerate() {
        let full = windows.iter().filter_map(|(len_ms, holds)| {
            let first = k.checked_sub(*holds)?;
            Some(goes[first] + len_ms)
        });
        let at = full.chain(goes.last().copied()).fold(*came, i64::max);
        goes.push(at);
    }
    goes
}

/// Where somebody must wait, however well it is done: from which job to which, both included. Two of them with
/// less than `apart_ms` between are one.
pub(super) fn stretches(comes: &[i64], goes: &[i64], apart_ms: i64) -> Vec<(usize, usize)> {
    let mut all: Vec<(usize, usize)> = Vec::new();
    let waits = (0..comes.len()).filter(|k| goes[*k] > comes[*k]);
    for k in waits {
        match all.last_mut() {
            Some((_, last)) if comes[k] - goes[*last] < apart_ms => *last = k,
            _ => all.push((k, k)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: [Window; 2] = [(60_000, 1000), (1000, 50)];

    #[test]
    fn what_comes_at_once_goes_fifty_a_second_and_a_thousand_a_minute() {
        let goes = best(&[0; 2500], &WINDOWS);
        for (k, at) in [
            (0, 0),
            (49, 0),
            (50, 1000),
            (999, 19_000),
            (1000, 60_000),
            (2499, 129_000),
        ] {
            assert_eq!(goes[k], at, "{k}");
        }
        assert_eq!(stretches(&[0; 2500], &goes, 60_000), [(50, 2499)]);
    }

    #[test]
    fn what_comes_slowly_goes_at_once_and_two_crowds_far_apart_are_two() {
        let slowly: Vec<i64> = (0..500).map(|n| n * 100).collect();
        assert_eq!(best(&slowly, &WINDOWS), slowly);
        assert_eq!(stretches(&slowly, &slowly, 60_000), []);
        let mut twice = vec![0; 60];
        twice.extend([100_000; 70]);
        let goes = best(&twice, &WINDOWS);
        assert_eq!(stretches(&twice, &goes, 60_000), [(50, 59), (110, 129)]);
        assert_eq!(stretches(&twice, &goes, 100_000), [(50, 129)]);
    }
}
