//! The regions of AWS, to notice a misspelt one. An ARN with such a region is valid and matches
//! nothing.

use crate::config::{Problem, nearest};
use crate::types::printable;

/// Every region in the endpoint data of AWS's SDKs (`partitions.json`), by partition.
const REGIONS: [&str; 46] = [
    // aws
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    // aws-cn
    "cn-north-1",
    "cn-northwest-1",
    // aws-us-gov
    "us-gov-east-1",
    "us-gov-west-1",
    // aws-eusc
    "eusc-de-east-1",
    // aws-iso, aws-iso-b, aws-iso-e, aws-iso-f
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isob-west-1",
    "eu-isoe-west-1",
    "us-isof-east-1",
    "us-isof-south-1",
];

/// How alike a known region must be to be proposed.
const LIKE: f64 = 0.9;

/// What to tell of a region that is not known; none for one that is. It may be newer than this
/// version of natha, so it is no error.
#[must_use]
pub fn unknown_region(region: &str) -> Option<Problem> {
    if REGIONS.contains(&region) {
        return None;
    }
    let what = "is not a region that this version of natha knows: ARNs with it may match nothing";
    let remedy = match nearest(region, REGIONS, LIKE) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "compare it with the list of regions in the AWS console".to_owned(),
    };
    Some(Problem::new(format!("region `{}`", printable(region)), what, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_region_is_noticed_and_a_known_one_is_not() {
        for known in ["eu-west-1", "us-gov-west-1", "cn-northwest-1", "eusc-de-east-1"] {
            assert_eq!(unknown_region(known), None);
        }
        for (text, meant) in [("eu-wst-1", "eu-west-1"), ("us-eat-1", "us-east-1")] {
            let problem = unknown_region(text).unwrap().to_string();
            assert!(problem.contains(text) && problem.contains(meant), "{problem}");
        }
        let problem = unknown_region("moon\u{1b}").unwrap().to_string();
        assert!(problem.contains("list of regions") && !problem.contains('\u{1b}'), "{problem}");
    }

    #[test]
    fn every_region_is_listed_once() {
        let all: std::collections::BTreeSet<&str> = REGIONS.into_iter().collect();
        assert_eq!(all.len(), REGIONS.len());
    }
}
