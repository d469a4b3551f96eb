//! Every call of Fly's OpenAPI document, and which of them are answered here.

use axum::http::Method;

use super::super::problem::Problem;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    ListApps,
    GetApp,
    ListCertificates,
    GetCertificate,
    ListAddresses,
    ListMachines,
    GetMachine,
    Create,
    Update,
    Destroy,
    ListEvents,
    GetLease,
    TakeLease,
    DropLease,
    GetMemory,
    GetMetadata,
    GetMetadataKey,
    PutMetadata,
    PatchMetadata,
    PutMetadataKey,
    DropMetadataKey,
    Restart,
    Start,
    Stop,
    Suspend,
    Signal,
    Cordon,
    Uncordon,
    ListVersions,
    Wait,
    ListSecrets,
    GetSecret,
    ListVolumes,
    GetVolume,
    OrgMachines,
    OrgVolumes,
    Regions,
    CurrentToken,
    /// Known, not answered yet.
    Later,
}

/// A call: method, path as the document writes it, meaning.
type Route = (&'static str, &'static str, Op);

#[rustfmt::skip]
const ROUTES: &[Route] = &[
    ("GET", "/apps", Op::ListApps),
    ("POST", "/apps", Op::Later),
    ("GET", "/apps/{app_name}", Op::GetApp),
    ("DELETE", "/apps/{app_name}", Op::Later),
    ("GET", "/apps/{app_name}/certificates", Op::ListCertificates),
    ("POST", "/apps/{app_name}/certificates/acme", Op::Later),
    ("POST", "/apps/{app_name}/certificates/custom", Op::Later),
    ("GET", "/apps/{app_name}/certificates/{hostname}", Op::GetCertificate),
    ("DELETE", "/apps/{app_name}/certificates/{hostname}", Op::Later),
    ("DELETE", "/apps/{app_name}/certificates/{hostname}/acme", Op::Later),
    ("POST", "/apps/{app_name}/certificates/{hostname}/check", Op::Later),
    ("DELETE", "/apps/{app_name}/certificates/{hostname}/custom", Op::Later),
    ("POST", "/apps/{app_name}/deploy_token", Op::Later),
    ("GET", "/apps/{app_name}/ip_assignments", Op::ListAddresses),
    ("POST", "/apps/{app_name}/ip_assignments", Op::Later),
    ("DELETE", "/apps/{app_name}/ip_assignments/{ip}", Op::Later),
    ("GET", "/apps/{app_name}/machines", Op::ListMachines),
    ("POST", "/apps/{app_name}/machines", Op::Create),
    ("GET", "/apps/{app_name}/machines/{machine_id}", Op::GetMachine),
    ("POST", "/apps/{app_name}/machines/{machine_id}", Op::Update),
    ("DELETE", "/apps/{app_name}/machines/{machine_id}", Op::Destroy),
    ("POST", "/apps/{app_name}/machines/{machine_id}/cordon", Op::Cordon),
    ("GET", "/apps/{app_name}/machines/{machine_id}/events", Op::ListEvents),
    ("POST", "/apps/{app_name}/machines/{machine_id}/exec", Op::Later),
    ("GET", "/apps/{app_name}/machines/{machine_id}/lease", Op::GetLease),
    ("POST", "/apps/{app_name}/machines/{machine_id}/lease", Op::TakeLease),
    ("DELETE", "/apps/{app_name}/machines/{machine_id}/lease", Op::DropLease),
    ("GET", "/apps/{app_name}/machines/{machine_id}/memory", Op::GetMemory),
    ("PUT", "/apps/{app_name}/machines/{machine_id}/memory", Op::Later),
    ("POST", "/apps/{app_name}/machines/{machine_id}/memory/reclaim", Op::Later),
    ("GET", "/apps/{app_name}/machines/{machine_id}/metadata", Op::GetMetadata),
    ("PUT", "/apps/{app_name}/machines/{machine_id}/metadata", Op::PutMetadata),
    ("PATCH", "/apps/{app_name}/machines/{machine_id}/metadata", Op::PatchMetadata),
    ("GET", "/apps/{app_name}/machines/{machine_id}/metadata/{key}", Op::GetMetadataKey),
    ("POST", "/apps/{app_name}/machines/{machine_id}/metadata/{key}", Op::PutMetadataKey),
    ("DELETE", "/apps/{app_name}/machines/{machine_id}/metadata/{key}", Op::DropMetadataKey),
    ("GET", "/apps/{app_name}/machines/{machine_id}/ps", Op::Later),
    ("POST", "/apps/{app_name}/machines/{machine_id}/restart", Op::Restart),
    ("POST", "/apps/{app_name}/machines/{machine_id}/signal", Op::Signal),
    ("POST", "/apps/{app_name}/machines/{machine_id}/start", Op::Start),
    ("POST", "/apps/{app_name}/machines/{machine_id}/stop", Op::Stop),
    ("POST", "/apps/{app_name}/machines/{machine_id}/suspend", Op::Suspend),
    ("POST", "/apps/{app_name}/machines/{machine_id}/uncordon", Op::Uncordon),
    ("GET", "/apps/{app_name}/machines/{machine_id}/versions", Op::ListVersions),
    ("GET", "/apps/{app_name}/machines/{machine_id}/wait", Op::Wait),
    ("GET", "/apps/{app_name}/secretkeys", Op::Later),
    ("GET", "/apps/{app_name}/secretkeys/{secret_name}", Op::Later),
    ("POST", "/apps/{app_name}/secretkeys/{secret_name}", Op::Later),
    ("DELETE", "/apps/{app_name}/secretkeys/{secret_name}", Op::Later),
    ("POST", "/apps/{app_name}/secretkeys/{secret_name}/decrypt", Op::Later),
    ("POST", "/apps/{app_name}/secretkeys/{secret_name}/encrypt", Op::Later),
    ("POST", "/apps/{app_name}/secretkeys/{secret_name}/generate", Op::Later),
    ("POST", "/apps/{app_name}/secretkeys/{secret_name}/sign", Op::Later),
    ("POST", "/apps/{app_name}/secretkeys/{secret_name}/verify", Op::Later),
    ("GET", "/apps/{app_name}/secrets", Op::ListSecrets),
    ("POST", "/apps/{app_name}/secrets", Op::Later),
    ("GET", "/apps/{app_name}/secrets/{secret_name}", Op::GetSecret),
    ("POST", "/apps/{app_name}/secrets/{secret_name}", Op::Later),
    ("DELETE", "/apps/{app_name}/secrets/{secret_name}", Op::Later),
    ("GET", "/apps/{app_name}/volumes", Op::ListVolumes),
    ("POST", "/apps/{app_name}/volumes", Op::Later),
    ("GET", "/apps/{app_name}/volumes/{volume_id}", Op::GetVolume),
    ("PUT", "/apps/{app_name}/volumes/{volume_id}", Op::Later),
    ("DELETE", "/apps/{app_name}/volumes/{volume_id}", Op::Later),
    ("PUT", "/apps/{app_name}/volumes/{volume_id}/extend", Op::Later),
    ("GET", "/apps/{app_name}/volumes/{volume_id}/snapshots", Op::Later),
    ("POST", "/apps/{app_name}/volumes/{volume_id}/snapshots", Op::Later),
    ("GET", "/orgs/{org_slug}/machines", Op::OrgMachines),
    ("GET", "/orgs/{org_slug}/volumes", Op::OrgVolumes),
    ("POST", "/platform/placements", Op::Later),
    ("GET", "/platform/regions", Op::Regions),
    ("POST", "/tokens/authenticate", Op::Later),
    ("POST", "/tokens/authorize", Op::Later),
    ("GET", "/tokens/current", Op::CurrentToken),
    ("POST", "/tokens/kms", Op::Later),
    ("POST", "/tokens/oidc", Op::Later),
];

/// A call with what its path names.
#[derive(Clone, Debug)]
pub struct Found {
    pub op: Op,
    pub template: &'static str,
    method: &'static str,
    names: Vec<(&'static str, String)>,
}

impl Found {
    /// What the limits call it.
    pub fn action(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// What the limits are counted on: the machine, else the app or the organisation.
    pub fn object(&self) -> &str {
        ["{machine_id}", "{app_name}", "{org_slug}"].into_iter().find_map(|name| self.name(name)).unwrap_or_default()
    }

    /// What stands at a place of the path: `{app_name}`.
    pub fn name(&self, place: &str) -> Option<&str> {
        self.names.iter().find(|(known, _)| *known == place).map(|(_, value)| value.as_str())
    }
}

/// The call that a request means. Errors: 404 when there is none, 405 when only the method is wrong.
pub fn find(method: &Method, path: &str) -> Result<Found, Problem> {
    let mut is_path = false;
    for (verb, template, op) in ROUTES {
        let Some(names) = fit(template, path) else { continue };
        is_path = true;
        if method.as_str() == *verb {
            return Ok(Found { op: *op, template, method: verb, names });
        }
    }
    Err(if is_path { Problem::new(405, "method not allowed") } else { Problem::new(404, "page not found") })
}

/// A path as the document writes it; `None` when no call has it.
pub fn template(method: &Method, path: &str) -> Option<&'static str> {
    find(method, path).ok().map(|found| found.template)
}

/// What stands at the places of a path; `None` when it is not of that shape.
pub fn fit<'a>(template: &'a str, path: &str) -> Option<Vec<(&'a str, String)>> {
    let mut names = Vec::new();
    let mut given = path.split('/');
    for part in template.split('/').skip(1) {
        let value = given.next()?;
        if part.starts_with('{') {
            if value.is_empty() {
                return None;
            }
            names.push((part, value.to_owned()));
        } else if part != value {
            return None;
        }
    }
    given.next().is_none().then_some(names)
}
