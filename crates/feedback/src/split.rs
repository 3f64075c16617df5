//! Training and validation that share no user and no time.

/// A row: who, and when (in any unit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose<'a> {
    /// The user's key.
    pub user: &'a str,
    /// When it happened.
    pub at: i64,
}

/// Places of the rows of each part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Before the cut, of users who are not held out.
    pub train: Vec<usize>,
    /// After the cut, of held-out users.
    pub validation: Vec<usize>,
    /// Neither: held-out users before the cut, others after it. They would leak a user or a time.
    pub dropped: Vec<usize>,
}

/// Splits by time (before `cut`; at it and after) and by user (a share `held_out` of the users by the hash of their key with `salt`), as RLUF
/// validates on conversations after the last one that it trained on (arXiv 2505.14946; specification C §5.1). The order of rows does not matter.
pub fn split(rows: &[Whose<'_>], cut: i64, held_out: f64, salt: &str) -> Parts {
    assert!((0.0..=1.0).contains(&held_out), "a share of users, got {held_out}");
    let mut parts = Parts::default();
    for (at, row) in rows.iter().enumerate() {
        let held = crate::assign::place("validation", salt, row.user) < held_out;
        match (row.at < cut, held) {
            (true, false) => parts.train.push(at),
            (false, true) => parts.validation.push(at),
            _ => parts.dropped.push(at),
        }
    }
    parts
}

/// The time before which a share of the rows lies: the cut that leaves about `1 − share` of them for validation. `None` without rows.
pub fn cut_at(times: &[i64], share: f64) -> Option<i64> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(((share * sorted.len() as f64) as usize).min(sorted.len().saturating_sub(1))).copied()
}

/// At most `most` rows of each user, the earliest first: a loud user must not be the data. Places in ascending order.
pub fn capped(rows: &[Whose<'_>], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| (rows[at].user, rows[at].at, at));
    let mut kept = Vec::new();
    let (mut user, mut count) = (None, 0);
    for at in order {
        count = if user == Some(rows[at].user) { count + 1 } else { 1 };
        user = Some(rows[at].user);
        if count <= most {
            kept.push(at);
        }
    }
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loud_users_are_capped_and_cuts_are_found() {
        let rows = [("a", 3), ("b", 1), ("a", 1), ("a", 2)].map(|(user, at)| Whose { user, at });
        assert_eq!((capped(&rows, 2), capped(&rows, 0)), (vec![1, 2, 3], vec![]));
        assert_eq!((cut_at(&[4, 1, 3, 2], 0.75), cut_at(&[], 0.5), cut_at(&[7], 1.0)), (Some(4), None, Some(7)));
    }

    proptest! {
        #[test]
        fn nothing_leaks(rows in prop::collection::vec(("[a-f]{1,2}", 0i64..100), 0..80), cut in 0i64..100, share in 0.0f64..1.0) {
            let rows: Vec<Whose> = rows.iter().map(|(user, at)| Whose { user, at: *at }).collect();
            let parts = split(&rows, cut, share, "s");
            prop_assert_eq!(parts.train.len() + parts.validation.len() + parts.dropped.len(), rows.len());
            for &t in &parts.train {
                for &v in &parts.validation {
                    prop_assert!(rows[t].user != rows[v].user && rows[t].at < rows[v].at);
                }
            }
        }
    }
}
