//! RunInstances and ModifyInstanceAttribute.

use super::error::{self, ApiError, Kind};
use super::interfaces::{self, Wanted};
use super::model::{Health, Instance, Phase, State, Tags, find, find_mut};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{listing, power, routes};

/// One interface of a new instance.
struct Plug {
    device_index: u32,
    existing: Option<String>,
    subnet: Option<String>,
    address: Option<String>,
    groups: Vec<String>,
    public: bool,
    delete_on_termination: bool,
}

pub(super) fn run(state: &mut State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    known_image(ctx, params.need("ImageId")?)?;
    params.need("MinCount")?;
    let most: usize = params.parsed("MaxCount")?.ok_or_else(|| ApiError::missing("MaxCount"))?;
    let token = params.get("ClientToken").unwrap_or_default();
    let repeated = state.instances.values().find(|i| !token.is_empty() && i.client_token == token);
    if let Some(repeated) = repeated {
        let reservation = repeated.reservation.clone();
        return Ok(listing::reservation(state, ctx, &reservation));
    }
    let plugs = plugs(params)?;
    if most > 1 && plugs.iter().any(|p| p.existing.is_some() || p.address.is_some()) {
        return Err(ApiError::combination(
            "Private addresses and existing interfaces need MaxCount 1",
        ));
    }
    if !(1..=100).contains(&most) {
        return Err(ApiError::value(format!("Value ({most}) for parameter MaxCount is invalid.")));
    }
    let reservation = state.new_id("r");
    for _ in 0..most {
        run_one(state, ctx, params, &plugs, &reservation)?;
    }
    Ok(listing::reservation(state, ctx, &reservation))
}

fn known_image(ctx: &Ctx<'_>, id: &str) -> Result<(), ApiError> {
    if ctx.settings.images.contains(id) {
        return Ok(());
    }
    let Kind { code, prefix, .. } = error::IMAGE;
    Err(if id.starts_with(&format!("{prefix}-")) {
        let message = format!("The image id '[{id}]' does not exist");
        ApiError::client(&format!("{code}.NotFound"), message)
    } else {
        let message = format!("Invalid id: \"{id}\" (expecting \"{prefix}-...\")");
        ApiError::client(&format!("{code}.Malformed"), message)
    })
}

fn run_one(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
    plugs: &[Plug],
    reservation: &str,
) -> Result<(), ApiError> {
    let id = state.new_id(error::INSTANCE.prefix);
    let kind = params.get("InstanceType").unwrap_or("c7gn.4xlarge").to_owned();
    let mut zone = None;
    for plug in plugs {
        let tags = params.tags_for("network-interface");
        let interface = plug_in(state, ctx, &id, plug, tags)?;
        let subnet = &find(&state.interfaces, &error::INTERFACE, &interface)?.subnet;
        let found = find(&state.subnets, &error::SUBNET, subnet)?.zone.clone();
        if *zone.get_or_insert_with(|| found.clone()) != found {
            return Err(ApiError::combination("All interfaces must be in one availability zone"));
        }
    }
    let zone = zone.ok_or_else(|| ApiError::missing("SubnetId"))?;
    power::room(ctx, &kind, &zone)?;
    let spot = params.get("InstanceMarketOptions.MarketType") == Some("spot");
    let lasting = params.get("InstanceMarketOptions.SpotOptions.SpotInstanceType");
    let profile = params
        .get("IamInstanceProfile.Name")
        .or_else(|| params.get("IamInstanceProfile.Arn").and_then(|arn| arn.rsplit('/').next()));
    let instance = Instance {
        id: id.clone(),
        reservation: reservation.to_owned(),
        image: params.need("ImageId")?.to_owned(),
        kind,
        zone,
        created: ctx.now,
        launched: ctx.now,
        phase: Phase::Pending,
        since: ctx.now,
        until: Some(ctx.now + ctx.settings.timings.start()),
        guest_off: false,
        state_reason: Some(("pending".to_owned(), "pending".to_owned())),
        transition_reason: String::new(),
        boot: 1,
        user_data: params.get("UserData").map(decode_user_data).transpose()?,
        stop_protection: params.flag("DisableApiStop")?.unwrap_or(false),
        termination_protection: params.flag("DisableApiTermination")?.unwrap_or(false),
        one_time_spot: spot && lasting != Some("persistent"),
        auto_public: plugs.iter().any(|plug| plug.public),
        profile: profile.map(str::to_owned),
        metadata_tags: params.get("MetadataOptions.InstanceMetadataTags") == Some("enabled"),
        tokens_required: tokens_required(params)?,
        health: Health::default(),
        unreachable: None,
        client_token: params.get("ClientToken").unwrap_or_default().to_owned(),
        tags: params.tags_for("instance"),
    };
    state.instances.insert(id, instance);
    Ok(())
}

fn plug_in(
    state: &mut State,
    ctx: &Ctx<'_>,
    instance: &str,
    plug: &Plug,
    tags: Tags,
) -> Result<String, ApiError> {
    let id = if let Some(existing) = &plug.existing {
        let interface = find(&state.interfaces, &error::INTERFACE, existing)?;
        if interface.attachment.is_some() {
            return Err(ApiError::client(
                "InvalidNetworkInterface.InUse",
                format!("Interface: [{existing}] in use."),
            ));
        }
        existing.clone()
    } else {
        let subnet = plug.subnet.as_deref().ok_or_else(|| ApiError::missing("SubnetId"))?;
        let wanted = Wanted {
            subnet,
            address: plug.address.as_deref(),
            groups: plug.groups.clone(),
            description: String::new(),
            tags,
        };
        interfaces::add(state, wanted)?
    };
    let (index, delete) = (plug.device_index, plug.delete_on_termination);
    interfaces::join(state, &id, instance, index, delete, ctx)?;
    Ok(id)
}

/// As of an image with `ImdsSupport`, whose instances require tokens unless a launch says
/// otherwise.
fn tokens_required(params: &Params) -> Result<bool, ApiError> {
    match params.get("MetadataOptions.HttpTokens") {
        None | Some("required") => Ok(true),
        Some("optional") => Ok(false),
        Some(other) => Err(ApiError::value(format!(
            "Value ({other}) for parameter httpTokens is invalid. Valid values are: optional, \
             required."
        ))),
    }
}

fn plugs(params: &Params) -> Result<Vec<Plug>, ApiError> {
    let listed = params.structures("NetworkInterface");
    if listed.is_empty() {
        return Ok(vec![Plug {
            device_index: 0,
            existing: None,
            subnet: Some(params.need("SubnetId")?.to_owned()),
            address: params.get("PrivateIpAddress").map(str::to_owned),
            groups: params.list("SecurityGroupId"),
            public: false,
            delete_on_termination: true,
        }]);
    }
    if params.get("SubnetId").is_some() || !params.list("SecurityGroupId").is_empty() {
        return Err(ApiError::combination(
            "Network interfaces and an instance-level subnet ID or security groups may not be \
             specified on the same request",
        ));
    }
    let mut plugs = Vec::new();
    for at in &listed {
        let text = |name: &str| params.get(&format!("{at}.{name}")).map(str::to_owned);
        let existing = text("NetworkInterfaceId");
        let delete = params.flag(&format!("{at}.DeleteOnTermination"))?;
        plugs.push(Plug {
            device_index: params.parsed(&format!("{at}.DeviceIndex"))?.unwrap_or(0),
            subnet: text("SubnetId"),
            address: text("PrivateIpAddress"),
            groups: params.list(&format!("{at}.SecurityGroupId")),
            public: params.flag(&format!("{at}.AssociatePublicIpAddress"))?.unwrap_or(false),
            delete_on_termination: delete.unwrap_or(existing.is_none()),
            existing,
        });
    }
    plugs.sort_by_key(|plug| plug.device_index);
    let unique: std::collections::BTreeSet<u32> = plugs.iter().map(|p| p.device_index).collect();
    if unique.len() != plugs.len() || !unique.contains(&0) {
        return Err(ApiError::value("Each network interface requires its own device index from 0"));
    }
    Ok(plugs)
}

pub(super) fn modify(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("InstanceId")?;
    find(&state.instances, &error::INSTANCE, id)?;
    let (attribute, value) = attribute(params)?;
    let flag = || match value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(ApiError::value(format!("Invalid value '{other}' for {attribute}"))),
    };
    if attribute == "sourceDestCheck" {
        let check = flag()?;
        let interface = routes::only_interface(state, id)?;
        let interface = find_mut(&mut state.interfaces, &error::INTERFACE, &interface)?;
        interface.source_dest_check = check;
        return Ok(XmlBody::yes());
    }
    let instance = find_mut(&mut state.instances, &error::INSTANCE, id)?;
    match attribute.as_str() {
        "disableApiStop" => instance.stop_protection = flag()?,
        "disableApiTermination" => instance.termination_protection = flag()?,
        "userData" | "instanceType" if instance.phase != Phase::Stopped => {
            return Err(ApiError::state(format!(
                "The instance '{id}' is not in the 'stopped' state."
            )));
        }
        "userData" => instance.user_data = Some(decode_user_data(&value)?),
        "instanceType" => instance.kind = value,
        other => {
            return Err(ApiError::value(format!("The attribute '{other}' cannot be modified")));
        }
    }
    Ok(XmlBody::yes())
}

/// The one attribute that a request sets, in either of the API's two ways of writing it.
fn attribute(params: &Params) -> Result<(String, String), ApiError> {
    let direct = [
        ("SourceDestCheck", "sourceDestCheck"),
        ("DisableApiStop", "disableApiStop"),
        ("DisableApiTermination", "disableApiTermination"),
        ("UserData", "userData"),
        ("InstanceType", "instanceType"),
    ];
    let mut given: Vec<(String, String)> = direct
        .iter()
        .filter_map(|(name, attribute)| {
            let value = params.get(&format!("{name}.Value"))?;
            Some(((*attribute).to_owned(), value.to_owned()))
        })
        .collect();
    if let Some(attribute) = params.get("Attribute") {
        given.push((attribute.to_owned(), params.need("Value")?.to_owned()));
    }
    match given.len() {
        1 => Ok(given.remove(0)),
        0 => Err(ApiError::combination("No attributes specified.")),
        _ => Err(ApiError::combination(
            "Fields for multiple attribute types specified: only one may be given",
        )),
    }
}

/// User data travels in base64.
fn decode_user_data(text: &str) -> Result<String, ApiError> {
    let refused = || ApiError::value("Invalid BASE64 encoding of user data.");
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(refused()),
        };
        bits = (bits << 6 | u32::from(digit)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).map_err(|_| refused())?);
        }
    }
    if bytes.len() > 16_384 {
        return Err(ApiError::value("User data is limited to 16384 bytes"));
    }
    String::from_utf8(bytes).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_is_decoded_from_base64() {
        assert_eq!(decode_user_data("IyEvYmluL3NoCg==").unwrap(), "#!/bin/sh\n");
        assert!(decode_user_data("not base64!").is_err());
    }
}
