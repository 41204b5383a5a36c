# Rules between settings: natha refuses settings that break one. docs/config.md says why.

locals {
  # The numbers, and the durations in milliseconds, that natha would work with.
  effective = merge(
    { for key, it in local.known_settings : key => it.default if it.default != null },
    {
      for key, amounts in local.setting_amounts : key => amounts[0]
      if contains(["number", "duration"], local.known_settings[key].kind) && amounts[0] != null
    },
  )

  detection = local.effective["heartbeat.interval"] * local.effective["heartbeat.lost_after"]
  suspicion = local.detection + local.effective["heartbeat.interval"]
  proof     = local.effective["api.timeout"] + 2 * local.effective["failover.read_valid"] + 10000
  notice    = local.effective["api.timeout"] + local.effective["failover.read_valid"] + 5000
  repairs   = lookup(local.settings, "repair.enabled", "true") == "true"

  # The least value of a setting, in its unit, and what it comes from.
  least_values = concat(
    [
      { key = "failover.first_contact", least = local.detection + 1, unit = "ms", of = "heartbeat.interval, heartbeat.lost_after" },
      { key = "failover.read_valid", least = local.effective["api.timeout"], unit = "ms", of = "api.timeout" },
      { key = "hand_back.hold_max", least = local.effective["hand_back.hold"], unit = "ms", of = "hand_back.hold" },
      { key = "replicate.max_rate", least = local.effective["replicate.min_rate"], unit = "", of = "replicate.min_rate" },
    ],
    [
      for it in [
        { key = "failover.read_valid", least = 3000, unit = "ms", of = "repair.enabled" },
        { key = "repair.after", least = local.suspicion + local.proof, unit = "ms", of = "heartbeat.interval, heartbeat.lost_after, api.timeout, failover.read_valid" },
        { key = "repair.settle", least = local.proof, unit = "ms", of = "api.timeout, failover.read_valid" },
        { key = "repair.stagger", least = local.suspicion + local.notice, unit = "ms", of = "heartbeat.interval, heartbeat.lost_after, api.timeout, failover.read_valid" },
      ] : it if local.repairs
    ],
  )

  shares_port = (
    lookup(local.settings, "replicate.enabled", "false") == "true" &&
    try(regex(":([0-9]+)$", local.metrics_listen)[0], "") == local.replication_port &&
    !can(regex("^(127\\.|\\[::1\\])", local.metrics_listen))
  )

  shares_udp_port = (
    lookup(local.settings, "replicate.enabled", "false") == "true" &&
    lookup(local.settings, "replicate.relay", "true") == "true" &&
    local.relay_port == local.heartbeat_port
  )

  # The module's nodes are NATs unless a setting says otherwise.
  closes_accepted = (
    lookup(local.settings, "host.nat", "true") == "true" &&
    lookup(local.settings, "host.protect", "false") == "true" &&
    lookup(local.settings, "host.protect_except", "") == "" &&
    lookup(local.settings, "host.accept", "") != ""
  )

  broken_rules = concat(
    [
      for it in local.least_values : "  ${it.key}: it must be at least ${it.least}${it.unit}, by ${it.of}."
      if local.effective[it.key] < it.least
    ],
    local.shares_port ? ["  metrics.listen: replicated connections have TCP port ${local.replication_port}; use another one."] : [],
    local.shares_udp_port ? ["  replicate.relay_port: heartbeats have UDP port ${local.heartbeat_port}; use another one."] : [],
    local.closes_accepted ? ["  host.protect: it closes the addresses of host.accept; let the hosts that use them in by host.protect_except."] : [],
  )
}
