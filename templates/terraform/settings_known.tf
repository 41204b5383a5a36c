# The settings that can be tags, and their values; durations in milliseconds. Written by
# tests/templates/settings.py from docs/config.md: do not edit.

locals {
  known_settings = {
    "cluster"                  = { kind = "text", list = 0, min = 0, max = 0, default = null, words = "text" }
    "members"                  = { kind = "instance", list = 16, min = 0, max = 0, default = null, words = "1 to 16 instance ids" }
    "observe"                  = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "api.region"               = { kind = "text", list = 0, min = 0, max = 0, default = null, words = "a region such as eu-west-1" }
    "api.timeout"              = { kind = "duration", list = 0, min = 500, max = 60000, default = 5000, words = "500ms to 1m" }
    "host.nat"                 = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "host.accept"              = { kind = "address", list = 1000, min = 0, max = 0, default = null, words = "IPv4 addresses" }
    "host.accept_mode"         = { kind = "accept_mode", list = 0, min = 0, max = 0, default = null, words = "lo or redirect" }
    "host.uplink"              = { kind = "text", list = 0, min = 0, max = 0, default = null, words = "interface name" }
    "host.sources"             = { kind = "network", list = 1000, min = 0, max = 0, default = null, words = "IPv4 networks" }
    "host.transit_network"     = { kind = "transit", list = 0, min = 0, max = 0, default = null, words = "a /30 or off" }
    "host.clamp_mss"           = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "host.mss"                 = { kind = "number", list = 0, min = 536, max = 8960, default = 1460, words = "536 to 8960" }
    "host.flowtable"           = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "host.source_dest_check"   = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "host.conntrack_max"       = { kind = "number", list = 0, min = 4096, max = 16777216, default = null, words = "4096 to 16777216" }
    "host.conntrack_alert"     = { kind = "number", list = 0, min = 1, max = 100, default = 90, words = "1 to 100" }
    "host.accounting"          = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "host.established_timeout" = { kind = "duration", list = 0, min = 60000, max = 2592000000, default = 350000, words = "1m to 30days" }
    "host.reset_idle"          = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "host.protect"             = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "host.protect_except"      = { kind = "network", list = 1000, min = 0, max = 0, default = null, words = "IPv4 networks" }
    "heartbeat.port"           = { kind = "number", list = 0, min = 1, max = 65535, default = 6284, words = "1 to 65535" }
    "heartbeat.interval"       = { kind = "duration", list = 0, min = 20, max = 10000, default = 90, words = "20ms to 10s" }
    "heartbeat.lost_after"     = { kind = "number", list = 0, min = 2, max = 100, default = 5, words = "2 to 100" }
    "heartbeat.bind"           = { kind = "address", list = 0, min = 0, max = 0, default = null, words = "IPv4 address" }
    "failover.daemon_grace"    = { kind = "duration", list = 0, min = 0, max = 3600000, default = 15000, words = "0s to 1h" }
    "failover.first_contact"   = { kind = "duration", list = 0, min = 1000, max = 3600000, default = 30000, words = "1s to 1h" }
    "failover.read_valid"      = { kind = "duration", list = 0, min = 1000, max = 60000, default = 5000, words = "1s to 1m" }
    "failover.reread"          = { kind = "duration", list = 0, min = 1000, max = 300000, default = 10000, words = "1s to 5m" }
    "failover.adopt"           = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "repair.enabled"           = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "repair.after"             = { kind = "duration", list = 0, min = 10000, max = 86400000, default = 60000, words = "10s to 1day" }
    "repair.settle"            = { kind = "duration", list = 0, min = 2000, max = 3600000, default = 30000, words = "2s to 1h" }
    "repair.stagger"           = { kind = "duration", list = 0, min = 5000, max = 3600000, default = 20000, words = "5s to 1h" }
    "repair.max_per_hour"      = { kind = "number", list = 0, min = 1, max = 60, default = 3, words = "1 to 60" }
    "repair.patience"          = { kind = "duration", list = 0, min = 60000, max = 3600000, default = 300000, words = "1m to 1h" }
    "hand_back.enabled"        = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "hand_back.hold"           = { kind = "duration", list = 0, min = 1000, max = 86400000, default = 30000, words = "1s to 1day" }
    "hand_back.hold_max"       = { kind = "duration", list = 0, min = 1000, max = 604800000, default = 1800000, words = "1s to 7days" }
    "uplink.targets"           = { kind = "probe", list = 1000, min = 0, max = 0, default = null, words = "icmp:ADDRESS or tcp:ADDRESS:PORT" }
    "uplink.interval"          = { kind = "duration", list = 0, min = 100, max = 60000, default = 500, words = "100ms to 1m" }
    "uplink.lost_after"        = { kind = "number", list = 0, min = 2, max = 100, default = 5, words = "2 to 100" }
    "interruptions.enabled"    = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "interruptions.lead_time"  = { kind = "duration", list = 0, min = 10000, max = 86400000, default = 120000, words = "10s to 1day" }
    "replicate.enabled"        = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "replicate.port"           = { kind = "number", list = 0, min = 1, max = 65535, default = null, words = "1 to 65535" }
    "replicate.min_age"        = { kind = "duration", list = 0, min = 0, max = 3600000, default = 0, words = "0s to 1h" }
    "replicate.max_flows"      = { kind = "number", list = 0, min = 1000, max = 4000000, default = 200000, words = "1000 to 4000000" }
    "replicate.max_waiting"    = { kind = "number", list = 0, min = 1000, max = 4000000, default = 50000, words = "1000 to 4000000" }
    "replicate.share_percent"  = { kind = "number", list = 0, min = 0, max = 100, default = 10, words = "0 to 100" }
    "replicate.min_rate"       = { kind = "number", list = 0, min = 16, max = 1000000, default = 1024, words = "16 to 1000000" }
    "replicate.max_rate"       = { kind = "number", list = 0, min = 16, max = 1000000, default = 16384, words = "16 to 1000000" }
    "replicate.relay"          = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "replicate.relay_port"     = { kind = "number", list = 0, min = 1, max = 65535, default = 6286, words = "1 to 65535" }
    "metrics.listen"           = { kind = "listener", list = 0, min = 0, max = 0, default = null, words = "ADDRESS:PORT or off" }
    "metrics.talkers"          = { kind = "number", list = 0, min = 1, max = 200, default = 20, words = "1 to 200" }
    "metrics.cloudwatch"       = { kind = "bool", list = 0, min = 0, max = 0, default = null, words = "true or false" }
    "history.max_mib"          = { kind = "number", list = 0, min = 1, max = 1024, default = 8, words = "1 to 1024" }
    "notify.sns_topic"         = { kind = "text", list = 0, min = 0, max = 0, default = null, words = "ARN of an SNS topic" }
    "notify.timeout"           = { kind = "duration", list = 0, min = 1000, max = 60000, default = 10000, words = "1s to 1m" }
  }
}
