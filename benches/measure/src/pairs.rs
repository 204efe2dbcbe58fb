//! Ratios of samples that were taken one after the other, in the same circumstances.

use crate::phase::Distance;
use crate::spread::Spread;

/// A sample with what has to be known to compare it.
pub trait Paired {
    /// In which round it was taken.
    fn round(&self) -> usize;

    /// Whether nothing came between.
    fn is_good(&self) -> bool;

    /// How far apart the cores were, where that matters.
    fn distance(&self) -> Option<Distance>;
}

/// Over pairs of one round, both good, taken at the same distance of the cores.
pub fn ratio<S: Paired>(ours: &[S], theirs: &[S], ratio: impl Fn(&S, &S) -> f64) -> Option<Spread> {
    let ratios = ours.iter().filter(|our| our.is_good()).filter_map(|our| {
        let mut theirs = theirs.iter().filter(|their| their.is_good());
        let their = theirs.find(|their| their.round() == our.round() && are_near(our, *their))?;
        Some(ratio(our, their))
    });
    Spread::of(ratios.collect())
}

/// In which circumstances samples were taken, in a sentence or two: where the cores were, and how many samples count for
/// nothing. `None` if the distance of none is known.
pub fn circumstances<'a, S: Paired + 'a>(
    samples: impl Iterator<Item = &'a S> + Clone,
) -> Option<String> {
    let nanos = samples.clone().filter_map(|it| it.distance()).map(|it| it.nanos()).collect();
    let Spread { least, most, count, .. } = Spread::of(nanos)?;
    let bad = samples.filter(|sample| !sample.is_good()).count();
    Some(format!(
        "Distance of the cores: {least:.0} to {most:.0} ns. Samples left out of the ratios: {bad} of {count}."
    ))
}

fn are_near(our: &impl Paired, their: &impl Paired) -> bool {
    let distances = our.distance().zip(their.distance());
    distances.is_none_or(|(our, their)| our.is_like(their))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sample(usize, bool, f64);

    impl Paired for Sample {
        fn round(&self) -> usize {
            self.0
        }

        fn is_good(&self) -> bool {
            self.1
        }

        fn distance(&self) -> Option<Distance> {
            None
        }
    }

    #[test]
    fn only_good_samples_of_the_same_round_make_a_pair() {
        let ours = [Sample(0, true, 4.0), Sample(1, false, 100.0), Sample(2, true, 9.0)];
        let theirs = [Sample(2, true, 3.0), Sample(1, true, 1.0), Sample(0, true, 2.0)];
        let spread = ratio(&ours, &theirs, |our, their| our.2 / their.2).unwrap();
        assert_eq!((spread.median, spread.least, spread.most, spread.count), (2.5, 2.0, 3.0, 2));
        assert!(ratio(&ours, &theirs[1..2], |our, their| our.2 / their.2).is_none());
    }
}
