//! Where instance types are offered.

use super::error::ApiError;
use super::filter::{self, Filtered};
use super::model::{State, Tags};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;

/// A type in a place. Every type is offered in every zone of the simulated Region.
struct Offering {
    kind: String,
    place: String,
    tags: Tags,
}

/// Lists the types that the request's filter names, since there is no list of all types here.
pub(super) fn describe(_: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let filters = params.filters();
    filter::check::<Offering>(&filters)?;
    let region = &ctx.settings.region;
    let (sort, places) = match params.get("LocationType") {
        None | Some("region") => ("region", vec![region.clone()]),
        Some("availability-zone") => {
            ("availability-zone", ["a", "b", "c"].map(|zone| format!("{region}{zone}")).into())
        }
        Some(other) => {
            return Err(ApiError::value(format!(
                "Value ({other}) for parameter LocationType is invalid: the lab has Regions and \
                 availability zones."
            )));
        }
    };
    let named = filters.iter().filter(|filter| filter.name == "instance-type");
    let kinds = named.flat_map(|filter| &filter.values).filter(|kind| !kind.contains('*'));
    let all = kinds.flat_map(|kind| {
        let offering = |place: &String| Offering {
            kind: kind.clone(),
            place: place.clone(),
            tags: Tags::new(),
        };
        places.iter().map(offering).collect::<Vec<_>>()
    });
    let found = all.filter(|offering| filter::matches(offering, &filters));
    let mut body = XmlBody::new();
    body.list("instanceTypeOfferingSet", found, |x, offering| {
        x.put("instanceType", &offering.kind);
        x.put("locationType", sort);
        x.put("location", &offering.place);
    });
    Ok(body)
}

impl Filtered for Offering {
    const NAMES: &'static [&'static str] = &["instance-type", "location"];

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        match name {
            "instance-type" => vec![self.kind.clone()],
            "location" => vec![self.place.clone()],
            _ => Vec::new(),
        }
    }
}
