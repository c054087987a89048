//! The authorities that may vouch for Apple's servers.

use std::path::Path;

use rustls::{RootCertStore, pki_types::CertificateDer};

use super::{
    contents::Contents,
    error::{CredentialError, Fault},
    secret::SecretFile,
};

/// The authorities of the file, and only those; without a file the ones that Mozilla trusts, as they were when this program was built.
///
/// Compiled in, they are there in every sandbox, container and `chroot`, and a start cannot fail for want of them; the few servers at the
/// other end belong to Apple, whose certificates have come from authorities of long standing. Who wants those of the system, which are renewed
/// with it, names its bundle as the file: `/etc/ssl/certs/ca-certificates.crt`.
///
/// # Errors
/// If the file cannot be read, or has nothing that can be trusted.
pub fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, CredentialError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let fail = |fault| CredentialError::new(path, fault);
    let contents = Contents::read(&SecretFile::read(path)?.bytes, None).map_err(fail)?;
    if contents.certificates.is_empty() {
        return Err(fail(Fault::NoCertificate(contents.found())));
    }
    let mut refused = None;
    for certificate in contents.certificates {
        // The bundle of a system may have an odd one, which is no reason to trust none.
        if let Err(error) = roots.add(CertificateDer::from(certificate)) {
            refused = Some(error);
        }
    }
    match refused {
        Some(error) if roots.is_empty() => Err(fail(Fault::UnusableAuthority(error.to_string()))),
        _ => Ok(roots),
    }
}
