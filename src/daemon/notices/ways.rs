//! The ways by which a notice reaches people and programs.
//!
//! Each delivery starts from the settings alone: files and credentials that were replaced count
//! from the next notice on, and what was wrong with them once harms no other.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::cloud::{Https, Reply, publish};
use crate::config::{Api, Settings, TopicArn, WebhookUrl};
use crate::kernel::run;
use crate::notify::{Notice, is_final_status};
use crate::types::shown;

/// The longest header file, in bytes.
const HEADER_MAX: usize = 8 * 1024;

/// A way.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Hook { path: PathBuf, user: String, limit: Duration },
    Webhook(Webhook),
    Sns { api: Api, topic: TopicArn, endpoint: Option<String>, limit: Duration },
}

/// Where to post notices, and how.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    url: WebhookUrl,
    header_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    limit: Duration,
}

/// Why a notice was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undelivered {
    pub(crate) why: String,
    /// Whether another attempt may succeed.
    pub(crate) again: bool,
}

impl Undelivered {
    /// For a failure that may pass.
    fn for_now(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: true }
    }
}

/// The ways that are set.
pub(crate) fn ways(settings: &Settings) -> Vec<Way> {
    let notify = &settings.notify;
    let limit = notify.timeout;
    let hook = notify.hook.clone().map(|path| {
        let user = notify.hook_user.clone();
        Way::Hook { path, user, limit }
    });
    let webhook = notify.webhook.clone().map(|url| {
        let (header_file, ca) = (notify.webhook_header_file.clone(), notify.webhook_ca.clone());
        Way::Webhook(Webhook { url, header_file, ca, limit })
    });
    let api = settings.api.clone();
    let endpoint = notify.sns_endpoint.clone();
    let sns = notify.sns_topic.clone().map(|topic| Way::Sns { api, topic, endpoint, limit });
    [hook, webhook, sns].into_iter().flatten().collect()
}

impl Way {
    /// The setting's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Hook { .. } => "hook",
            Self::Webhook(_) => "webhook",
            Self::Sns { .. } => "sns",
        }
    }

    /// The name of the alert about its failures.
    pub(super) const fn alert(&self) -> &'static str {
        match self {
            Self::Hook { .. } => "notify-hook",
            Self::Webhook(_) => "notify-webhook",
            Self::Sns { .. } => "notify-sns",
        }
    }

    /// Where it leads, without secrets.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Hook { path, .. } => path.display().to_string(),
            Self::Webhook(webhook) => webhook.url.host().to_owned(),
            Self::Sns { topic, .. } => topic.as_str().to_owned(),
        }
    }

    /// Tries once to deliver a notice.
    pub(crate) async fn send(&self, notice: &Notice) -> Result<(), Undelivered> {
        match self {
            Self::Hook { path, user, limit } => {
                let input = notice.to_json() + "\n";
                if is_socket(path) {
                    return write_to(path, input.as_bytes(), *limit).await;
                }
                let ran = run::hook(path, user, input.as_bytes(), *limit).await;
                ran.map_err(|error| {
                    Undelivered::for_now(format!("{:#}", anyhow::Error::new(error)))
                })
            }
            Self::Webhook(webhook) => judge(webhook.post(notice).await?),
            Self::Sns { api, topic, endpoint, limit } => {
                let text = (notice.subject.as_str(), notice.text.as_str());
                // A future of the SDK is large: on the heap it does not add up in the caller's.
                Box::pin(publish(api, topic, endpoint.as_deref(), text, *limit)).await.map_err(
                    |fault| {
                        let again = !fault.kind.is_final();
                        Undelivered { why: fault.to_string(), again }
                    },
                )
            }
        }
    }
}

/// What a reply says of the delivery.
fn judge(reply: Reply) -> Result<(), Undelivered> {
    let Reply { status, text } = reply;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let text = if text.is_empty() { text } else { format!(": {}", shown(&text)) };
    let (why, again) = (format!("HTTP status {status}{text}"), !is_final_status(status));
    Err(Undelivered { why, again })
}

impl Webhook {
    async fn post(&self, notice: &Notice) -> Result<Reply, Undelivered> {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if let Some(path) = &self.header_file {
            headers.push(header(path).map_err(Undelivered::for_now)?);
        }
        let roots = self.ca.as_ref().map(|path| {
            let text = fs::read(path).map_err(|error| format!("cannot be read: {error}"));
            text.map_err(|why| Undelivered::for_now(format!("{} {why}", path.display())))
        });
        let roots = roots.transpose()?;
        let https = Https::new(roots.as_deref()).map_err(|why| {
            let file = self.ca.as_deref().unwrap_or(Path::new("the host's certificates"));
            Undelivered::for_now(format!("{} {why}", file.display()))
        })?;
        let body = notice.to_json().into_bytes();
        let reply = https.post(self.url.as_str(), headers, body, self.limit).await;
        reply.map_err(Undelivered::for_now)
    }
}

/// The header in a file: `Name: value`. The error names the file.
fn header(path: &Path) -> Result<(String, String), String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!("{shown} can be read by every user of this host; chmod o= it"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let line = text.trim_end_matches(['\r', '\n']);
    let (name, value) = line.split_once(':').unwrap_or_default();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = !name.is_empty() && name.bytes().all(is_token);
    let value = value.trim();
    let is_value = !value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_name || !is_value || line.len() > HEADER_MAX {
        return Err(format!("{shown} is not one line `Name: value` of ASCII characters"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Writes to a Unix socket, and waits until the other side has closed it.
async fn write_to(path: &Path, input: &[u8], limit: Duration) -> Result<(), Undelivered> {
    let talk = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(input).await?;
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    match timeout(limit, talk).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Undelivered::for_now(format!("{}: {error}", path.display()))),
        Err(_) => {
            let limit = humantime::format_duration(limit);
            let shown = path.display();
            Err(Undelivered::for_now(format!("{shown} was not closed within {limit}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_header_is_one_line_that_not_everyone_may_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("header");
        let read = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            header(&path)
        };
        let wanted = ("Authorization".to_owned(), "Bearer a:b".to_owned());
        assert_eq!(read("Authorization: Bearer a:b\n", 0o640), Ok(wanted));
        for text in ["", "Authorization", ": x", "A: ", "A b: c", "A: b\nC: d", "A: é"] {
            assert!(read(text, 0o600).unwrap_err().contains("Name: value"), "{text}");
        }
        assert!(read("A: b", 0o644).unwrap_err().contains("chmod"));
    }

    #[test]
    fn a_reply_is_delivered_final_or_for_now() {
        let reply = |status| judge(Reply { status, text: "why".to_owned() });
        assert_eq!(reply(204), Ok(()));
        assert_eq!(reply(403).map_err(|error| error.again), Err(false));
        assert_eq!(reply(503).map_err(|error| error.again), Err(true));
        assert_eq!(reply(503).unwrap_err().why, "HTTP status 503: why");
    }

    #[tokio::test]
    async fn a_socket_gets_the_notice_and_counts_when_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hook.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert!(is_socket(&path));
        let service = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        });
        write_to(&path, b"notice\n", LIMIT).await.unwrap();
        assert_eq!(service.await.unwrap(), "notice\n");
        fs::remove_file(&path).unwrap();
        assert!(write_to(&path, b"", LIMIT).await.unwrap_err().again);
    }
}
