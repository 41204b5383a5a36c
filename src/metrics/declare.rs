//! The form in which the catalogues list metrics.

/// Makes a static of each metric, and the list of all.
macro_rules! metrics {
    ($($ident:ident: $kind:ident $name:literal [$($label:literal),*] $unit:literal
       from $source:literal $(aged $($age:ident)+)?: $help:literal;)+) => {
        $(pub(super) static $ident: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            unit: $unit,
            source: $source,
            help: $help,
            ages: &[$($(&$age),+)?],
        };)+

        /// All of them, in the order of the reference.
        pub(super) static ALL: &[&Metric] = &[$(&$ident),+];
    };
}
pub(super) use metrics;
