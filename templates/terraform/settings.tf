# The nodes' settings, checked before anything is created: a monitor does not start with a wrong one.
# settings_known.tf has those that natha knows, settings_rules.tf the rules between them.

locals {
  # Only one of the two may restore a failed node: a group would terminate an instance that natha
  # stops.
  settings = merge(
    length(var.metrics_cidr_blocks) > 0 ? { "metrics.listen" = "0.0.0.0:${local.metrics_port}" } : {},
    var.settings,
    var.use_autoscaling_groups ? { "repair.enabled" = "false" } : {},
    var.sns_topic_arn == "" ? {} : { "notify.sns_topic" = var.sns_topic_arn },
  )

  heartbeat_port   = lookup(local.settings, "heartbeat.port", "6284")
  replication_port = lookup(local.settings, "replicate.port", local.heartbeat_port)
  relay_port       = lookup(local.settings, "replicate.relay_port", "6286")
  metrics_listen   = lookup(local.settings, "metrics.listen", "127.0.0.1:6285")
  metrics_port     = try(regex(":([0-9]+)$", lookup(var.settings, "metrics.listen", ""))[0], "6285")

  # Inputs of the module that do more than a tag.
  settings_as_inputs = {
    "cluster"          = "name"
    "api.region"       = "region"
    "notify.sns_topic" = "sns_topic_arn"
  }

  milliseconds = merge(
    { for unit in ["ms", "msec", "millis"] : unit => 1 },
    { for unit in ["s", "sec", "secs", "second", "seconds"] : unit => 1000 },
    { for unit in ["m", "min", "mins", "minute", "minutes"] : unit => 60000 },
    { for unit in ["h", "hr", "hrs", "hour", "hours"] : unit => 3600000 },
    { for unit in ["d", "day", "days"] : unit => 86400000 },
    { for unit in ["w", "wk", "wks", "week", "weeks"] : unit => 604800000 },
  )

  setting_patterns = {
    bool        = "^(true|false)$"
    text        = "."
    accept_mode = "^(lo|redirect)$"
    address     = "^[0-9.]+$"
    network     = "^[0-9.]+/[0-9]+$"
    instance    = "^i-([0-9a-f]{8}|[0-9a-f]{17})$"
    probe       = "^((icmp:)?[0-9.]+|tcp:([0-9.]+|\\[[0-9a-f:]+\\]):[0-9]+)$"
    transit     = "^(off|[0-9.]+/30)$"
    listener    = "^(off|([0-9.]+|\\[[0-9a-f:]+\\]):[0-9]+)$"
    number      = "^[0-9]+$"
    duration    = "^( *[0-9]+ *[a-z]+)+ *$"
  }

  given_known = { for key, value in var.settings : key => merge(local.known_settings[key], {
    # A list as its parts, anything else as a list of one.
    parts = local.known_settings[key].list == 0 ? [value] : [
      for part in split(",", value) : trimspace(part) if trimspace(part) != ""
    ]
  }) if can(local.known_settings[key]) }

  # What a number, a duration in milliseconds, or a port comes to. Null: there is none.
  setting_amounts = { for key, it in local.given_known : key => [
    for part in it.parts : (
      it.kind == "number" ? try(tonumber(part), null)
      : it.kind == "duration" ? try(sum([for piece in regexall("([0-9]+) *([a-z]+)", part) : piece[0] * local.milliseconds[piece[1]]]), null)
      : try(tonumber(regex(":([0-9]+)$", part)[0]), null)
    )
  ] }

  setting_is_right = { for key, it in local.given_known : key => alltrue(concat(
    it.list == 0 ? [] : [length(distinct(it.parts)) == length(it.parts), length(it.parts) <= it.list],
    [for part in it.parts : can(regex(local.setting_patterns[it.kind], part))],
    # An IPv4 address is four numbers below 256, and a network has no bits of a host.
    [
      for address in flatten([for part in it.parts : regexall("[0-9]+(?:\\.[0-9]+)+(?:/[0-9]+)?", part)]) :
      try(cidrhost(length(split("/", address)) > 1 ? address : "${address}/32", 0) == split("/", address)[0], false)
    ],
    [
      for amount in local.setting_amounts[key] : (
        contains(["number", "duration"], it.kind) ? try(amount >= it.min && amount <= it.max, false)
        : amount == null ? true : try(amount >= 1 && amount <= 65535, false)
      )
    ],
  )) }

  setting_faults = concat(
    [
      for key, value in var.settings : "  ${key}: it is the input ${local.settings_as_inputs[key]}."
      if contains(keys(local.settings_as_inputs), key)
    ],
    [
      for key, value in var.settings : "  ${key}: natha has no such setting that can be a tag. docs/config.md lists them."
      if !can(local.known_settings[key])
    ],
    [
      for key, right in local.setting_is_right : "  ${key} = \"${var.settings[key]}\": it may be ${local.known_settings[key].words}."
      if !right && !contains(keys(local.settings_as_inputs), key)
    ],
    [
      for key, value in var.settings : "  ${key}: a tag's value has at most 256 characters."
      if length(value) > 256
    ],
    contains(keys(var.settings), "repair.enabled") && var.use_autoscaling_groups ? [
      "  repair.enabled: with use_autoscaling_groups the groups repair, and it is false."
    ] : [],
    local.broken_rules,
  )
}
