#!/usr/bin/env bash
# Making the trial's VPC and what is in it. Everything that exists already is found by its tags, so
# that a trial whose session ended goes on.
#
# Usage: source scripts/trial.d/make.sh   (scripts/trial does it)
set -euo pipefail

# Set by scripts/trial.
: "${name:=}" "${region:=}" "${verb:=}" "${here:=}" "${work:=}" "${yes:=}" "${log:=}"
: "${package:=}" "${sha256:=}" "${image:=}" "${base:=}" "${type:=}"

# Nothing else is in this VPC, and nothing leads into it: the addresses can be anyone's.
block=10.99.0.0/16
# Where the server outside of the private subnets answers, by TCP and UDP.
port=7007
vpc='' token='' zones=() gateway=''
public_a='' public_b='' private_a='' private_b='' public=''
# What `natha measure` needs on the peer, which is the node itself for the other one.
answering=(host.accept=192.0.2.254 host.accept_mode=redirect)
# ARNs and services have other names in China, and ARNs in GovCloud.
partition=aws compute=ec2.amazonaws.com
nodes_group='' hosts_group='' server_group=''

# price SERVICE FILTER… -- PATTERN: what one unit of a product costs in an hour, by AWS's price
# list. Nothing where the list does not tell or may not be asked.
price() {
    local service=$1 filters=() listed
    shift
    while [[ $1 != -- ]]; do
        filters+=("Type=TERM_MATCH,Field=${1%%=*},Value=${1#*=}")
        shift
    done
    # The price list has an endpoint in few regions (Billing user guide, "Price List Query API").
    listed=$(where=us-east-1 call pricing get-products --service-code "$service" \
        --filters "${filters[@]}" "Type=TERM_MATCH,Field=regionCode,Value=$region" \
        --query "PriceList[?contains(@, '$2')] | [0]" 2>>"$log") || return 0
    [[ $listed == *'"OnDemand"'*'"USD"'* ]] || return 0
    listed=${listed#*\"OnDemand\"}
    listed=${listed#*\"USD\"}
    listed=${listed#*\"}
    printf '%s' "${listed%%\"*}"
}

# choose: the base image, the type and the zones.
choose() {
    local parameter architecture=arm64
    case $package in
        *amd64* | *x86_64*) architecture=x86_64 ;;
    esac
    if [[ -z $type ]]; then
        # Smaller ones have two private addresses. A node needs its own and two for egress IPs.
        type=t4g.small
        [[ $architecture == arm64 ]] || type=t3.small
    fi
    if [[ -n $image ]]; then
        base=$image
    elif [[ -z $base ]]; then
        case $package in
            *.deb)
                parameter=/aws/service/debian/release/12/latest/${architecture/x86_64/amd64}
                ;;
            *)
                parameter=/aws/service/ami-amazon-linux-latest
                parameter+=/al2023-ami-kernel-default-$architecture
                ;;
        esac
        base=$(call ssm get-parameter --name "$parameter" --query Parameter.Value)
    fi
    find_zones
}

# find_zones: the first two of the region's zones that have the type. A Local Zone's name has more
# after the region's than a letter.
find_zones() {
    local zone
    zones=()
    while read -r zone; do
        [[ ! $zone =~ ^"$region"[a-z]$ ]] || zones+=("$zone")
    done < <(ec2 describe-instance-type-offerings --location-type availability-zone \
        --filters "Name=instance-type,Values=$type" --query 'InstanceTypeOfferings[].Location' |
        tr '\t' '\n' | sort)
    ((${#zones[@]} >= 2)) ||
        die "$type is in fewer than two zones of $region: name another one by --type"
    zones=("${zones[0]}" "${zones[1]}")
}

# describe_plan: what will be made, and what it costs.
describe_plan() {
    local instance address
    instance=$(price AmazonEC2 "instanceType=$type" operatingSystem=Linux tenancy=Shared \
        preInstalledSw=NA capacitystatus=Used -- "\"$type\"")
    address=$(price AmazonVPC group=VPCPublicIPv4Address -- PublicIPv4:InUseAddress)
    cat >&2 <<PLAN
The trial $name makes in $region, with the tag natha-trial=$name, and shares nothing with what is
there:
  1 VPC ($block) with an internet gateway, 4 subnets in ${zones[0]} and ${zones[1]}, 3 route tables
    and 3 security groups
  5 instances of $type from $base: 2 NAT nodes, 2 private hosts without any other way out, and
    1 server that they reach through the nodes
  5 public IPv4 addresses: 3 of instances, and 2 Elastic IPs that the private hosts keep. One more
    Elastic IP exists for some minutes: natha measure moves it
  1 role with an instance profile for the nodes, with the policy of \`natha policy --doctor\`, and
    for natha measure the right to change routes of the public subnets' table, and to move that
    Elastic IP
It stops and starts one of its own nodes, takes about 20 minutes, and removes everything.
PLAN
    if [[ -n $instance && -n $address ]]; then
        say "An hour costs $(awk -v i="$instance" -v a="$address" \
            'BEGIN { printf "%.3f", 5 * i + 5 * a }') USD by AWS's price list: 5 x $instance for" \
            "instances and 5 x $address for addresses."
        say "Volumes and traffic are extra."
    else
        say "What an hour costs is not known: AWS's price list has no answer (it needs the right" \
            "pricing:GetProducts)."
        say "It is 5 x the price of $type, 5 x that of a public IPv4 address, volumes and traffic:"
        say "https://aws.amazon.com/ec2/pricing/on-demand/ https://aws.amazon.com/vpc/pricing/"
    fi
}

confirm() {
    local answer
    [[ $yes == no ]] || return 0
    [[ -t 0 ]] || wrong "standard input is no terminal: give --yes if it may be made without asking"
    printf 'Make it? [y/N] ' >&2
    read -r answer
    [[ $answer == [yY]* ]] || die "nothing was made"
}

# refuse_used_name: this name's things, if there are any, are those of another trial.
refuse_used_name() {
    local left
    left=$(list_left) || die "cannot list what is there; see above"
    [[ -z $left ]] || die "there is a trial $name already: go on with it by --resume $name, or" \
        "remove it by --remove $name"
}

# remember: the options that this trial was made with, from its VPC's tags.
remember() {
    local key value
    vpc=$(found vpc vpc)
    [[ -n $vpc ]] || die "there is no trial $name in $region: scripts/trial --list"
    while IFS=$'\t' read -r key value; do
        case $key in
            natha-trial-package) package=$value ;;
            natha-trial-sha256) sha256=$value ;;
            natha-trial-image) image=$value ;;
            natha-trial-base) base=$value ;;
            natha-trial-type) type=$value ;;
            natha-trial-zone-a) zones[0]=$value ;;
            natha-trial-zone-b) zones[1]=$value ;;
            natha-trial-token) token=$value ;;
            natha-trial-settings) read -r -a settings <<<"$value" ;;
        esac
    done < <(ec2 describe-vpcs --vpc-ids "$vpc" --query 'Vpcs[0].Tags[].[Key,Value]')
}

# existing KIND PART: the id of a thing, if this trial may have it already.
existing() {
    [[ $verb == run ]] || found "$1" "$2"
}

make_vpc() {
    local tags=()
    token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    tags=("natha-trial-base=$base" "natha-trial-type=$type" "natha-trial-zone-a=${zones[0]}"
        "natha-trial-zone-b=${zones[1]}" "natha-trial-token=$token")
    [[ -z $package ]] || tags+=("natha-trial-package=$package" "natha-trial-sha256=$sha256")
    [[ -z $image ]] || tags+=("natha-trial-image=$image")
    ((${#settings[@]} == 0)) || tags+=("natha-trial-settings=${settings[*]}")
    vpc=$(ec2 create-vpc --cidr-block "$block" --query Vpc.VpcId \
        --tag-specifications "[$(specification vpc vpc "${tags[@]}")]")
}

# make_subnet VARIABLE PART ZONE BLOCK: sets the variable to its id.
make_subnet() {
    local id
    id=$(existing subnet "$2")
    [[ -n $id ]] || id=$(soon ec2 create-subnet --vpc-id "$vpc" --availability-zone "$3" \
        --cidr-block "$4" --query Subnet.SubnetId \
        --tag-specifications "[$(specification subnet "$2")]")
    printf -v "$1" %s "$id"
}

# make_table VARIABLE PART SUBNET KEY=VALUE…: a subnet's route table; sets the variable to its id.
make_table() {
    local id variable=$1 part=$2 subnet=$3
    shift 3
    id=$(existing route-table "$part")
    [[ -n $id ]] || id=$(soon ec2 create-route-table --vpc-id "$vpc" \
        --query RouteTable.RouteTableId \
        --tag-specifications "[$(specification route-table "$part" ${@+"$@"})]")
    associate "$id" "$subnet"
    printf -v "$variable" %s "$id"
}

# associate TABLE SUBNET: unless it is so already.
associate() {
    local have
    have=$(soon ec2 describe-route-tables --route-table-ids "$1" \
        --query 'RouteTables[0].Associations[].SubnetId')
    [[ $have == *"$2"* ]] ||
        soon ec2 associate-route-table --route-table-id "$1" --subnet-id "$2" >/dev/null
}

# make_group VARIABLE PART RULES: a security group with these rules for what comes in; sets the
# variable to its id.
make_group() {
    local id rules
    id=$(existing security-group "$2")
    [[ -n $id ]] || id=$(soon ec2 create-security-group --vpc-id "$vpc" --query GroupId \
        --group-name "natha-trial-$name-$2" --description "The trial $name of natha" \
        --tag-specifications "[$(specification security-group "$2")]")
    rules=$(soon ec2 describe-security-groups --group-ids "$id" \
        --query 'length(SecurityGroups[0].IpPermissions)')
    [[ -z $3 || $rules != 0 ]] ||
        soon ec2 authorize-security-group-ingress --group-id "$id" --ip-permissions "$3" >/dev/null
    printf -v "$1" %s "$id"
}

# route_of TABLE FIELD: the target of its default route, in a field such as NetworkInterfaceId.
route_of() {
    soon ec2 describe-route-tables --route-table-ids "$1" \
        --query "RouteTables[0].Routes[?DestinationCidrBlock=='0.0.0.0/0'] | [0].$2"
}

make_gateway() {
    local attached
    gateway=$(existing internet-gateway gateway)
    [[ -n $gateway ]] || gateway=$(ec2 create-internet-gateway \
        --query InternetGateway.InternetGatewayId \
        --tag-specifications "[$(specification internet-gateway gateway)]")
    attached=$(soon ec2 describe-internet-gateways --internet-gateway-ids "$gateway" \
        --query 'InternetGateways[0].Attachments[0].VpcId')
    [[ $attached == "$vpc" ]] || soon ec2 attach-internet-gateway \
        --internet-gateway-id "$gateway" --vpc-id "$vpc" >/dev/null
}

make_network() {
    local route
    make_gateway
    make_subnet public_a public-a "${zones[0]}" 10.99.0.0/24
    make_subnet public_b public-b "${zones[1]}" 10.99.1.0/24
    make_subnet private_a private-a "${zones[0]}" 10.99.100.0/24
    make_subnet private_b private-b "${zones[1]}" 10.99.101.0/24
    make_table public public "$public_a"
    associate "$public" "$public_b"
    route=$(route_of "$public" GatewayId)
    [[ $route == "$gateway" ]] || soon ec2 create-route --route-table-id "$public" \
        --destination-cidr-block 0.0.0.0/0 --gateway-id "$gateway" >/dev/null
    make_table table_a private-a "$private_a" "natha:cluster=natha-trial-$name"
    make_table table_b private-b "$private_b" "natha:cluster=natha-trial-$name"
}

make_groups() {
    local inside outside
    # A NAT takes in all that the private hosts send, the other node's heartbeats, and ICMP errors
    # about packets that are too long.
    inside='[{"IpProtocol":"-1","IpRanges":[{"CidrIp":"'$block'"}]},
        {"IpProtocol":"icmp","FromPort":3,"ToPort":4,"IpRanges":[{"CidrIp":"0.0.0.0/0"}]}]'
    outside='[{"IpProtocol":"tcp","FromPort":'$port',"ToPort":'$port',
        "IpRanges":[{"CidrIp":"0.0.0.0/0"}]},{"IpProtocol":"udp","FromPort":'$port',
        "ToPort":'$port',"IpRanges":[{"CidrIp":"0.0.0.0/0"}]}]'
    make_group nodes_group nodes "$inside"
    make_group hosts_group hosts ''
    make_group server_group server "$outside"
}

# make_address PART ZONE: an Elastic IP that the private hosts of a zone keep.
make_address() {
    local id
    id=$(existing elastic-ip "$1")
    [[ -n $id ]] || ec2 allocate-address --domain vpc --tag-specifications "[$(specification \
        elastic-ip "$1" "natha:cluster=natha-trial-$name" "natha:group=$2")]" >/dev/null
}

# make_role: the nodes' role and its instance profile, both with the name of the cluster.
make_role() {
    local role=natha-trial-$name tags
    tags=$(tag_list "natha-trial=$name")
    case $region in
        cn-*) partition=aws-cn compute=ec2.amazonaws.com.cn ;;
        us-gov-*) partition=aws-us-gov ;;
    esac
    sed "s/@CLUSTER@/$role/g; s/arn:aws:/arn:$partition:/g" "$here/trial.d/policy.json" \
        >"$work/policy.json"
    has_role || call iam create-role --role-name "$role" --path /natha-trial/ --tags "$tags" \
        --assume-role-policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
            "Principal":{"Service":"'$compute'"},"Action":"sts:AssumeRole"}]}' >/dev/null
    soon iam put-role-policy --role-name "$role" --policy-name natha \
        --policy-document "file://$work/policy.json" >/dev/null
    has_profile || call iam create-instance-profile --instance-profile-name "$role" \
        --path /natha-trial/ --tags "$tags" >/dev/null
    [[ -n $(soon iam get-instance-profile --instance-profile-name "$role" \
        --query 'InstanceProfile.Roles[].RoleName') ]] ||
        soon iam add-role-to-instance-profile --instance-profile-name "$role" \
            --role-name "$role" >/dev/null
}

# allow_measuring: what `natha measure` needs besides, on the table of the public subnets alone.
allow_measuring() {
    soon iam put-role-policy --role-name "natha-trial-$name" --policy-name natha-measure \
        --policy-document '{"Version":"2012-10-17","Statement":[{"Sid":"Measure","Effect":"Allow",
            "Action":["ec2:CreateRoute","ec2:ReplaceRoute","ec2:DeleteRoute"],
            "Resource":"arn:'"$partition"':ec2:*:*:route-table/'"$public"'"}]}' >/dev/null
}

# scratch_address: an Elastic IP that only the measurement uses.
scratch_address() {
    local id
    id=$(found elastic-ip scratch) || return
    [[ -n $id ]] || id=$(ec2 allocate-address --domain vpc --query AllocationId \
        --tag-specifications "[$(specification elastic-ip scratch)]")
    printf '%s' "$id"
}

# allow_measuring_address ID: what `natha measure` needs besides, on this Elastic IP alone.
allow_measuring_address() {
    local arn="arn:$partition:ec2:*:*:" cluster=natha-trial-$name
    soon iam put-role-policy --role-name "$cluster" --policy-name natha-measure \
        --policy-document '{"Version":"2012-10-17","Statement":[
            {"Sid":"MeasureElasticIp","Effect":"Allow",
            "Action":["ec2:AssociateAddress","ec2:DisassociateAddress"],
            "Resource":"'"${arn}elastic-ip/$1"'"},
            {"Sid":"MeasureOnInterfaces","Effect":"Allow",
            "Action":["ec2:DisassociateAddress","ec2:UnassignPrivateIpAddresses"],
            "Resource":"'"$arn"'network-interface/*",
            "Condition":{"StringEquals":{"aws:ResourceTag/natha:cluster":"'"$cluster"'"}}}]}' \
        >/dev/null
}

forbid_measuring() {
    soon iam delete-role-policy --role-name "natha-trial-$name" --policy-name natha-measure \
        >/dev/null
}

# launch PART SUBNET GROUP PUBLIC USER-DATA [ARGUMENT…]: an instance, unless there is one.
launch() {
    local part=$1 data=$5 plug id tags=() setting
    plug=DeviceIndex=0,SubnetId=$2,Groups=$3,AssociatePublicIpAddress=$4
    shift 5
    id=$(existing instance "$part")
    [[ -z $id ]] || return 0
    if [[ $part == node-* ]]; then
        tags=("natha:cluster=natha-trial-$name")
        for setting in "${answering[@]}" ${settings[@]+"${settings[@]}"}; do
            tags+=("natha:$setting")
        done
    fi
    soon ec2 run-instances --image-id "$base" --instance-type "$type" --count 1 \
        --client-token "$vpc-$part" --user-data "file://$data" \
        --network-interfaces "$plug" \
        --metadata-options HttpTokens=required,InstanceMetadataTags=enabled \
        --tag-specifications "[$(specification instance "$part" ${tags[@]+"${tags[@]}"}),$(
            specification network-interface "$part" ${tags[@]+"${tags[@]}"}),$(
            specification volume "$part")]" ${@+"$@"} >/dev/null
}

# user_data: what nodes and hosts run, in files.
user_data() {
    local part
    {
        printf '#!/bin/bash\nset -uo pipefail\nurl=%q sum=%q\n' "$package" "$sha256"
        printf 'role_check() {\n    python3 - "$@" <<"ROLE-CHECK"\n'
        cat "$here/trial.d/role.py"
        printf 'ROLE-CHECK\n}\n'
        sed 1,/^set/d "$here/trial.d/node"
    } >"$work/node"
    for part in host server; do
        {
            printf '#!/usr/bin/env python3\n'
            printf 'TOKEN = "%s"\nPORT = %d\nPART = "%s"\n' "$token" "$port" "$part"
            cat "$here/trial.d/probe.py"
        } >"$work/$part"
    done
}

make_instances() {
    local profile=(--iam-instance-profile "Name=natha-trial-$name")
    user_data
    launch node-a "$public_a" "$nodes_group" true "$work/node" "${profile[@]}"
    launch node-b "$public_b" "$nodes_group" true "$work/node" "${profile[@]}"
    launch server "$public_a" "$server_group" true "$work/server"
    launch host-a "$private_a" "$hosts_group" false "$work/host"
    launch host-b "$private_b" "$hosts_group" false "$work/host"
}

make_all() {
    say "making the trial $name in $region"
    [[ $verb != run ]] || make_vpc
    make_network
    make_groups
    make_address egress-a "${zones[0]}"
    make_address egress-b "${zones[1]}"
    make_role
    make_instances
}
