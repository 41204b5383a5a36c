//! The EC2 client: reads, and what all clients share.

use std::error::Error;
use std::future::Future;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::Filter;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ipnet::Ipv4Net;

use super::convert;
use super::errors::{fault, unexpected};
use super::hedge::{self, Hedged};
use super::resolver::Resolver;
use super::whole::WholeReplies;
use crate::config::Api;
use crate::types::{
    CloudFault, CloudFaultKind, InstanceId, InstanceInfo, InstanceState, NetworkInterfaceId,
    PowerReport, RouteTableId, RouteTableInfo, StopOrigin, SubnetId, SubnetInfo, VpcId,
};

/// The most pages read of one list: 20,000 items, far above EC2's own limits for a VPC.
const MAX_PAGES: usize = 200;

/// The most ids in one filter (EC2 API reference, `Filter`: 200 values).
pub(super) const MAX_FILTER_VALUES: usize = 200;

/// Items per page. EC2 accepts 5 to 100 for route tables, the narrowest range of its calls.
pub(super) const PAGE_SIZE: i32 = 100;

/// A client of the EC2 API. Clones are cheap and share connections.
///
/// Each call has the time limit `api.timeout`, a paginated one per page. The SDK retries none; one
/// that stays without a reply is sent again by a new connection ([`hedge`]).
#[derive(Debug, Clone)]
pub(crate) struct Ec2 {
    pub(super) client: aws_sdk_ec2::Client,
}

impl Ec2 {
    /// A client with the usual AWS credentials: environment, profile, container, instance role.
    ///
    /// The region is the configured one, else `AWS_REGION`, else `own_region` (from the instance
    /// metadata), else what the AWS SDK finds; without any, this fails. Sends nothing to EC2.
    pub(crate) async fn connect(api: &Api, own_region: Option<&str>) -> Result<Self, CloudFault> {
        Ok(Self::with(&shared(api, own_region, Connections::Kept).await?, api))
    }

    /// A client with this region and these credentials.
    pub(super) fn with(shared: &SdkConfig, api: &Api) -> Self {
        let mut config = aws_sdk_ec2::config::Builder::from(shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(limits(api))
            .interceptor(WholeReplies);
        if let Some(endpoint) = &api.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self { client: aws_sdk_ec2::Client::from_conf(config.build()) }
    }

    /// The instances of a VPC with the tag `natha:cluster` = `cluster`, including terminated ones
    /// that EC2 still lists.
    ///
    /// EC2 may fail this call while any zone is impaired: a takeover must not depend on it.
    pub(crate) async fn cluster_instances(
        &self,
        vpc: &VpcId,
        cluster: &str,
    ) -> Result<Vec<InstanceInfo>, CloudFault> {
        const CALL: &str = "DescribeInstances";
        let request = self
            .client
            .describe_instances()
            .filters(filter("vpc-id", [vpc.as_str()]))
            .filters(filter("tag:natha:cluster", [cluster]))
            .max_results(PAGE_SIZE);
        let mut found = Vec::new();
        let mut pages = Pages::new(CALL);
        while pages.more()? {
            let page = call(CALL, request.clone().set_next_token(pages.token()).send()).await?;
            for reservation in page.reservations() {
                for instance in reservation.instances() {
                    found.push(convert::instance(CALL, instance)?);
                }
            }
            pages.after(page.next_token());
        }
        Ok(found)
    }

    /// One instance by id; none if EC2 does not know it. One id per call: an id in a failed zone
    /// can fail the whole call (EC2 API reference, `DescribeInstances`).
    pub(crate) async fn instance(
        &self,
        id: &InstanceId,
    ) -> Result<Option<InstanceInfo>, CloudFault> {
        const CALL: &str = "DescribeInstances";
        let found = self.raw_instance(id).await?;
        found.map(|instance| convert::instance(CALL, &instance)).transpose()
    }

    /// The instance as the SDK returns it. None only if EC2 reports that it does not know the id:
    /// an answer without the instance is a fault.
    pub(super) async fn raw_instance(
        &self,
        id: &InstanceId,
    ) -> Result<Option<aws_sdk_ec2::types::Instance>, CloudFault> {
        const CALL: &str = "DescribeInstances";
        let request = self.client.describe_instances().instance_ids(id.as_str());
        let answer = match call(CALL, request.send()).await {
            Err(error) if error.kind == CloudFaultKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut all = answer.reservations.unwrap_or_default().into_iter();
        let found = all.find_map(|reservation| {
            let mut instances = reservation.instances.unwrap_or_default().into_iter();
            instances.find(|instance| instance.instance_id() == Some(id.as_str()))
        });
        found.map(Some).ok_or_else(|| unexpected(CALL, format!("{id} is not in the answer")))
    }

    /// The power state of one instance. Only one that runs has status checks, so only then they are
    /// asked for. If that call fails, which lags by minutes anyway, the instance counts as not
    /// impaired.
    pub(crate) async fn power(&self, id: &InstanceId) -> Result<PowerReport, CloudFault> {
        const CALL: &str = "DescribeInstances";
        let Some(instance) = self.raw_instance(id).await? else {
            let stop_origin = StopOrigin::Unknown;
            return Ok(PowerReport { state: None, stop_origin, impaired: false, reason: None });
        };
        let state = convert::instance(CALL, &instance)?.state;
        Ok(PowerReport {
            state: Some(state),
            stop_origin: convert::stop_origin(&instance),
            impaired: state == InstanceState::Running && self.is_impaired(id).await,
            reason: convert::reason(&instance),
        })
    }

    /// Whether EC2's status checks call an instance impaired; not if they cannot be read.
    async fn is_impaired(&self, id: &InstanceId) -> bool {
        let status = self
            .client
            .describe_instance_status()
            .instance_ids(id.as_str())
            .include_all_instances(true);
        let status = call("DescribeInstanceStatus", status.send()).await;
        status.is_ok_and(|answer| {
            let mut about = answer.instance_statuses().iter();
            about.any(|one| one.instance_id() == Some(id.as_str()) && convert::impaired(one))
        })
    }

    /// These route tables. One that does not exist is missing from the result.
    pub(crate) async fn route_tables(
        &self,
        ids: &[RouteTableId],
    ) -> Result<Vec<RouteTableInfo>, CloudFault> {
        let names: Vec<&str> = ids.iter().map(RouteTableId::as_str).collect();
        let mut found = self.tables_with_any("route-table-id", &names, None).await?;
        // A list with a filter may lack what exists. A list by ids fails as a whole if one is
        // unknown, so only those that are missing are asked for by id, one by one.
        for id in ids {
            if found.iter().all(|table| table.id != *id) {
                found.extend(self.route_table(id).await?);
            }
        }
        Ok(found)
    }

    /// One route table by id; none if EC2 does not know it.
    pub(crate) async fn route_table(
        &self,
        id: &RouteTableId,
    ) -> Result<Option<RouteTableInfo>, CloudFault> {
        const CALL: &str = "DescribeRouteTables";
        let request = self.client.describe_route_tables().route_table_ids(id.as_str());
        let answer = match call(CALL, request.send()).await {
            Err(error) if error.kind == CloudFaultKind::NotFound => return Ok(None),
            other => other?,
        };
        let is_it =
            |table: &&aws_sdk_ec2::types::RouteTable| table.route_table_id() == Some(id.as_str());
        let found = answer.route_tables().iter().find(is_it);
        let found = found.ok_or_else(|| unexpected(CALL, format!("{id} is not in the answer")))?;
        convert::table(CALL, found).map(Some)
    }

    /// The route tables of a VPC with the tag `natha:cluster` = `cluster`.
    pub(crate) async fn cluster_route_tables(
        &self,
        vpc: &VpcId,
        cluster: &str,
    ) -> Result<Vec<RouteTableInfo>, CloudFault> {
        let tag = filter("tag:natha:cluster", [cluster]);
        self.tables_where(vec![filter("vpc-id", [vpc.as_str()]), tag]).await
    }

    /// The route tables of a VPC that have a route to exactly one of these destinations.
    pub(crate) async fn route_tables_to(
        &self,
        vpc: &VpcId,
        destinations: &[Ipv4Net],
    ) -> Result<Vec<RouteTableInfo>, CloudFault> {
        let blocks: Vec<String> = destinations.iter().map(ToString::to_string).collect();
        let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
        self.tables_with_any("route.destination-cidr-block", &blocks, Some(vpc)).await
    }

    /// The route tables with which these subnets are associated.
    pub(crate) async fn route_tables_of(
        &self,
        subnets: &[SubnetId],
    ) -> Result<Vec<RouteTableInfo>, CloudFault> {
        let subnets: Vec<&str> = subnets.iter().map(SubnetId::as_str).collect();
        self.tables_with_any("association.subnet-id", &subnets, None).await
    }

    /// The route tables that have any of these values of a filter, in `vpc` if it is given. Makes
    /// as many calls as EC2's limit of values requires.
    async fn tables_with_any(
        &self,
        name: &str,
        values: &[&str],
        vpc: Option<&VpcId>,
    ) -> Result<Vec<RouteTableInfo>, CloudFault> {
        let mut found = Vec::new();
        for some in values.chunks(MAX_FILTER_VALUES) {
            let scope = vpc.map(|vpc| filter("vpc-id", [vpc.as_str()]));
            let any = filter(name, some.iter().copied());
            found.extend(self.tables_where(scope.into_iter().chain([any]).collect()).await?);
        }
        Ok(found)
    }

    /// All route tables of the account in the region.
    pub(crate) async fn all_route_tables(&self) -> Result<Vec<RouteTableInfo>, CloudFault> {
        self.tables_where(Vec::new()).await
    }

    /// The route tables that match all filters.
    async fn tables_where(&self, filters: Vec<Filter>) -> Result<Vec<RouteTableInfo>, CloudFault> {
        const CALL: &str = "DescribeRouteTables";
        let request =
            self.client.describe_route_tables().set_filters(Some(filters)).max_results(PAGE_SIZE);
        let mut found = Vec::new();
        let mut pages = Pages::new(CALL);
        while pages.more()? {
            let page = call(CALL, request.clone().set_next_token(pages.token()).send()).await?;
            for table in page.route_tables() {
                found.push(convert::table(CALL, table)?);
            }
            pages.after(page.next_token());
        }
        Ok(found)
    }

    /// One subnet by id; none if EC2 does not know it.
    pub(crate) async fn subnet(&self, id: &SubnetId) -> Result<Option<SubnetInfo>, CloudFault> {
        const CALL: &str = "DescribeSubnets";
        let request = self.client.describe_subnets().subnet_ids(id.as_str());
        let answer = match call(CALL, request.send()).await {
            Err(error) if error.kind == CloudFaultKind::NotFound => return Ok(None),
            other => other?,
        };
        let is_it = |subnet: &&aws_sdk_ec2::types::Subnet| subnet.subnet_id() == Some(id.as_str());
        let found = answer.subnets().iter().find(is_it);
        let found = found.ok_or_else(|| unexpected(CALL, format!("{id} is not in the answer")))?;
        convert::subnet(CALL, found)
    }

    /// These subnets. One that does not exist is missing from the result.
    pub(crate) async fn subnets(&self, ids: &[SubnetId]) -> Result<Vec<SubnetInfo>, CloudFault> {
        const CALL: &str = "DescribeSubnets";
        let mut found = Vec::new();
        for some in ids.chunks(MAX_FILTER_VALUES) {
            let request = self
                .client
                .describe_subnets()
                .filters(filter("subnet-id", some.iter().map(SubnetId::as_str)))
                .max_results(PAGE_SIZE);
            let mut pages = Pages::new(CALL);
            while pages.more()? {
                let page = call(CALL, request.clone().set_next_token(pages.token()).send()).await?;
                for subnet in page.subnets() {
                    found.extend(convert::subnet(CALL, subnet)?);
                }
                pages.after(page.next_token());
            }
        }
        Ok(found)
    }

    /// Whether EC2's source/dest check is on for an interface. Fails with `NotFound` if there is no
    /// such interface.
    pub(crate) async fn source_dest_check(
        &self,
        interface: &NetworkInterfaceId,
    ) -> Result<bool, CloudFault> {
        const CALL: &str = "DescribeNetworkInterfaces";
        let request =
            self.client.describe_network_interfaces().network_interface_ids(interface.as_str());
        let answer = call(CALL, request.send()).await?;
        let mut all = answer.network_interfaces().iter();
        all.find(|one| one.network_interface_id() == Some(interface.as_str()))
            .and_then(aws_sdk_ec2::types::NetworkInterface::source_dest_check)
            .ok_or_else(|| unexpected(CALL, format!("no sourceDestCheck for {interface}")))
    }
}

/// Whether connections are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// A connection is kept for the next call.
    Kept,
    /// A connection is closed after its call. For a node whose public address changes when an
    /// Elastic IP comes or goes: replies on older connections no longer arrive, and a call on one
    /// of them ends only with its time limit.
    Closed,
}

impl Connections {
    /// The HTTP client of all APIs: hedged, so that a connection that falls silent costs a second
    /// and not the time limit of the call.
    pub(super) fn client(self) -> SharedHttpClient {
        let resolver = Resolver::default();
        let again = Self::Closed.plain(&resolver);
        SharedHttpClient::new(Hedged::new(self.plain(&resolver), again, hedge::PATIENCE))
    }

    /// An HTTP client that sends each request once.
    pub(super) fn plain(self, resolver: &Resolver) -> SharedHttpClient {
        let mut client = aws_smithy_http_client::Builder::new();
        if self == Self::Closed {
            client = client.pool_max_idle_per_host(0);
        }
        client
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .build_with_resolver(resolver.clone())
    }
}

/// The region, the credentials and the connections of all clients. See [`Ec2::connect`].
pub(super) async fn shared(
    api: &Api,
    own_region: Option<&str>,
    connections: Connections,
) -> Result<SdkConfig, CloudFault> {
    let region = RegionProviderChain::first_try(api.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(own_region.map(|name| Region::new(name.to_owned())))
        .or_default_provider()
        .region()
        .await
        .ok_or_else(|| {
            unexpected("connect", "no region: set `api.region`, `--region` or AWS_REGION")
        })?;
    let shared = aws_config::defaults(BehaviorVersion::latest()).http_client(connections.client());
    Ok(shared.region(region).load().await)
}

/// The time limits of one call.
pub(super) fn limits(api: &Api) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(hedge::CONNECT_LIMIT.min(api.timeout))
        .operation_timeout(api.timeout)
        .build()
}

/// A filter: any of the values.
pub(super) fn filter<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Filter {
    let values = values.into_iter().map(str::to_owned).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// Awaits one call and logs how long it took.
pub(super) async fn call<T, E>(
    name: &'static str,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, CloudFault>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let begun = tokio::time::Instant::now();
    // The SDK's futures are about 10 KB each: on the heap they do not add up in the caller's.
    let result = Box::pin(request).await;
    let ms = begun.elapsed().as_millis();
    match result {
        Ok(answer) => {
            tracing::debug!(call = name, ms, "the API answered");
            Ok(answer)
        }
        Err(error) => {
            let fault = fault(name, &error);
            tracing::debug!(call = name, ms, error = %fault, "the API call failed");
            Err(fault)
        }
    }
}

/// Walks the pages of one list, up to [`MAX_PAGES`].
pub(super) struct Pages {
    call: &'static str,
    read: usize,
    token: Option<String>,
}

impl Pages {
    pub(super) fn new(call: &'static str) -> Self {
        Self { call, read: 0, token: None }
    }

    /// Whether there is another page to request, with [`Self::token`].
    pub(super) fn more(&mut self) -> Result<bool, CloudFault> {
        if self.read > 0 && self.token.is_none() {
            return Ok(false);
        }
        if self.read == MAX_PAGES {
            return Err(unexpected(self.call, format!("more than {MAX_PAGES} pages")));
        }
        self.read += 1;
        Ok(true)
    }

    /// The token of the page to request; none for the first.
    pub(super) fn token(&mut self) -> Option<String> {
        self.token.take()
    }

    /// Takes the token for the next page from a page.
    pub(super) fn after(&mut self, token: Option<&str>) {
        self.token = token.filter(|token| !token.is_empty()).map(str::to_owned);
    }
}
