//! The old targets of adopted route tables, to which `natha retire` points them back.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::kernel::durable;
use crate::types::{RouteTableId, RouteTarget};

/// Its name in the state directory.
const FILE: &str = "adopted.json";

/// A route of an adopted table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct AdoptedRoute {
    pub(super) table: RouteTableId,
    pub(super) cidr: Ipv4Net,
}

/// The file. It outlives reboots.
#[derive(Debug)]
pub(super) struct AdoptedFile {
    path: PathBuf,
    routes: BTreeMap<AdoptedRoute, RouteTarget>,
}

impl AdoptedFile {
    /// Reads the file of a state directory; without one, nothing was adopted.
    ///
    /// # Errors
    /// If the file exists but cannot be read or parsed.
    pub(super) fn load(state_dir: &Path) -> anyhow::Result<Self> {
        let path = state_dir.join(FILE);
        let shown = path.display();
        let routes: Vec<(AdoptedRoute, RouteTarget)> = match durable::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{shown} is damaged: inspect it, then remove it"))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        Ok(Self { routes: routes.into_iter().collect(), path })
    }

    pub(super) const fn routes(&self) -> &BTreeMap<AdoptedRoute, RouteTarget> {
        &self.routes
    }

    /// Notes the old target of a route. It is on the disk when this returns.
    pub(super) fn add(&mut self, route: AdoptedRoute, before: RouteTarget) -> anyhow::Result<()> {
        self.routes.insert(route, before);
        self.save()
    }

    /// Forgets a route.
    pub(super) fn remove(&mut self, route: &AdoptedRoute) -> anyhow::Result<()> {
        self.routes.remove(route);
        self.save()
    }

    fn save(&self) -> anyhow::Result<()> {
        let routes: Vec<_> = self.routes.iter().collect();
        let write = || -> std::io::Result<()> {
            if let Some(directory) = self.path.parent() {
                durable::make_directory(directory)?;
            }
            durable::replace(&self.path, &serde_json::to_vec(&routes)?)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_run_knows_the_old_target_of_each_route() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = AdoptedFile::load(directory.path()).unwrap();
        let route = AdoptedRoute {
            table: "rtb-0123abcd".parse().unwrap(),
            cidr: "0.0.0.0/0".parse().unwrap(),
        };
        let before = RouteTarget::Other("nat-0123abcd".to_owned());
        file.add(route.clone(), before.clone()).unwrap();
        let mut again = AdoptedFile::load(directory.path()).unwrap();
        assert_eq!(again.routes(), &BTreeMap::from([(route.clone(), before)]));
        again.remove(&route).unwrap();
        assert!(AdoptedFile::load(directory.path()).unwrap().routes().is_empty());
        std::fs::write(directory.path().join(FILE), "[").unwrap();
        let error = AdoptedFile::load(directory.path()).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
