//! The few statistics that the figures need.

/// The middle value, or the mean of the two middle ones; none without values.
#[must_use]
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[middle - 1], upper))
}

/// The largest value; none without values.
#[must_use]
pub(super) fn largest(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

/// A value with so many decimals, for people and for a file that is compared by eye.
#[must_use]
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// A count as a figure.
#[must_use]
pub(super) fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_depend_on_the_order() {
        assert_eq!(median(&[30.0, 10.0, 20.0]), Some(20.0));
        assert_eq!(median(&[40.0, 10.0, 20.0, 30.0]), Some(25.0));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_largest_is_found_anywhere() {
        assert_eq!(largest(&[1.0, 9.0, 3.0]), Some(9.0));
        assert_eq!(largest(&[]), None);
    }

    #[test]
    fn values_are_rounded_half_away_from_zero() {
        assert!((rounded(1.25, 1) - 1.3).abs() < 1e-12);
        assert!((rounded(330.049, 1) - 330.0).abs() < 1e-12);
        assert!((rounded(12.0, 0) - 12.0).abs() < 1e-12);
    }

    #[test]
    fn a_count_is_exact() {
        assert!((count(30_000) - 30_000.0).abs() < 1e-12);
    }
}
