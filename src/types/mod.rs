//! Types that all layers share. Imports nothing else from the crate.

mod beat;
mod cloud;
mod egress_id;
mod ids;
mod inspection;
mod location;
mod member;
pub(crate) mod millis;
mod resource;
mod roster;
mod time;
mod version;

pub use beat::{Beat, Claim, Evidence, Fault, Fitness, Hears, SessionId};
pub use cloud::{
    CloudFault, CloudFaultKind, ElasticIpInfo, InstanceInfo, InstanceState, InterfaceInfo,
    PowerReport, RouteEntry, RouteTableInfo, RouteTarget, RouteVia, RouteWrite, RouteWriteVerb,
    StopOrigin, SubnetInfo,
};
pub use egress_id::EgressId;
pub(crate) use ids::printable;
#[cfg(feature = "host")]
pub(crate) use ids::shown;
pub use ids::{
    AllocationId, DnsName, GroupName, HostedZoneId, IdError, InstanceId, NatGatewayId,
    NetworkInterfaceId, RouteTableId, SubnetId, VpcId, Zone,
};
pub use inspection::{
    ClockDifference, InstanceOptions, MetadataOptions, NatGatewayInfo, PublicAddress,
    SecurityGroup, TrafficPeer, TrafficRule,
};
pub(crate) use location::Holder;
pub use location::Location;
pub use member::Member;
pub use resource::{Assignment, Resource, ResourceKind};
pub use roster::{Egress, Group, Roster, Traits};
pub use time::{Time, display_duration, whole_millis};
pub use version::ProgramVersion;
