//! Medians.

/// The middle of several numbers, and how far they go.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The middle one, or halfway between the two in the middle.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The greatest.
    pub most: f64,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    /// Of those that are numbers; nothing where there is none.
    pub fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.retain(|number| number.is_finite());
        numbers.sort_by(f64::total_cmp);
        let count = numbers.len();
        let upper = *numbers.get(count / 2)?;
        let lower = *numbers.get((count - 1) / 2)?;
        let (&least, &most) = (numbers.first()?, numbers.last()?);
        Some(Self { median: f64::midpoint(lower, upper), least, most, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.least, spread.most, spread.count), (2.5, 1.0, 4.0, 4));
        assert_eq!(Spread::of(vec![5.0, 1.0, 3.0]).unwrap().median, 3.0);
        assert!(Spread::of(Vec::new()).is_none());
    }
}
