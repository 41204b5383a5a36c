//! DescribeInstances, and the same elements as RunInstances answers them.

use super::error::{self, ApiError};
use super::filter::{self, Filtered, PageSize};
use super::interfaces::{self, private_name, public_name};
use super::model::{Instance, Interface, Phase, Public, State, Tags, named};
use super::params::Params;
use super::settings::WorldSettings;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{groups, power, tags, vpcs};

/// The name of every root disk.
const ROOT_DEVICE: &str = "/dev/xvda";

/// An instance with what is needed to describe it.
struct Shown<'a> {
    instance: &'a Instance,
    state: &'a State,
    interfaces: Vec<&'a Interface>,
    account: &'a str,
    ctx: &'a Ctx<'a>,
}

pub(super) fn describe(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let ids = params.list("InstanceId");
    let filters = params.filters();
    filter::check::<Shown<'_>>(&filters)?;
    let found = named(&state.instances, &error::INSTANCE, &ids)?
        .into_iter()
        .map(|instance| shown(state, instance, ctx))
        .filter(|shown| filter::matches(shown, &filters))
        .collect();
    let size = PageSize { most: 1000, default: None };
    let page = filter::page(found, |s: &Shown<'_>| &s.instance.id, !ids.is_empty(), size, params)?;
    // In the order of their first instances.
    let mut reservations: Vec<(&str, Vec<&Shown<'_>>)> = Vec::new();
    for shown in &page.items {
        let id = shown.instance.reservation.as_str();
        match reservations.iter_mut().find(|(known, _)| *known == id) {
            Some((_, members)) => members.push(shown),
            None => reservations.push((id, vec![shown])),
        }
    }
    let mut body = XmlBody::new();
    body.list("reservationSet", reservations, |x, (id, members)| {
        show_reservation(x, id, &members, ctx);
    });
    body.maybe("nextToken", page.next);
    Ok(body)
}

/// One reservation, as RunInstances answers it.
pub(super) fn reservation(state: &State, ctx: &Ctx<'_>, id: &str) -> XmlBody {
    let members: Vec<Shown<'_>> = state
        .instances
        .values()
        .filter(|instance| instance.reservation == id)
        .map(|instance| shown(state, instance, ctx))
        .collect();
    let mut body = XmlBody::new();
    show_reservation(&mut body, id, &members.iter().collect::<Vec<_>>(), ctx);
    body
}

fn shown<'a>(state: &'a State, instance: &'a Instance, ctx: &'a Ctx<'a>) -> Shown<'a> {
    let interfaces = state.interfaces_of(&instance.id);
    Shown { instance, state, interfaces, account: &ctx.settings.account, ctx }
}

fn show_reservation(x: &mut XmlBody, id: &str, members: &[&Shown<'_>], ctx: &Ctx<'_>) {
    x.put("reservationId", id);
    x.put("ownerId", &ctx.settings.account);
    x.list("groupSet", std::iter::empty::<()>(), |_, ()| {});
    x.list("instancesSet", members.iter().enumerate(), |x, (index, shown)| {
        show(x, shown, index);
    });
}

fn show(x: &mut XmlBody, shown: &Shown<'_>, index: usize) {
    let Shown { instance, ctx, .. } = shown;
    x.put("instanceId", &instance.id);
    x.put("imageId", &instance.image);
    x.nest("instanceState", |x| power::show_phase(x, instance.phase));
    x.put("reason", &instance.transition_reason);
    x.put("amiLaunchIndex", index);
    x.put("instanceType", &instance.kind);
    x.put("launchTime", ctx.settings.stamp(instance.launched));
    x.nest("placement", |x| {
        x.put("availabilityZone", &instance.zone);
        x.put("availabilityZoneId", WorldSettings::zone_id(&instance.zone));
        x.put("groupName", "");
        x.put("tenancy", "default");
    });
    x.list("productCodes", std::iter::empty::<()>(), |_, ()| {});
    x.nest("monitoring", |x| x.put("state", "disabled"));
    show_place(x, shown);
    if let Some((code, message)) = &instance.state_reason {
        x.nest("stateReason", |x| {
            x.put("code", code);
            x.put("message", message);
        });
    }
    x.put("architecture", architecture(&instance.kind));
    x.put("virtualizationType", "hvm");
    x.put("hypervisor", "xen");
    x.put("rootDeviceType", "ebs");
    x.put("rootDeviceName", ROOT_DEVICE);
    x.put("ebsOptimized", false);
    x.put("enaSupport", true);
    x.put("clientToken", &instance.client_token);
    if instance.one_time_spot {
        x.put("instanceLifecycle", "spot");
    }
    if let Some(profile) = &instance.profile {
        let account = shown.account;
        x.nest("iamInstanceProfile", |x| {
            x.put("arn", format!("arn:aws:iam::{account}:instance-profile/{profile}"));
            x.put("id", format!("AIPA{:0>16}", profile.len()));
        });
    }
    x.nest("metadataOptions", |x| {
        x.put("state", "applied");
        x.put("httpTokens", if instance.tokens_required { "required" } else { "optional" });
        x.put("httpPutResponseHopLimit", 2);
        x.put("httpEndpoint", "enabled");
        x.put("httpProtocolIpv6", "disabled");
        let tags = if instance.metadata_tags { "enabled" } else { "disabled" };
        x.put("instanceMetadataTags", tags);
    });
    show_hardware(x, instance, ctx);
    tags::show_any(x, &instance.tags);
    x.list("networkInterfaceSet", &shown.interfaces, |x, interface| {
        show_interface(x, shown, interface);
    });
}

/// What all instances of the lab have in common, with the values that EC2 shows for a small one of
/// Linux.
fn show_hardware(x: &mut XmlBody, instance: &Instance, ctx: &Ctx<'_>) {
    let volume = (instance.phase != Phase::Terminated).then(|| instance.volume());
    x.list("blockDeviceMapping", volume, |x, volume| {
        x.put("deviceName", ROOT_DEVICE);
        x.nest("ebs", |x| {
            x.put("volumeId", volume);
            x.put("status", "attached");
            x.put("attachTime", ctx.settings.stamp(instance.created));
            x.put("deleteOnTermination", true);
        });
    });
    x.nest("cpuOptions", |x| {
        x.put("coreCount", 2);
        x.put("threadsPerCore", 1);
    });
    x.nest("capacityReservationSpecification", |x| {
        x.put("capacityReservationPreference", "open");
    });
    x.nest("hibernationOptions", |x| x.put("configured", false));
    x.nest("enclaveOptions", |x| x.put("enabled", false));
    x.put("platformDetails", "Linux/UNIX");
    x.put("usageOperation", "RunInstances");
    x.put("usageOperationUpdateTime", ctx.settings.stamp(instance.created));
    x.nest("maintenanceOptions", |x| {
        x.put("autoRecovery", "default");
        x.put("rebootMigration", "default");
    });
    x.put("currentInstanceBootMode", "uefi");
    x.nest("networkPerformanceOptions", |x| x.put("bandwidthWeighting", "default"));
    x.nest("operator", |x| x.put("managed", false));
}

/// What comes from the primary interface; none of it is there once the instance shuts down.
fn show_place(x: &mut XmlBody, shown: &Shown<'_>) {
    let ctx = shown.ctx;
    let shuts_down = shown.instance.phase == Phase::ShuttingDown;
    let Some(primary) = shown.primary().filter(|_| !shuts_down) else {
        x.put("privateDnsName", "");
        x.put("dnsName", "");
        groups::show_set(x, shown.state, &[]);
        return;
    };
    x.nest("privateDnsNameOptions", vpcs::show_name_options);
    x.put("vpcId", &primary.vpc);
    x.put("subnetId", &primary.subnet);
    x.put("privateIpAddress", primary.address());
    x.put("privateDnsName", private_name(primary.address(), ctx));
    let public = shown.public();
    x.maybe("ipAddress", public.map(|public| public.address));
    x.put("dnsName", public.map(|p| public_name(p.address, ctx)).unwrap_or_default());
    x.put("sourceDestCheck", primary.source_dest_check);
    groups::show_set(x, shown.state, &primary.groups);
}

fn show_interface(x: &mut XmlBody, shown: &Shown<'_>, interface: &Interface) {
    let ctx = shown.ctx;
    x.put("networkInterfaceId", &interface.id);
    x.put("ownerId", shown.account);
    x.put("status", "in-use");
    if let Some(attachment) = &interface.attachment {
        x.nest("attachment", |x| interfaces::show_attachment(x, attachment, ctx));
    }
    // The rest goes as soon as the instance shuts down.
    if shown.instance.phase == Phase::ShuttingDown {
        return;
    }
    x.put("subnetId", &interface.subnet);
    x.put("vpcId", &interface.vpc);
    x.put("description", &interface.description);
    x.put("macAddress", &interface.mac);
    x.put("privateIpAddress", interface.address());
    x.put("privateDnsName", private_name(interface.address(), ctx));
    x.put("sourceDestCheck", interface.source_dest_check);
    x.put("interfaceType", "interface");
    x.nest("operator", |x| x.put("managed", false));
    groups::show_set(x, shown.state, &interface.groups);
    interfaces::show_association(x, interface, interface.address(), ctx, false);
    x.list("privateIpAddressesSet", &interface.addresses, |x, address| {
        x.put("privateIpAddress", address);
        x.put("privateDnsName", private_name(*address, ctx));
        x.put("primary", *address == interface.address());
        interfaces::show_association(x, interface, *address, ctx, false);
    });
    x.list("ipv6AddressesSet", std::iter::empty::<()>(), |_, ()| {});
}

impl Instance {
    /// The id of its root volume: the instance's own digits.
    fn volume(&self) -> String {
        self.id.replace("i-", "vol-")
    }
}

/// Types whose family has a `g` after its generation number run on Graviton.
pub(super) fn architecture(kind: &str) -> &'static str {
    let family = kind.split('.').next().unwrap_or_default();
    let after = family.find(|c: char| c.is_ascii_digit()).map_or("", |at| &family[at..]);
    if after.contains('g') { "arm64" } else { "x86_64" }
}

impl Shown<'_> {
    fn primary(&self) -> Option<&Interface> {
        self.interfaces.first().copied().filter(|_| self.instance.phase != Phase::Terminated)
    }

    fn public(&self) -> Option<&Public> {
        let primary = self.primary()?;
        primary.public.get(&primary.address())
    }

    fn interface_values(&self, name: &str) -> Vec<String> {
        let all = self.interfaces.iter();
        match name {
            "addresses.private-ip-address" => {
                all.flat_map(|i| &i.addresses).map(ToString::to_string).collect()
            }
            "attachment.attachment-id" => {
                all.filter_map(|i| Some(i.attachment.as_ref()?.id.clone())).collect()
            }
            "attachment.device-index" => all.map(|i| i.device_index().to_string()).collect(),
            "attachment.status" => all.map(|_| "attached".to_owned()).collect(),
            "availability-zone" => all.map(|_| self.instance.zone.clone()).collect(),
            "group-id" => all.flat_map(|i| i.groups.clone()).collect(),
            "mac-address" => all.map(|i| i.mac.clone()).collect(),
            "network-interface-id" => all.map(|i| i.id.clone()).collect(),
            "private-ip-address" => all.map(|i| i.address().to_string()).collect(),
            "source-dest-check" => all.map(|i| i.source_dest_check.to_string()).collect(),
            "subnet-id" => all.map(|i| i.subnet.clone()).collect(),
            "vpc-id" => all.map(|i| i.vpc.clone()).collect(),
            _ => Vec::new(),
        }
    }
}

impl Filtered for Shown<'_> {
    const NAMES: &'static [&'static str] = &[
        "architecture",
        "availability-zone",
        "client-token",
        "dns-name",
        "image-id",
        "instance-id",
        "instance-lifecycle",
        "instance-state-code",
        "instance-state-name",
        "instance-type",
        "instance.group-id",
        "instance.group-name",
        "ip-address",
        "iam-instance-profile.arn",
        "launch-time",
        "network-interface.addresses.private-ip-address",
        "network-interface.attachment.attachment-id",
        "network-interface.attachment.device-index",
        "network-interface.attachment.status",
        "network-interface.availability-zone",
        "network-interface.group-id",
        "network-interface.mac-address",
        "network-interface.network-interface-id",
        "network-interface.private-ip-address",
        "network-interface.source-dest-check",
        "network-interface.subnet-id",
        "network-interface.vpc-id",
        "owner-id",
        "placement-group-name",
        "private-dns-name",
        "private-ip-address",
        "reason",
        "reservation-id",
        "source-dest-check",
        "state-reason-code",
        "subnet-id",
        "tenancy",
        "vpc-id",
    ];

    fn tags(&self) -> &Tags {
        &self.instance.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        if let Some(name) = name.strip_prefix("network-interface.") {
            return self.interface_values(name);
        }
        let instance = self.instance;
        let of_primary = |value: fn(&Interface) -> String| {
            self.primary().map(value).into_iter().collect::<Vec<String>>()
        };
        match name {
            "architecture" => vec![architecture(&instance.kind).to_owned()],
            "availability-zone" => vec![instance.zone.clone()],
            "client-token" => vec![instance.client_token.clone()],
            "image-id" => vec![instance.image.clone()],
            "instance-id" => vec![instance.id.clone()],
            "instance-lifecycle" if instance.one_time_spot => vec!["spot".to_owned()],
            "instance-state-code" => vec![instance.phase.code().to_string()],
            "instance-state-name" => vec![instance.phase.name().to_owned()],
            "instance-type" => vec![instance.kind.clone()],
            "instance.group-id" => self.primary().map_or(Vec::new(), |i| i.groups.clone()),
            "instance.group-name" => {
                self.primary().map_or(Vec::new(), |i| groups::names(self.state, &i.groups))
            }
            "ip-address" => self.public().map(|p| p.address.to_string()).into_iter().collect(),
            "launch-time" => vec![self.ctx.settings.stamp(instance.launched)],
            "owner-id" => vec![self.account.to_owned()],
            "private-dns-name" => {
                self.primary().map(|i| private_name(i.address(), self.ctx)).into_iter().collect()
            }
            "private-ip-address" => of_primary(|i| i.address().to_string()),
            "reason" => vec![instance.transition_reason.clone()],
            "reservation-id" => vec![instance.reservation.clone()],
            "source-dest-check" => of_primary(|i| i.source_dest_check.to_string()),
            "state-reason-code" => {
                instance.state_reason.iter().map(|(code, _)| code.clone()).collect()
            }
            "subnet-id" => of_primary(|i| i.subnet.clone()),
            "tenancy" => vec!["default".to_owned()],
            "vpc-id" => of_primary(|i| i.vpc.clone()),
            _ => Vec::new(),
        }
    }
}
