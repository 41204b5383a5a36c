//! The parameters of a call, as the Query protocol flattens them: `Filter.1.Value.2=x`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use ipnet::Ipv4Net;
use percent_encoding::percent_decode_str;

use super::error::{ApiError, lower_first};
use super::filter::Filter;

/// The parameters of one call, by their flattened names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    values: BTreeMap<String, String>,
}

impl Params {
    /// No parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads an `application/x-www-form-urlencoded` body.
    ///
    /// # Errors
    /// `MalformedQueryString` where it is not valid UTF-8 once decoded.
    pub fn parse(body: &str) -> Result<Self, ApiError> {
        let mut params = Self::new();
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            params.values.insert(decode(name)?, decode(value)?);
        }
        Ok(params)
    }

    /// The same with one more parameter; for building calls in Rust.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// One parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether one of them is exactly this.
    pub(super) fn mention(&self, value: &str) -> bool {
        self.values.values().any(|one| one == value)
    }

    /// Whether they ask for a list by filters and name no ids.
    pub(super) fn is_filtered_list(&self) -> bool {
        let mut names = self.names();
        names.clone().any(|name| name.starts_with("Filter."))
            && !names.any(|name| name.contains("Id."))
    }

    /// One parameter that must be there.
    ///
    /// # Errors
    /// `MissingParameter`.
    pub fn need(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::missing(name))
    }

    /// A yes-or-no parameter.
    ///
    /// # Errors
    /// `InvalidParameterValue` where it is neither.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("true" | "True") => Ok(Some(true)),
            Some("false" | "False") => Ok(Some(false)),
            Some(other) => Err(ApiError::value(format!(
                "Invalid value '{other}' for {name}. Must be true or false"
            ))),
        }
    }

    /// A parameter of some type.
    ///
    /// # Errors
    /// `InvalidParameterValue` where it does not parse.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                ApiError::value(format!("Value ({text}) for parameter {name} is invalid."))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// A CIDR block that must be there; host bits are cleared, as EC2 does. An empty text is a
    /// wrong value.
    ///
    /// # Errors
    /// `MissingParameter`, `InvalidParameterValue`.
    pub fn cidr(&self, name: &str) -> Result<Ipv4Net, ApiError> {
        let text = self.get(name).ok_or_else(|| ApiError::missing(name))?;
        let net: Ipv4Net = text.parse().map_err(|_| {
            let lower = lower_first(name);
            ApiError::value(format!(
                "Value ({text}) for parameter {lower} is invalid. This is not a valid CIDR block."
            ))
        })?;
        Ok(net.trunc())
    }

    /// A list `name.1`, `name.2`, …, in order.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        self.indices(name)
            .iter()
            .filter_map(|index| self.get(&format!("{name}.{index}")).map(str::to_owned))
            .collect()
    }

    /// The prefixes `name.1`, `name.2`, … of a list of structures, in order.
    #[must_use]
    pub fn structures(&self, name: &str) -> Vec<String> {
        self.indices(name).iter().map(|index| format!("{name}.{index}")).collect()
    }

    /// The tags under `TagSpecification.N` for one type of resource.
    #[must_use]
    pub fn tags_for(&self, resource_type: &str) -> BTreeMap<String, String> {
        self.structures("TagSpecification")
            .iter()
            .filter(|at| self.get(&format!("{at}.ResourceType")) == Some(resource_type))
            .flat_map(|at| self.tags(&format!("{at}.Tag")))
            .collect()
    }

    /// The tags under `name.N.Key` and `name.N.Value`.
    #[must_use]
    pub fn tags(&self, name: &str) -> BTreeMap<String, String> {
        self.structures(name)
            .iter()
            .filter_map(|at| {
                let key = self.get(&format!("{at}.Key"))?;
                let value = self.get(&format!("{at}.Value")).unwrap_or_default();
                Some((key.to_owned(), value.to_owned()))
            })
            .collect()
    }

    /// The filters under `Filter.N`.
    #[must_use]
    pub fn filters(&self) -> Vec<Filter> {
        self.structures("Filter")
            .iter()
            .map(|at| Filter {
                name: self.get(&format!("{at}.Name")).unwrap_or_default().to_owned(),
                values: self.list(&format!("{at}.Value")),
            })
            .collect()
    }

    /// Names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.values.keys().map(String::as_str)
    }

    /// The parameters in one line, for the record of calls.
    #[must_use]
    pub fn summary(&self) -> String {
        let shown: Vec<String> = self
            .values
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "Action" | "Version" | "UserData"))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        shown.join(" ")
    }

    fn indices(&self, name: &str) -> Vec<u32> {
        let prefix = format!("{name}.");
        let mut found: Vec<u32> = self
            .values
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix)?.split('.').next()?.parse().ok())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| {
        ApiError::client("MalformedQueryString", "The query string is not valid UTF-8")
    })?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_the_order_of_their_numbers() {
        let params = Params::parse("Id.10=c&Id.2=b&Id.1=a&Id=x").unwrap();
        assert_eq!(params.list("Id"), ["a", "b", "c"]);
    }

    #[test]
    fn filters_are_read_with_all_their_values() {
        let params =
            Params::parse("Filter.1.Name=tag%3AName&Filter.1.Value.1=a+b&Filter.1.Value.2=c")
                .unwrap();
        assert_eq!(
            params.filters(),
            [Filter { name: "tag:Name".into(), values: vec!["a b".into(), "c".into()] }]
        );
    }

    #[test]
    fn host_bits_of_a_block_are_cleared() {
        let params = Params::new().with("C", "100.68.0.18/18");
        assert_eq!(params.cidr("C").unwrap().to_string(), "100.68.0.0/18");
        assert!(Params::new().with("C", "10.0.0.0/33").cidr("C").is_err());
    }
}
