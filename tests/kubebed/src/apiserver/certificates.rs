//! Keys and certificates of one control plane, as PEM files in a folder. They are
//! valid for no other cluster.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Names of the API server within a cluster.
const NAMES: [&str; 4] =
    ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// The files, and the authority that issues more.
pub(super) struct Certificates {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// Writes `ca.crt`, `apiserver.{crt,key}`, `admin.{crt,key}` and
    /// `service-accounts.{key,pub}`.
    pub fn write(folder: &Path, address: IpAddr, service: IpAddr) -> Result<Self> {
        let mut params = named("nftpol tests", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let files = Self { folder: folder.to_owned(), authority };
        files.put("ca.crt", &files.authority.pem())?;

        let mut names: Vec<String> = NAMES.map(str::to_owned).into();
        names.extend([address, service].map(|address| address.to_string()));
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name = named("kube-apiserver", None).distinguished_name;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        files.issue("apiserver", server)?;
        // RBAC's bootstrap policy gives this group every right
        // (kubernetes.io/docs/reference/access-authn-authz/rbac).
        files.client("admin", "admin", Some("system:masters"))?;
        let accounts = KeyPair::generate()?;
        files.put("service-accounts.key", &accounts.serialize_pem())?;
        files.put("service-accounts.pub", &accounts.public_key_pem())?;
        Ok(files)
    }

    /// The folder of the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of one of the files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes `<name>.{crt,key}` for an API user in this group.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<()> {
        let mut params = named(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, params)
    }

    fn issue(&self, name: &str, params: CertificateParams) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        self.put(&format!("{name}.crt"), &certificate.pem())?;
        self.put(&format!("{name}.key"), &key.serialize_pem())
    }

    fn put(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn named(name: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.use_authority_key_identifier_extension = true;
    params
}
