//! Settings of the history and of the notices to people and programs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::values::{Range, Value};

/// How much of the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistorySettings {
    /// The size of its files together, in MiB: 1 to 1,024.
    pub max_mib: u32,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { max_mib: 8 }
    }
}

/// Where notices go. `docs/notices.md` explains each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The program that gets each notice on its standard input, or a Unix socket.
    pub hook: Option<PathBuf>,
    /// The user that the program runs as where the monitor is root.
    pub hook_user: String,
    /// Where each notice is posted.
    pub webhook: Option<WebhookUrl>,
    /// The file with a header of these posts.
    pub webhook_header_file: Option<PathBuf>,
    /// The file with the certificates that the webhook's is checked with; none for the host's.
    pub webhook_ca: Option<PathBuf>,
    /// Where each notice is published.
    pub sns_topic: Option<TopicArn>,
    /// SNS endpoint (`api.sns_endpoint`); none for that of the topic's region.
    pub sns_endpoint: Option<String>,
    /// Time limit of one attempt.
    pub timeout: Duration,
}

impl Notify {
    /// Whether notices go anywhere.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.hook.is_some() || self.webhook.is_some() || self.sns_topic.is_some()
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            hook: None,
            hook_user: "nobody".to_owned(),
            webhook: None,
            webhook_header_file: None,
            webhook_ca: None,
            sns_topic: None,
            sns_endpoint: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// An HTTPS address. What follows its host may be a secret and is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its host, with the port if there is one.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.0.strip_prefix(HTTPS).unwrap_or(&self.0);
        rest.split(['/', '?']).next().unwrap_or(rest)
    }
}

const HTTPS: &str = "https://";

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({HTTPS}{}/…)", self.host())
    }
}

impl Value for WebhookUrl {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        if !text.starts_with(HTTPS) {
            return Err("is not encrypted\nwrite https://HOST/PATH".to_owned());
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return Err("has a character that a URL for a request cannot have".to_owned());
        }
        let url = Self(text.to_owned());
        let host = url.host();
        if host.contains('@') {
            return Err("has a user in it\nput a secret into notify.webhook_header_file".to_owned());
        }
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "443"));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) || port.parse::<u16>().is_err() {
            return Err("has no host".to_owned());
        }
        Ok(url)
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The ARN of an SNS topic: `arn:PARTITION:sns:REGION:ACCOUNT:NAME` (SNS developer guide).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicArn(String);

impl TopicArn {
    /// The ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its partition, such as `aws` or `aws-cn`.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.part(1)
    }

    /// Its region.
    #[must_use]
    pub fn region(&self) -> &str {
        self.part(3)
    }

    fn part(&self, number: usize) -> &str {
        self.0.split(':').nth(number).unwrap_or_default()
    }
}

impl Value for TopicArn {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not an ARN of SNS\nwrite arn:aws:sns:REGION:ACCOUNT:NAME");
        let parts: Vec<&str> = text.split(':').collect();
        let [arn, partition, service, region, account, name] = parts[..] else {
            return Err(wrong());
        };
        let plain = |part: &str| {
            let is_plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !part.is_empty() && part.bytes().all(is_plain)
        };
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if name.strip_suffix(".fifo").is_some() {
            return Err("is a FIFO topic\nuse a standard one".to_owned());
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_named = (1..=256).contains(&name.len()) && name.bytes().all(is_name);
        let is_partition = partition == "aws" || partition.starts_with("aws-");
        let is_sns = arn == "arn" && service == "sns" && is_partition && plain(partition);
        if is_sns && plain(region) && is_account && is_named {
            Ok(Self(text.to_owned()))
        } else {
            Err(wrong())
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Range = Range::Words("");

    #[test]
    fn a_webhook_is_https_with_a_host_and_without_a_user() {
        for text in ["https://a.example/x?y=1", "https://10.0.0.1:8443", "https://[fd00::1]:443/"] {
            assert_eq!(WebhookUrl::read(text, ANY).unwrap().show(), text);
        }
        for text in [
            "http://a.example/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://u:p@a.example/",
            "https://a.example:port/",
            "https://a.example/#x",
            "a.example",
        ] {
            assert!(WebhookUrl::read(text, ANY).is_err(), "{text}");
        }
    }

    #[test]
    fn what_may_be_a_secret_in_a_webhook_is_not_shown() {
        let url = WebhookUrl::read("https://hooks.example/services/T0/s3cret", ANY).unwrap();
        assert_eq!(url.host(), "hooks.example");
        assert_eq!(format!("{url:?}"), "WebhookUrl(https://hooks.example/…)");
    }

    #[test]
    fn a_topic_is_a_standard_one_by_its_arn() {
        let text = "arn:aws-cn:sns:cn-north-1:123456789012:nat_alerts-1";
        let topic = TopicArn::read(text, ANY).unwrap();
        assert_eq!((topic.partition(), topic.region()), ("aws-cn", "cn-north-1"));
        assert_eq!(topic.show(), text);
        for text in [
            "nat-alerts",
            "arn:aws:sqs:eu-west-1:123456789012:a",
            "arn:aws:sns:eu-west-1:1234:a",
            "arn:aws:sns:eu-west-1:123456789012:a:b",
            "arn:aws:sns:eu-west-1:123456789012:a*",
            "arn:aws:sns::123456789012:a",
            "arn:azure:sns:eu-west-1:123456789012:a",
            "arn:aws:sns:eu-west-1:123456789012:a.fifo",
        ] {
            assert!(TopicArn::read(text, ANY).is_err(), "{text}");
        }
    }
}
