//! GetConsoleOutput: what instances have written to their consoles.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use super::error::{self, ApiError};
use super::model::{State, find};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;

/// How much of a console's output EC2 keeps, in bytes: the last 64 KB (API reference,
/// GetConsoleOutput).
const KEPT: usize = 64 * 1024;

/// Reads what an instance, by its id, has written to its console since it last booted.
type Read = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// The consoles of an account's instances.
#[derive(Clone)]
pub struct Consoles {
    read: Arc<Read>,
}

impl Consoles {
    /// Consoles that `read` reads, by the id of the instance and since its last boot.
    #[must_use]
    pub fn new(read: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read) }
    }
}

impl Default for Consoles {
    /// Consoles to which nothing was written.
    fn default() -> Self {
        Self::new(|_| Vec::new())
    }
}

impl Debug for Consoles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consoles").finish_non_exhaustive()
    }
}

/// With and without `Latest`, the answer is what is there now: the real EC2 keeps an older one for
/// requests without it.
pub(super) fn output(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("InstanceId")?;
    find(&state.instances, &error::INSTANCE, id)?;
    params.flag("Latest")?;
    let written = (ctx.consoles.read)(id);
    let kept = &written[written.len().saturating_sub(KEPT)..];
    let mut body = XmlBody::new();
    body.put("instanceId", id);
    body.put("timestamp", ctx.settings.stamp(ctx.now));
    body.put("output", base64(kept));
    Ok(body)
}

/// Base64 of RFC 4648, padded.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[(bits >> shift & 0x3f) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
