//! A slope that outliers don't move: the median of the slopes between all pairs (Theil–Sen).

/// A value at a time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub at: f64,
    pub value: f64,
}

/// Change per second; `None` with fewer than two points.
pub(super) fn slope(points: impl Iterator<Item = Point> + Clone) -> Option<f64> {
    let mut slopes = Vec::new();
    let mut rest = points;
    while let Some(one) = rest.next() {
        let steps = rest.clone().filter(|other| other.at > one.at);
        slopes.extend(steps.map(|other| (other.value - one.value) / (other.at - one.at)));
    }
    let middle = slopes.len() / 2;
    if slopes.is_empty() {
        return None;
    }
    let (_, median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Option<f64> {
        let points = values.iter().enumerate().map(|(i, &value)| Point {
            at: i as f64,
            value,
        });
        slope(points)
    }

    #[test]
    fn a_line_has_its_slope_and_a_point_none() {
        assert_eq!(of(&[1.0, 3.0, 5.0, 7.0]), Some(2.0));
        assert_eq!(of(&[1.0]), None);
    }

    #[test]
    fn bursts_do_not_move_it() {
        let mut values: Vec<f64> = (0..60).map(|i| f64::from(i % 3)).collect();
        for burst in values.iter_mut().skip(20).take(12) {
            *burst += 1e9;
        }
        assert!(of(&values).is_some_and(|s| s.abs() < 0.1));
    }
}
