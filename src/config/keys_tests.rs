//! Every setting has a default in its range and names of its own.

use super::*;
use crate::config::Settings;

#[test]
fn every_default_is_in_its_range() {
    let defaults = Settings::default();
    for key in all() {
        let text = key.get(&defaults);
        let mut read = Settings::default();
        if !text.is_empty() {
            assert_eq!(key.set(&mut read, &text), Ok(()), "{}", key.name);
            assert_eq!(read, defaults, "{}", key.name);
        }
    }
}

#[test]
fn names_and_variables_are_unique() {
    let names: std::collections::BTreeSet<_> = all().map(|key| key.name).collect();
    let variables: std::collections::BTreeSet<_> = all().map(SettingKey::env).collect();
    assert_eq!(names.len(), all().count());
    assert_eq!(variables.len(), all().count());
}
