//! CreateTags and DeleteTags.

use super::error::{self, ApiError};
use super::model::{State, Tags};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;

/// How many tags a resource may have (EC2 guide, "Tag restrictions").
const MOST: usize = 50;

pub(super) fn create(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let (ids, tags) = arguments(params)?;
    for id in &ids {
        let all = tags_of(state, id)?;
        all.extend(tags.clone());
        if all.len() > MOST {
            let message = format!("More than {MOST} tags specified on resource {id}.");
            return Err(ApiError::client("TagLimitExceeded", message));
        }
    }
    Ok(XmlBody::yes())
}

/// A tag given with a value goes only where it has that value; without tags, all go.
pub(super) fn delete(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let ids = params.list("ResourceId");
    if ids.is_empty() {
        return Err(ApiError::missing("resourceIdSet"));
    }
    let wanted: Vec<(String, Option<String>)> = params
        .structures("Tag")
        .iter()
        .filter_map(|at| {
            let value = params.get(&format!("{at}.Value")).map(str::to_owned);
            Some((params.get(&format!("{at}.Key"))?.to_owned(), value))
        })
        .collect();
    for id in &ids {
        let tags = tags_of(state, id)?;
        if wanted.is_empty() {
            tags.clear();
        }
        for (key, value) in &wanted {
            if value.is_none() || tags.get(key) == value.as_ref() {
                tags.remove(key);
            }
        }
    }
    Ok(XmlBody::yes())
}

/// Writes a `tagSet`.
pub(super) fn show(x: &mut XmlBody, tags: &Tags) {
    show_as(x, "tagSet", tags);
}

/// The same, and nothing where there are none.
pub(super) fn show_any(x: &mut XmlBody, tags: &Tags) {
    if !tags.is_empty() {
        show(x, tags);
    }
}

/// Writes tags under another name.
pub(super) fn show_as(x: &mut XmlBody, name: &str, tags: &Tags) {
    x.list(name, tags, |x, (key, value)| {
        x.put("key", key);
        x.put("value", value);
    });
}

fn arguments(params: &Params) -> Result<(Vec<String>, Tags), ApiError> {
    let (ids, tags) = (params.list("ResourceId"), params.tags("Tag"));
    if ids.is_empty() {
        return Err(ApiError::missing("resourceIdSet"));
    }
    if tags.is_empty() {
        return Err(ApiError::missing("tagSet"));
    }
    if let Some(key) = tags.keys().find(|key| key.starts_with("aws:")) {
        return Err(ApiError::value(format!(
            "Tag keys starting with 'aws:' are reserved for internal use: '{key}'"
        )));
    }
    Ok((ids, tags))
}

/// The tags of a resource of any kind; none of one that does not exist.
pub(super) fn of<'a>(state: &'a State, id: &str) -> Option<&'a Tags> {
    match id.split('-').next()? {
        "vpc" => state.vpcs.get(id).map(|r| &r.tags),
        "subnet" => state.subnets.get(id).map(|r| &r.tags),
        "rtb" => state.tables.get(id).map(|r| &r.tags),
        "igw" => state.gateways.get(id).map(|r| &r.tags),
        "nat" => state.nat_gateways.get(id).map(|r| &r.tags),
        "sg" => state.groups.get(id).map(|r| &r.tags),
        "eni" => state.interfaces.get(id).map(|r| &r.tags),
        "eipalloc" => state.allocations.get(id).map(|r| &r.tags),
        "i" => state.instances.get(id).map(|r| &r.tags),
        _ => None,
    }
}

fn tags_of<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Tags, ApiError> {
    let prefix = id.split('-').next().unwrap_or_default();
    let (kind, tags) = match prefix {
        "vpc" => (&error::VPC, state.vpcs.get_mut(id).map(|r| &mut r.tags)),
        "subnet" => (&error::SUBNET, state.subnets.get_mut(id).map(|r| &mut r.tags)),
        "rtb" => (&error::TABLE, state.tables.get_mut(id).map(|r| &mut r.tags)),
        "igw" => (&error::GATEWAY, state.gateways.get_mut(id).map(|r| &mut r.tags)),
        "nat" => (&error::NAT_GATEWAY, state.nat_gateways.get_mut(id).map(|r| &mut r.tags)),
        "sg" => (&error::GROUP, state.groups.get_mut(id).map(|r| &mut r.tags)),
        "eni" => (&error::INTERFACE, state.interfaces.get_mut(id).map(|r| &mut r.tags)),
        "eipalloc" => (&error::ALLOCATION, state.allocations.get_mut(id).map(|r| &mut r.tags)),
        "i" => (&error::INSTANCE, state.instances.get_mut(id).map(|r| &mut r.tags)),
        _ => {
            return Err(ApiError::client("InvalidID", format!("The ID '{id}' is not valid")));
        }
    };
    tags.ok_or_else(|| ApiError::not_found(kind, id))
}
