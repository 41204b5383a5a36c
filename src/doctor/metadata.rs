//! The instance metadata service.

use super::facts::{Facts, known};
use super::finding::{Gap, Judged, Outcome};
use crate::types::{InstanceId, MetadataOptions};

/// How many hops a token may take: one to the host, and one more into a container on it.
const MOST_HOPS: u32 = 2;

/// `metadata-answers`
pub(super) fn answers(facts: &Facts) -> Judged {
    Ok(match known(&facts.metadata)? {
        Ok(instance) => Outcome::passed(format!(
            "the metadata service (version 2) says that this is {instance}"
        )),
        Err(why) => Outcome::failed(
            why.clone(),
            "aws ec2 modify-instance-metadata-options --http-endpoint enabled --instance-id ID, \
             with the id of this instance; in a container, also --http-put-response-hop-limit 2",
        ),
    })
}

/// `metadata-token`
pub(super) fn token(facts: &Facts) -> Judged {
    if options(facts)?.token_required {
        return Ok(Outcome::passed("requests without a session token are refused"));
    }
    Ok(Outcome::warning(
        "the metadata service also answers requests without a session token (version 1)",
        command(facts, "--http-tokens required"),
    ))
}

/// `metadata-hop-limit`
pub(super) fn hop_limit(facts: &Facts) -> Judged {
    let limit = options(facts)?.hop_limit;
    if limit <= MOST_HOPS {
        return Ok(Outcome::passed(format!("a session token is sent {limit} hops far at most")));
    }
    Ok(Outcome::warning(
        format!("a session token is sent up to {limit} hops far; a NAT needs 1, a container 2"),
        command(facts, "--http-put-response-hop-limit 1"),
    ))
}

fn options(facts: &Facts) -> Result<MetadataOptions, Gap> {
    let missing = || Gap::new("EC2 did not say how the metadata service is set");
    known(&facts.instance)?.metadata.ok_or_else(missing)
}

fn command(facts: &Facts, options: &str) -> String {
    let id = facts.metadata.as_ref().ok().and_then(|known| known.as_ref().ok());
    let id = id.map_or("ID", InstanceId::as_str);
    format!("aws ec2 modify-instance-metadata-options --instance-id {id} {options}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::types::InstanceOptions;

    fn facts(token_required: bool, hop_limit: u32) -> Facts {
        let metadata = Some(MetadataOptions { token_required, hop_limit });
        Facts {
            metadata: Ok(Ok("i-00000001".parse().unwrap())),
            instance: Ok(InstanceOptions { metadata, ..InstanceOptions::default() }),
            ..Facts::default()
        }
    }

    #[test]
    fn version_1_and_far_tokens_are_warnings_with_the_command_for_this_instance() {
        for (required, hops, of_token, of_hops) in [
            (true, 1, State::Passed, State::Passed),
            (true, 2, State::Passed, State::Passed),
            (true, 3, State::Passed, State::Warning),
            (false, 1, State::Warning, State::Passed),
        ] {
            let facts = facts(required, hops);
            let outcomes = [token(&facts).unwrap(), hop_limit(&facts).unwrap()];
            assert_eq!(outcomes.each_ref().map(|one| one.state), [of_token, of_hops]);
            for remedy in outcomes.into_iter().filter_map(|one| one.remedy) {
                assert!(remedy.contains("--instance-id i-00000001 --http-"), "{remedy}");
            }
        }
    }

    #[test]
    fn a_service_that_does_not_answer_fails_and_options_that_ec2_leaves_out_are_a_gap() {
        let silent = Facts { metadata: Ok(Err("no answer".to_owned())), ..Facts::default() };
        let outcome = answers(&silent).unwrap();
        assert_eq!((outcome.state, &*outcome.what), (State::Failed, "no answer"));
        assert_eq!(answers(&facts(true, 1)).unwrap().state, State::Passed);
        let bare = Facts { instance: Ok(InstanceOptions::default()), ..Facts::default() };
        assert!(token(&bare).unwrap_err().to_string().contains("did not say"));
    }
}
