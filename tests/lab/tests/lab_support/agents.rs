//! The resource agents of ClusterLabs, run as Pacemaker runs them: by an environment, an action and
//! an exit code.

use std::time::Duration;

use anyhow::Result;
use natha_lab::Lab;

/// Exit codes (OCF resource agent API).
pub(crate) const SUCCESS: i32 = 0;
/// The resource does not run on this node.
pub(crate) const NOT_RUNNING: i32 = 7;
/// How long an action may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// Where the package has them.
const AGENTS: &str = "/usr/lib/ocf/resource.d/heartbeat";

/// The AWS CLI.
///
/// # Panics
/// When `NATHA_AWS` does not name it.
pub(crate) fn cli() -> String {
    std::env::var("NATHA_AWS").expect("NATHA_AWS names the AWS CLI: run scripts/test")
}

/// Gives a host the profile that the agents use: the region, and the form of output that
/// aws-vpc-route53 reads. The keys are those of the instance's role.
///
/// # Errors
/// When the host does not run.
pub(crate) fn configure(lab: &Lab, host: &str) -> Result<()> {
    lab.write(host, "/root/.aws/config", "[default]\nregion = us-east-1\noutput = text\n")
}

/// An agent with its parameters.
#[derive(Clone)]
pub(crate) struct Agent<'a> {
    lab: &'a Lab,
    name: &'a str,
    params: Vec<(String, String)>,
}

impl<'a> Agent<'a> {
    pub(crate) fn new(lab: &'a Lab, name: &'a str, params: &[(&str, &str)]) -> Self {
        let agent = Self { lab, name, params: Vec::new() };
        let agent = agent.with("awscli", &cli());
        params.iter().fold(agent, |agent, (key, value)| agent.with(key, value))
    }

    /// The same with another parameter.
    pub(crate) fn with(&self, key: &str, value: &str) -> Self {
        let mut agent = self.clone();
        agent.params.push((key.to_owned(), value.to_owned()));
        agent
    }

    /// Runs an action on a host, a monitor as one that recurs.
    ///
    /// # Panics
    /// When it ends with another exit code: with what it said.
    pub(crate) fn run(&self, host: &str, action: &str, expected: i32) {
        let interval = if action == "monitor" { "10000" } else { "0" };
        let mut argv = vec![
            "env".to_owned(),
            "OCF_ROOT=/usr/lib/ocf".to_owned(),
            "OCF_RESOURCE_INSTANCE=resource".to_owned(),
            format!("OCF_RESKEY_CRM_meta_interval={interval}"),
        ];
        let params = self.params.iter();
        argv.extend(params.map(|(key, value)| format!("OCF_RESKEY_{key}={value}")));
        argv.extend([format!("{AGENTS}/{}", self.name), action.to_owned()]);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let done = self.lab.exec(host, &argv, LIMIT).expect("the host runs");
        let said = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(done.code, expected, "{} {action} on {host}: {said}", self.name);
    }
}
