//! Rejects truncated replies. The SDK's XML reader treats the end of the text as the end of all
//! open elements, so a truncated list of route tables passes for a shorter list.

use aws_sdk_ec2::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};

/// Turns a reply that does not end with the end of its first element into an error.
#[derive(Debug)]
pub(super) struct WholeReplies;

impl Intercept for WholeReplies {
    fn name(&self) -> &'static str {
        "natha::WholeReplies"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_ec2::error::BoxError> {
        let response = context.response();
        let whole = response.body().bytes().is_some_and(is_whole);
        if whole || !response.status().is_success() {
            return Ok(());
        }
        Err("the reply is truncated".into())
    }
}

/// Whether an XML document ends with the end of its first element.
fn is_whole(document: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(document) else { return false };
    let mut text = text.trim();
    if let Some(declaration) = text.strip_prefix("<?") {
        text = declaration.split_once("?>").map_or("", |(_, rest)| rest.trim_start());
    }
    let Some(inside) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) else {
        return false;
    };
    let name: &str =
        inside.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or("");
    let closed = inside.strip_suffix(name).is_some_and(|before| before.ends_with("</"));
    let empty = inside.ends_with('/') && !inside.contains('<');
    !name.is_empty() && (closed || empty)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_document_ends_with_its_first_element() {
        for whole in
            ["<a>1</a>", "<a/>", "<a b=\"c\"/>\n", "<?xml version=\"1.0\"?>\n<a x=''><b/></a>"]
        {
            assert!(is_whole(whole.as_bytes()), "{whole}");
            for end in 0..whole.trim_end().len() {
                assert!(!is_whole(&whole.as_bytes()[..end]), "{}", &whole[..end]);
            }
        }
        for other in ["", "<>", "</>", "text", "<a>1</b>", "<ab>1</b>", "<b/></a>"] {
            assert!(!is_whole(other.as_bytes()), "{other}");
        }
    }
}
