//! Internet gateways.

use super::error::{self, ApiError};
use super::filter::{self, Filtered, PageSize};
use super::model::{Gateway, State, Tags, find, find_mut, named};
use super::params::Params;
use super::tags;
use super::world::Ctx;
use super::xml::XmlBody;

#[expect(clippy::unnecessary_wraps, reason = "every call has this form")]
pub(super) fn create(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = state.new_id(error::GATEWAY.prefix);
    let gateway = Gateway { id: id.clone(), vpc: None, tags: params.tags_for("internet-gateway") };
    let mut body = XmlBody::new();
    body.nest("internetGateway", |x| show(x, &gateway, ctx));
    state.gateways.insert(id, gateway);
    Ok(body)
}

pub(super) fn attach(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let (id, vpc) = (params.need("InternetGatewayId")?, params.need("VpcId")?);
    find(&state.vpcs, &error::VPC, vpc)?;
    let busy = state.gateways.values().any(|g| g.vpc.as_deref() == Some(vpc));
    let gateway = find_mut(&mut state.gateways, &error::GATEWAY, id)?;
    if gateway.vpc.is_some() {
        return Err(ApiError::client(
            "Resource.AlreadyAssociated",
            format!("resource {} is already attached to network {vpc}", gateway.id),
        ));
    }
    if busy {
        return Err(ApiError::value(format!(
            "Network {vpc} already has an internet gateway attached"
        )));
    }
    gateway.vpc = Some(vpc.to_owned());
    Ok(XmlBody::yes())
}

/// Refused while anything in the VPC has a public address.
pub(super) fn detach(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let (id, vpc) = (params.need("InternetGatewayId")?, params.need("VpcId")?);
    find(&state.vpcs, &error::VPC, vpc)?;
    if find(&state.gateways, &error::GATEWAY, id)?.vpc.as_deref() != Some(vpc) {
        return Err(ApiError::client(
            "Gateway.NotAttached",
            format!("resource {id} is not attached to network {vpc}"),
        ));
    }
    if state.interfaces.values().any(|it| it.vpc == vpc && !it.public.is_empty()) {
        return Err(ApiError::client(
            "DependencyViolation",
            format!(
                "Network {vpc} has some mapped public address(es). Please unmap those public \
                 address(es) before detaching the gateway."
            ),
        ));
    }
    find_mut(&mut state.gateways, &error::GATEWAY, id)?.vpc = None;
    Ok(XmlBody::yes())
}

pub(super) fn delete(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("InternetGatewayId")?;
    if find(&state.gateways, &error::GATEWAY, id)?.vpc.is_some() {
        return Err(ApiError::depended_upon(&error::GATEWAY, id));
    }
    state.gateways.remove(id);
    Ok(XmlBody::yes())
}

pub(super) fn describe(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let ids = params.list("InternetGatewayId");
    let filters = params.filters();
    filter::check::<Gateway>(&filters)?;
    let found = named(&state.gateways, &error::GATEWAY, &ids)?
        .into_iter()
        .filter(|gateway| filter::matches(*gateway, &filters))
        .collect();
    let size = PageSize { most: 1000, default: None };
    let page = filter::page(found, |gateway| &gateway.id, !ids.is_empty(), size, params)?;
    let mut body = XmlBody::new();
    body.list("internetGatewaySet", page.items, |x, gateway| show(x, gateway, ctx));
    body.maybe("nextToken", page.next);
    Ok(body)
}

fn show(x: &mut XmlBody, gateway: &Gateway, ctx: &Ctx<'_>) {
    x.put("internetGatewayId", &gateway.id);
    x.put("ownerId", &ctx.settings.account);
    x.list("attachmentSet", &gateway.vpc, |x, vpc| {
        x.put("vpcId", vpc);
        // The state of an attached internet gateway has a word of its own (botocore's model,
        // `InternetGatewayAttachment`).
        x.put("state", "available");
    });
    tags::show(x, &gateway.tags);
}

impl Filtered for Gateway {
    const NAMES: &'static [&'static str] =
        &["attachment.state", "attachment.vpc-id", "internet-gateway-id", "owner-id"];

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        let attached = self.vpc.iter();
        match name {
            "attachment.state" => attached.map(|_| "available".to_owned()).collect(),
            "attachment.vpc-id" => attached.cloned().collect(),
            "internet-gateway-id" => vec![self.id.clone()],
            _ => Vec::new(),
        }
    }
}
