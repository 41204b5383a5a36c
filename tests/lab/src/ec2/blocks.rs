//! The address blocks of a VPC: the one that it was made with, and those that were added.

use ipnet::Ipv4Net;

use super::error::{self, ApiError};
use super::model::{Route, RouteTarget, State, Vpc, find, find_mut};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;

/// What associates a block with a VPC.
const ASSOCIATION: &str = "vpc-cidr-assoc";
/// How many blocks a VPC may have (VPC quotas).
const MOST: usize = 5;

/// A block of a VPC.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    /// The association.
    pub(super) id: String,
    pub(super) cidr: Ipv4Net,
}

impl Block {
    /// The block of a new VPC.
    pub(super) fn first(state: &mut State, cidr: Ipv4Net) -> Self {
        Self { id: state.new_id(ASSOCIATION), cidr }
    }
}

impl Vpc {
    /// The block that it was made with.
    pub(super) fn primary(&self) -> Ipv4Net {
        self.blocks.first().map_or_else(Ipv4Net::default, |block| block.cidr)
    }

    /// The block that contains another one.
    pub(super) fn block_of(&self, cidr: Ipv4Net) -> Option<Ipv4Net> {
        self.blocks.iter().map(|block| block.cidr).find(|block| block.contains(&cidr))
    }
}

/// The route that every table has for a block.
pub(super) fn local() -> Route {
    Route { target: RouteTarget::Local, origin: "CreateRouteTable" }
}

/// Whether a VPC or a block of it can have this size.
pub(super) fn check_size(cidr: Ipv4Net) -> Result<(), ApiError> {
    if (16..=28).contains(&cidr.prefix_len()) {
        return Ok(());
    }
    Err(ApiError::client("InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid.")))
}

pub(super) fn associate(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let vpc = find(&state.vpcs, &error::VPC, params.need("VpcId")?)?.id.clone();
    let cidr = params.cidr("CidrBlock")?;
    check_size(cidr)?;
    check_free(state, &vpc, cidr)?;
    let block = Block { id: state.new_id(ASSOCIATION), cidr };
    for table in state.tables.values_mut().filter(|table| table.vpc == vpc) {
        table.routes.insert(cidr, local());
    }
    let body = answer(&vpc, &block, "associating");
    find_mut(&mut state.vpcs, &error::VPC, &vpc)?.blocks.push(block);
    Ok(body)
}

/// EC2's guide ("VPC CIDR blocks"): a new block must overlap none of the VPC's, and must not be the
/// same as or larger than the destination of a route in one of its tables.
fn check_free(state: &State, vpc: &str, cidr: Ipv4Net) -> Result<(), ApiError> {
    let found = find(&state.vpcs, &error::VPC, vpc)?;
    if found.blocks.len() >= MOST {
        let message = format!("This network '{vpc}' has met its maximum number of allowed CIDRs");
        return Err(ApiError::client("CidrBlockLimitExceeded", message));
    }
    let mut blocks = found.blocks.iter().map(|block| block.cidr);
    let overlaps = blocks.any(|block| block.contains(&cidr) || cidr.contains(&block));
    let tables = state.tables.values().filter(|table| table.vpc == vpc);
    let mut routes = tables.flat_map(|table| table.routes.keys());
    if overlaps || routes.any(|destination| cidr.contains(destination)) {
        return Err(ApiError::client(
            "CidrConflict",
            format!("The CIDR '{cidr}' conflicts with another block or route of the VPC '{vpc}'"),
        ));
    }
    Ok(())
}

pub(super) fn disassociate(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = params.need("AssociationId")?;
    let vpcs = state.vpcs.values();
    let found = vpcs.flat_map(|vpc| vpc.blocks.iter().map(move |block| (vpc, block)));
    let Some((vpc, block)) = found.into_iter().find(|(_, block)| block.id == id) else {
        return Err(ApiError::client(
            "InvalidVpcCidrBlockAssociationID.NotFound",
            format!("The vpc CIDR block association ID '{id}' does not exist"),
        ));
    };
    let (vpc, primary, block) = (vpc.id.clone(), vpc.primary(), block.clone());
    if block.cidr == primary {
        return Err(ApiError::client(
            "OperationNotPermitted",
            format!(
                "The vpc CIDR block with association ID {id} may not be disassociated. It is the \
                 primary IPv4 CIDR block of the VPC"
            ),
        ));
    }
    if state.subnets.values().any(|it| it.vpc == vpc && block.cidr.contains(&it.cidr)) {
        return Err(ApiError::client(
            "InvalidCidrBlock.InUse",
            format!("The vpc {vpc} currently has a subnet within CIDR block {}", block.cidr),
        ));
    }
    for table in state.tables.values_mut().filter(|table| table.vpc == vpc) {
        table.routes.remove(&block.cidr);
    }
    find_mut(&mut state.vpcs, &error::VPC, &vpc)?.blocks.retain(|other| *other != block);
    Ok(answer(&vpc, &block, "disassociating"))
}

fn answer(vpc: &str, block: &Block, state: &str) -> XmlBody {
    let mut body = XmlBody::new();
    body.put("vpcId", vpc);
    body.nest("cidrBlockAssociation", |x| show(x, block, state));
    body
}

/// Writes a block with the state of its association.
pub(super) fn show(x: &mut XmlBody, block: &Block, state: &str) {
    x.put("cidrBlock", block.cidr);
    x.put("associationId", &block.id);
    x.nest("cidrBlockState", |x| x.put("state", state));
}
