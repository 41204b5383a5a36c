//! `Filter.N` and paging, the same for every Describe call.

use std::fmt::Write;

use super::error::ApiError;
use super::params::Params;

/// One filter: a name and the values of which one must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Such as `vpc-id` or `tag:Name`.
    pub name: String,
    /// Patterns: `*` is any text, `?` any one character, `\` takes the next one literally.
    pub values: Vec<String>,
}

/// Something that Describe calls list and filter.
pub(super) trait Filtered {
    /// The filters that exist for it, besides `tag:…` and `tag-key`.
    const NAMES: &'static [&'static str];

    /// Its tags.
    fn tags(&self) -> &std::collections::BTreeMap<String, String>;

    /// Its values for one of `NAMES`.
    fn values(&self, name: &str) -> Vec<String>;
}

/// Refuses filters that do not exist for this kind of resource.
pub(super) fn check<T: Filtered>(filters: &[Filter]) -> Result<(), ApiError> {
    for filter in filters {
        let known = filter.name.starts_with("tag:")
            || filter.name == "tag-key"
            || T::NAMES.contains(&filter.name.as_str());
        if !known {
            return Err(ApiError::value(format!("The filter '{}' is invalid", filter.name)));
        }
        if filter.values.is_empty() {
            return Err(ApiError::value(format!("The filter '{}' has no value", filter.name)));
        }
    }
    Ok(())
}

/// Whether every filter has a value that matches.
pub(super) fn matches<T: Filtered>(item: &T, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| {
        let found: Vec<String> = if let Some(key) = filter.name.strip_prefix("tag:") {
            item.tags().get(key).cloned().into_iter().collect()
        } else if filter.name == "tag-key" {
            item.tags().keys().cloned().collect()
        } else {
            item.values(&filter.name)
        };
        filter.values.iter().any(|pattern| found.iter().any(|value| glob(pattern, value)))
    })
}

/// Wildcard match as EC2 filters do it.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    fn go(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skip| go(rest, &text[skip..])),
            ['?', rest @ ..] => !text.is_empty() && go(rest, &text[1..]),
            ['\\', c, rest @ ..] | [c, rest @ ..] => {
                text.first() == Some(c) && go(rest, &text[1..])
            }
        }
    }
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    go(&pattern, &text)
}

/// One page of a listing, and the token of the next.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

/// Bounds of `MaxResults` of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageSize {
    pub(super) most: usize,
    /// The page without `MaxResults`; none where everything comes at once.
    pub(super) default: Option<usize>,
}

/// A resource's place in listings. EC2's have an order of their own, which is not that of the ids.
fn place(id: &str) -> (u64, &str) {
    // FNV-1a.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    (id.bytes().fold(0xcbf2_9ce4_8422_2325, step), id)
}

/// Puts a listing in order.
pub(super) fn arrange<T>(items: &mut [T], id_of: impl Fn(&T) -> &str) {
    items.sort_by(|a, b| place(id_of(a)).cmp(&place(id_of(b))));
}

/// Puts a listing in order and cuts it to the page that was asked for.
pub(super) fn page<T>(
    mut items: Vec<T>,
    id_of: impl Fn(&T) -> &str,
    ids_given: bool,
    size: PageSize,
    params: &Params,
) -> Result<Page<T>, ApiError> {
    let asked: Option<usize> = params.parsed("MaxResults")?;
    if let Some(asked) = asked {
        if ids_given {
            return Err(ApiError::combination(
                "The parameter MaxResults cannot be used with a list of ids in the same request",
            ));
        }
        if !(5..=size.most).contains(&asked) {
            return Err(ApiError::value(format!(
                "Value ( {asked} ) for parameter maxResults is invalid. Expecting a value between \
                 5 and {}.",
                size.most
            )));
        }
    }
    let after = params.get("NextToken").map(token_id).transpose()?;
    if let Some(after) = &after {
        items.retain(|item| place(id_of(item)) > place(after));
    }
    arrange(&mut items, &id_of);
    let limit = asked.or(size.default).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| token_for(id_of(last)));
    Ok(Page { items, next })
}

fn token_for(id: &str) -> String {
    id.bytes().fold(String::new(), |mut token, byte| {
        write!(token, "{byte:02x}").expect("writing to a String never fails");
        token
    })
}

fn token_id(token: &str) -> Result<String, ApiError> {
    let refused =
        || ApiError::client("InvalidNextToken", format!("The token '{token}' is invalid"));
    let bytes: Option<Vec<u8>> = (0..token.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(token.get(at..at + 2)?, 16).ok())
        .collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_ec2_documents_them() {
        assert!(glob("a*c", "abbbc") && glob("a?c", "abc") && glob("*", ""));
        assert!(!glob("a?c", "ac") && !glob("a", "ab"));
        assert!(glob("a\\*", "a*") && !glob("a\\*", "ab"));
    }

    #[test]
    fn pages_join_to_the_whole_without_overlap() {
        let all: Vec<String> = (10..30).map(|n| format!("x-{n}")).collect();
        let size = PageSize { most: 100, default: None };
        let mut seen = Vec::new();
        let mut params = Params::new().with("MaxResults", 7);
        loop {
            let page = page(all.clone(), |id| id, false, size, &params).unwrap();
            seen.extend(page.items);
            let Some(next) = page.next else { break };
            params = params.with("NextToken", next);
        }
        assert_ne!(seen, all, "no client can rely on the order of the ids");
        seen.sort();
        assert_eq!(seen, all);
    }

    #[test]
    fn a_page_size_outside_the_bounds_or_a_made_up_token_is_refused() {
        let size = PageSize { most: 100, default: None };
        let ask = |params: Params| page(vec!["a"], |id| id, false, size, &params);
        assert_eq!(
            ask(Params::new().with("MaxResults", 4)).unwrap_err().code,
            "InvalidParameterValue"
        );
        assert_eq!(
            ask(Params::new().with("NextToken", "zz")).unwrap_err().code,
            "InvalidNextToken"
        );
    }
}
