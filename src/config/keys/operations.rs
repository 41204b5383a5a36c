//! The settings of metrics, recordings, the history and notices.

use super::{BOOL, MINUTE, Range, SECOND, SettingKey, Value, key};

/// In the order of the reference.
pub(super) static KEYS: &[SettingKey] = &[
    key!(
        "metrics.listen",
        metrics.listen,
        Range::Words("ADDRESS:PORT or off"),
        "Where the monitor serves its metrics, `/healthz` and `/readyz`, by HTTP without \
         encryption or authentication. Admit only the hosts that collect metrics. `off`: nowhere."
    ),
    key!(
        "metrics.talkers",
        metrics.talkers,
        Range::Number(1, 200),
        "How many private hosts, and how many destinations, the metrics name: those with the most \
         bytes. Needs `host.accounting`."
    ),
    key!(
        "metrics.cloudwatch",
        metrics.cloudwatch,
        BOOL,
        "Whether the monitor prints, once a minute, the metrics of a managed NAT gateway as a line \
         of JSON in CloudWatch's embedded metric format on its standard output."
    ),
    key!(
        "record.file",
        record.file,
        Range::Words("absolute path"),
        "The file in which `natha monitor` records all inputs of its decisions, for `natha \
         replay`. An existing file is never overwritten: the new one gets a number.",
        host_only,
        if_unset = "no recording"
    ),
    key!(
        "record.max_mib",
        record.max_mib,
        Range::Number(1, 65_536),
        "The size in MiB at which a recording ends.",
        host_only
    ),
    key!(
        "history.max_mib",
        history.max_mib,
        Range::Number(1, 1_024),
        "The size in MiB of the history that the monitor keeps in `state_dir`, for `natha history`."
    ),
    key!(
        "notify.hook",
        notify.hook,
        Range::Words("absolute path"),
        "The program that gets each notice as JSON on its standard input, or the Unix socket of \
         one.",
        host_only,
        if_unset = "no hook"
    ),
    key!(
        "notify.hook_user",
        notify.hook_user,
        Range::Words("user name"),
        "The user that runs the program if the monitor is root. Otherwise the program runs as the \
         monitor's user, without capabilities.",
        host_only
    ),
    key!(
        "notify.webhook",
        notify.webhook,
        Range::Words("https:// URL"),
        "Where each notice is posted as JSON.",
        host_only,
        if_unset = "no webhook"
    ),
    key!(
        "notify.webhook_header_file",
        notify.webhook_header_file,
        Range::Words("absolute path"),
        "The file with a header of these posts, such as `Authorization: Bearer …`. Read for each \
         post; not all users may read it.",
        host_only,
        if_unset = "no header"
    ),
    key!(
        "notify.webhook_ca",
        notify.webhook_ca,
        Range::Words("absolute path"),
        "The file with CA certificates, in PEM. One of them must have signed the webhook's \
         certificate.",
        host_only,
        if_unset = "those that the host trusts"
    ),
    key!(
        "notify.sns_topic",
        notify.sns_topic,
        Range::Words("ARN of an SNS topic"),
        "The topic to which the text of each notice is published.",
        if_unset = "no topic"
    ),
    key!(
        "notify.timeout",
        notify.timeout,
        Range::Millis(SECOND, MINUTE),
        "Time limit of one attempt to deliver a notice."
    ),
];
